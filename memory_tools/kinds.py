"""The kinds of memory of one person, as Python calls them: each method is one call of a store."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from storage.conversation_memories import ConversationMemory
from storage.conversations import Conversation, Message, NewMessage, Totals
from storage.edits import Edit
from storage.items import DEFAULT_NAMESPACE, Item
from storage.json_types import Document, Json, Patch
from storage.outcome import Outcome
from storage.page import Page
from storage.pending import PendingVersion
from storage.profiles import Profile
from storage.provenance import Provenance
from storage.snapshots import Changes, HistoryEntry, Snapshot

if TYPE_CHECKING:
    from memory_tools.memory import UserMemory


class _Kind:
    """One kind of memory of one person."""

    def __init__(self, memory: "UserMemory") -> None:
        self._memory = memory


class Items(_Kind):
    """Small JSON values under namespace and key; see `storage.items.ItemStore` for limits and errors."""

    def get(self, namespace: str, key: str) -> Item:
        """Return the item; raises NotFound when there is none."""
        return self._memory.ask(lambda stores: stores.items.get(namespace, key))

    def set(self, namespace: str, key: str, value: Json, *, expected_version: int | None = None) -> Item:
        """Insert or replace the item; with `expected_version` only when it is at that version (0: not there yet)."""
        return self._memory.do(
            lambda stores: stores.items.set(namespace, key, value, expected_version=expected_version)
        )

    def push(self, namespace: str, key: str, value: Json, *, keep: int = 10) -> Item:
        """Append to the list at the key and keep its newest `keep` entries."""
        return self._memory.do(lambda stores: stores.items.push(namespace, key, value, keep=keep))

    def delete(self, namespace: str, key: str) -> None:
        """Delete the item; raises NotFound when there is none."""
        self._memory.change(lambda stores: stores.items.delete(namespace, key))

    def clear(self, namespace: str | None = None) -> int:
        """Delete every item of a namespace, or of all; return how many there were."""
        return self._memory.change(lambda stores: stores.items.clear(namespace))

    def in_namespace(
        self, namespace: str = DEFAULT_NAMESPACE, *, limit: int = 100, after: str | None = None
    ) -> Page[Item, str]:
        """Return the items of one namespace ordered by key, those behind the key `after`."""
        return self._memory.ask(lambda stores: stores.items.in_namespace(namespace, limit=limit, after=after))

    def all(self, *, limit: int = 100, after: tuple[str, str] | None = None) -> Page[Item, tuple[str, str]]:
        """Return the items of every namespace ordered by namespace and key, those behind `after`, which is both."""
        return self._memory.ask(lambda stores: stores.items.all(limit=limit, after=after))

    def namespaces(self, beginning: str = "", *, limit: int = 100) -> list[str]:
        """Return the namespaces in which there is something and that begin so."""
        return self._memory.ask(lambda stores: stores.items.namespaces(beginning, limit=limit))

    def keys(self, namespace: str = DEFAULT_NAMESPACE, beginning: str = "", *, limit: int = 100) -> list[str]:
        """Return the keys of a namespace that begin so."""
        return self._memory.ask(lambda stores: stores.items.keys(namespace, beginning, limit=limit))


class DocumentVersions(_Kind):
    """The evolving document; see `storage.snapshots.SnapshotStore` for rules and errors."""

    def current(self) -> Snapshot:
        """Return the newest version; version 0 is `{}`."""
        return self._memory.ask(lambda stores: stores.snapshots.current())

    def as_of(self, moment: int | datetime) -> Snapshot:
        """Return a version by its number, or the one in force at a time."""
        return self._memory.ask(lambda stores: stores.snapshots.as_of(moment))

    def history(self, *, limit: int = 20, before: int | None = None) -> Page[HistoryEntry, int]:
        """Return versions newest first with patch, provenance and sizes, those below `before`."""
        return self._memory.ask(lambda stores: stores.snapshots.history(limit=limit, before=before))

    def diff(self, before: int, after: int) -> Patch:
        """Return the patch that turns version `before` into version `after`."""
        return self._memory.ask(lambda stores: stores.snapshots.difference(before, after))

    def changes_since(self, version: int) -> Changes:
        """Return what is new since `version`, as one patch."""
        return self._memory.ask(lambda stores: stores.snapshots.changes_since(version))

    def append(
        self,
        change: Patch | Document,
        *,
        expected_version: int | None = None,
        provenance: Provenance | None = None,
        idempotency_key: str | None = None,
    ) -> Outcome:
        """Save the next version, by a patch or by a whole document that takes the place of the newest one.

        Returns Saved, Unchanged, or Held by the guard.
        """
        return self._memory.do(
            lambda stores: stores.snapshots.append(
                change,
                provenance=provenance or self._memory.provenance,
                expected_version=expected_version,
                idempotency_key=idempotency_key,
            )
        )

    def edit(
        self,
        edits: Sequence[Edit],
        *,
        expected_version: int | None = None,
        provenance: Provenance | None = None,
        idempotency_key: str | None = None,
    ) -> Outcome:
        """Save new values and removals at places of the document: Saved, Unchanged, or Held by the guard."""
        return self._memory.do(
            lambda stores: stores.snapshots.edit(
                edits,
                provenance=provenance or self._memory.provenance,
                expected_version=expected_version,
                idempotency_key=idempotency_key,
            )
        )

    def revert(self, version: int, *, provenance: Provenance | None = None) -> Outcome:
        """Save the document of an older version as the newest one."""
        provenance = provenance or self._memory.provenance
        return self._memory.change(lambda stores: stores.snapshots.revert(version, provenance=provenance))


class PendingVersions(_Kind):
    """Changes that the guard held back."""

    def waiting(self, *, limit: int = 20, after: str | None = None) -> Page[PendingVersion, str]:
        """Return what waits, oldest first."""
        return self._memory.ask(lambda stores: stores.pending.waiting(limit=limit, after=after))

    def get(self, pending_id: str) -> PendingVersion:
        """Return one pending version; raises NotFound."""
        return self._memory.ask(lambda stores: stores.pending.get(pending_id))

    def accept(self, pending_id: str, *, provenance: Provenance | None = None) -> Outcome:
        """Save the pending version on top of what was saved since; an operator's act."""
        provenance = provenance or self._memory.memory.by_operator
        return self._memory.change(lambda stores: stores.snapshots.accept(pending_id, provenance=provenance))

    def reject(self, pending_id: str) -> None:
        """Drop the pending version."""
        self._memory.change(lambda stores: stores.pending.reject(pending_id))


class ProfileText(_Kind):
    """The one text per person (seed 002)."""

    def get(self) -> Profile:
        """Return the text; raises NotFound when none was ever set."""
        return self._memory.ask(lambda stores: stores.profile.get())

    def set(self, text: str) -> Profile:
        """Replace the text."""
        return self._memory.do(lambda stores: stores.profile.set(text))

    def delete(self) -> None:
        """Delete the text; raises NotFound when there is none."""
        self._memory.change(lambda stores: stores.profile.delete())


class Conversations(_Kind):
    """Transcripts of the person."""

    def append(self, conversation: str, messages: Iterable[NewMessage | Mapping[str, Any]]) -> tuple[Message, ...]:
        """Add messages (`NewMessage`, or mappings with `role` and `content`); returns those that were new."""
        new = [each if isinstance(each, NewMessage) else NewMessage.of(each) for each in messages]
        with self._memory.begin() as stores:
            return stores.conversations.append(conversation, new)

    def messages(self, conversation: str, *, limit: int = 100, after: int = 0) -> Page[Message, int]:
        """Return the messages of a conversation in order; raises NotFound when there is no such conversation."""
        return self._memory.ask(lambda stores: stores.conversations.messages(conversation, limit=limit, after=after))

    def all(self, *, limit: int = 20, after: str | None = None) -> Page[Conversation, str]:
        """Return the conversations, those with the newest message first; `after` is a page's `next`."""
        return self._memory.ask(lambda stores: stores.conversations.all(limit=limit, after=after))

    def totals(self) -> Totals:
        """Return how many conversations, messages and tokens there were, and when the last message was kept."""
        return self._memory.ask(lambda stores: stores.conversations.totals())


class ConversationMemories(_Kind):
    """What is worth remembering of each conversation; see `storage.conversation_memories`."""

    def get(self, conversation: str) -> ConversationMemory:
        """Return the memory of a conversation; raises NotFound where there is none."""
        return self._memory.ask(lambda stores: stores.conversation_memories.get(conversation))

    def set(
        self,
        conversation: str,
        data: dict[str, Json],
        *,
        message_count: int | None = None,
        provenance: Provenance | None = None,
    ) -> ConversationMemory:
        """Insert or replace the memory of a conversation, which is made of all its messages unless a number is given.

        Raises NotFound where there is no such conversation.
        """
        provenance = provenance or self._memory.provenance
        return self._memory.change(
            lambda stores: stores.conversation_memories.set(
                conversation, data, message_count=message_count, provenance=provenance
            )
        )

    def all(self, *, limit: int = 20, after: str | None = None) -> Page[ConversationMemory, str]:
        """Return the memories, those changed last first; `after` is a page's `next`."""
        return self._memory.ask(lambda stores: stores.conversation_memories.all(limit=limit, after=after))
