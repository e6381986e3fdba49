"""Unread: the messages behind a cursor, bounded, and conversation memories in the place of those that have one."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from graphs.kept import messages_of, messages_since, teaches
from graphs.material import SOURCE_LIMIT, Recapped
from graphs.recap import READ_ROLES, about, says_nothing
from graphs.room import Room
from memory_tools.excerpt import excerpt
from memory_tools.said import Said
from memory_tools.visible import visible_value
from storage.canonical import dumps
from storage.conversation_memories import ConversationMemory
from storage.errors import NotFound
from storage.json_types import Document
from storage.provenance import Trust, lowest
from storage.stores import Stores

RECAPPED_MESSAGES = 2_000
"""Messages that the conversation memories of one batch stand for; where there are more, a memory is shown again."""

RECAPPED_CHARACTERS = 600_000
"""Characters of those messages."""

EXCERPT: Final = "excerpt"
"""The member under which the beginnings are shown of a conversation memory that is too long."""


@dataclass(frozen=True, slots=True)
class Unread:
    """What was said since, as it is shown."""

    messages: tuple[Said, ...]
    recaps: tuple[Recapped, ...]
    last: int
    """The number of the last message that was read."""

    more: bool
    """Whether there are messages behind it."""


def unread(stores: Stores, last: int, roles: Collection[str], room: Room) -> Unread:
    """Return what was said behind message `last`, by those of `roles`, as far as there is room.

    Messages that only repeat memory are passed over. Those that a conversation memory stands for are read with it, and
    count little: it is shown once in their place, however many they are.
    """
    found = _Found(stores, last, room)
    for message in messages_since(stores, last):
        if teaches(message, roles) and not found.takes(Said.of(message)):
            return found.unread(last, more=True)
        last = message.number
    return found.unread(last, more=False)


@dataclass(frozen=True, slots=True)
class _Standing:
    """A conversation memory that stands for messages, as far as message `last`."""

    data: Document
    trust: Trust
    last: int
    messages: list[Said] = field(default_factory=list)

    def recapped(self, conversation: str) -> Recapped:
        data = about(self.data, {said.number for said in self.messages})
        trust = lowest([self.trust, *(said.trust for said in self.messages)])
        return Recapped(conversation, data, tuple(self.messages), trust)


class _Found:
    """What is shown of the messages that were read so far."""

    def __init__(self, stores: Stores, cursor: int, room: Room) -> None:
        self._stores = stores
        self._cursor = cursor
        self._raw: list[Said] = []
        self._standing: dict[str, _Standing | None] = {}
        self._room = room
        self._behind = Room(RECAPPED_MESSAGES, RECAPPED_CHARACTERS)

    def takes(self, said: Said) -> bool:
        """Take one message, or its place in a conversation memory; False where there is no room for it any more."""
        memory = self._standing_for(said)
        if memory is None:
            return self._room.takes(len(said.text)) and self._take(self._raw, said)
        shown = bool(memory.messages) or self._room.takes(len(dumps(memory.data)))
        return shown and self._behind.takes(len(said.text)) and self._take(memory.messages, said)

    def unread(self, last: int, *, more: bool) -> Unread:
        standing = [(name, memory) for name, memory in self._standing.items() if memory and memory.messages]
        recaps = tuple(memory.recapped(name) for name, memory in standing)
        return Unread(tuple(self._raw), recaps, last, more)

    def _take(self, into: list[Said], said: Said) -> bool:
        into.append(said)
        return True

    def _standing_for(self, said: Said) -> _Standing | None:
        # What tools said is in no conversation memory unless the host wants it there: where it counts, it is read.
        if said.role not in READ_ROLES:
            return None
        if said.conversation not in self._standing:
            self._standing[said.conversation] = _standing(self._stores, said.conversation, self._cursor)
        memory = self._standing[said.conversation]
        return memory if memory is not None and said.number <= memory.last else None


def _standing(stores: Stores, conversation: str, cursor: int) -> _Standing | None:
    """Return the memory of a conversation; None where there is none that could take the place of messages."""
    if len(stores.owners) != 1:  # each branch of a merged person may have a conversation of this name
        return None
    try:
        memory = stores.conversation_memories.get(conversation)
    except NotFound:
        return None
    if says_nothing(memory.data):
        return None
    return _Standing(_shown(memory.data), memory.provenance.trust, _last_covered(stores, memory, cursor))


def _last_covered(stores: Stores, memory: ConversationMemory, cursor: int) -> int:
    """Return the number of the last message behind the cursor that a memory covers; 0 where it covers none."""
    numbers = [message.number for message in messages_of(stores, memory.conversation, cursor)]
    # Counted after they were read: whatever is added meanwhile makes it cover less, which only costs a second look.
    newer = stores.conversations.by_id(memory.id).message_count - memory.message_count
    covered = len(numbers) - max(0, newer)
    return numbers[covered - 1] if covered > 0 else 0


def _shown(data: Document) -> Document:
    if len(dumps(data)) <= SOURCE_LIMIT:
        return data
    return {EXCERPT: "\n".join(excerpt(list(visible_value(data).items()), SOURCE_LIMIT))}
