"""Batch: what is new about a person since the cursors, bounded, and where the cursors stand after it."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from graphs.material import SOURCE_LIMIT, Material, Source, SourceText
from graphs.room import Room
from graphs.unread import unread
from memory_tools.memory import UserMemory
from storage.canonical import dumps
from storage.cursors import ITEMS, MESSAGES, RETURNS
from storage.errors import Erased
from storage.items import Item
from storage.limits import PAGE_LIMIT
from storage.stores import Stores

BATCH_MESSAGES = 200
"""Messages and conversation memories shown to a summarizer at once; what is behind them waits for the next run."""

BATCH_CHARACTERS = 60_000
"""Characters of them shown at once, and again of items; a single longer one is shown alone."""

ITEM_PAGES = 10
"""Pages of each namespace that are looked through for items that changed, in the order of their keys."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Batch:
    """What one run is about. The cursors move from `since` to `until` when its outcome is recorded."""

    material: Material
    since: Mapping[str, int]
    until: Mapping[str, int]
    more: bool
    """Whether messages or items are left for the next run."""

    owners: tuple[UUID, ...] = ()
    """Whose it is; empty for a person nobody had met."""

    @property
    def moves(self) -> bool:
        """Whether any cursor has a way to go."""
        return self.since != self.until

    def require_same_person(self, stores: Stores) -> None:
        """Raise Erased where the stores are somebody else's: whoever was erased meanwhile must not come back."""
        if self.owners and set(self.owners).isdisjoint(stores.owners):
            raise Erased

    def overtaken(self, stores: Stores) -> bool:
        """Tell whether somebody else moved a cursor since this batch was gathered, which nobody can from now on."""
        return stores.cursors.all_seen(self.since.keys(), held=True) != self.since

    def record(self, stores: Stores) -> None:
        """Say that this batch has been seen."""
        for purpose, number in self._moved():
            stores.cursors.advance(purpose, number)

    def leave_behind(self, stores: Stores) -> None:
        """Say that this batch failed for good: it counts as seen, until somebody goes back for it."""
        for purpose, number in self._moved():
            stores.cursors.leave_behind(purpose, number)

    def _moved(self) -> list[tuple[str, int]]:
        return [(purpose, number) for purpose, number in self.until.items() if number != self.since[purpose]]


def next_batch(
    person: UserMemory, *, roles: Collection[str], namespaces: Sequence[str], sources: Sequence[Source]
) -> Batch:
    """Return what is new about the person: messages, items that changed, and what the host's sources say.

    Messages of other `roles`, and those that only repeat memory, are passed over; those that a conversation memory
    covers are shown in its words. An item that was deleted is not new.
    """
    with person.read() as stores:
        since = stores.cursors.all_seen((MESSAGES, ITEMS, RETURNS))
        said = unread(stores, since[MESSAGES], roles, Room(BATCH_MESSAGES, BATCH_CHARACTERS))
        items, newest, more_items = _items(stores, since[ITEMS], namespaces)
        owners = stores.owners
    answers = (source(person) for source in sources)
    material = Material(
        said.messages,
        tuple(items),
        tuple(_capped(answer) for answer in answers if answer is not None and answer.text.strip()),
        person.memory.database.policy.schema,
        said.recaps,
    )
    until = since | {MESSAGES: said.last, ITEMS: newest}
    return Batch(material, since, until, said.more or more_items, owners)


def _items(stores: Stores, seen: int, namespaces: Sequence[str]) -> tuple[list[Item], int, bool]:
    """Return items that changed after `seen`, oldest change first, the moment of the last of them, and if more did."""
    changed = [item for name in namespaces for item in _in_namespace(stores, name) if _microseconds(item) > seen]
    found: list[Item] = []
    characters = 0
    for item in sorted(changed, key=_microseconds):
        characters += len(dumps(item.value))
        # Changes of one moment stay together: the cursor could not stand between them.
        if found and characters > BATCH_CHARACTERS and _microseconds(item) > seen:
            return found, seen, True
        found.append(item)
        seen = _microseconds(item)
    return found, seen, False


def _in_namespace(stores: Stores, namespace: str) -> list[Item]:
    found: list[Item] = []
    after = None
    for _ in range(ITEM_PAGES):
        page = stores.items.in_namespace(namespace, limit=PAGE_LIMIT, after=after)
        found += page.entries
        after = page.next
        if after is None:
            break
    return found


def _microseconds(item: Item) -> int:
    return (item.updated_at - _EPOCH) // timedelta(microseconds=1)


def _capped(source: SourceText) -> SourceText:
    return source if len(source.text) <= SOURCE_LIMIT else replace(source, text=source.text[:SOURCE_LIMIT])
