"""Conversation memories: what is worth remembering of each conversation, as one structured object (seed 003)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from storage.canonical import canonical, loads
from storage.dialect import insert_if_new
from storage.errors import InvalidInput, InvalidJson, NotFound
from storage.json_types import Json
from storage.names import check_name
from storage.page import Page, page_size, place_of, read_place
from storage.provenance import Provenance, provenance_text
from storage.tables import conversation_memories, conversations
from storage.transaction import Work

CONVERSATION_MEMORY_LIMIT: Final = 64 * 1024
"""Bytes of canonical UTF-8 JSON in the memory of one conversation."""


@dataclass(frozen=True, slots=True)
class ConversationMemory:
    """What is remembered of one conversation."""

    id: UUID
    """The id of the conversation, which has one memory at the most."""

    conversation: str
    """The host's id of it."""

    data: dict[str, Json]
    message_count: int
    """How many of its messages, from the first one on, the memory is made of."""

    provenance: Provenance
    """Who made it, of what, and how far that is trusted."""

    created_at: datetime
    updated_at: datetime


class ConversationMemoryStore:
    """The conversation memories of one owner and of the branches merged into it."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def get(self, conversation: str) -> ConversationMemory:
        """Return the memory of a conversation; raises NotFound where there is none.

        Of a conversation that goes on in an owner and a merged branch, the owner's own memory, else the newest.
        """
        check_name(conversation, "conversation")
        own_first = sa.case((conversations.c.owner_id == self._work.owner, 0), else_=1)
        wanted = self._selected().where(conversations.c.name == conversation)
        ordered = wanted.order_by(own_first, conversation_memories.c.updated_at.desc(), conversations.c.id)
        row = self._work.execute(ordered.limit(1)).one_or_none()
        if row is None:
            raise NotFound(f"there is no memory of a conversation {conversation!r}")
        return _memory(row)

    def set(
        self,
        conversation: str,
        data: dict[str, Json],
        *,
        message_count: int | None = None,
        provenance: Provenance,
    ) -> ConversationMemory:
        """Insert or replace the memory of a conversation, and note how much of it is remembered now.

        `data` is an object of at most CONVERSATION_MEMORY_LIMIT bytes of canonical JSON. `message_count` says of how
        many messages it is made, from the first one on: of all there are, where it is left out. One that is made of
        fewer than the memory before takes its place, too: the conversation is eligible again then, and catches up.

        Raises NotFound where the owner has no such conversation, InvalidInput where it has fewer messages, InvalidJson
        and TooLarge.
        """
        check_name(conversation, "conversation")
        if type(data) is not dict:
            raise InvalidJson("the memory of a conversation is a JSON object")
        text = canonical(data, limit=CONVERSATION_MEMORY_LIMIT)
        of = self._lock(conversation)
        covered = of.message_count if message_count is None else _checked_count(message_count, of.message_count)
        created_at, now = self._keep(of.id, text, covered, provenance_text(provenance))
        mine = sa.update(conversations).where(conversations.c.owner_id == self._work.owner, conversations.c.id == of.id)
        self._work.execute(mine.values(remembered_count=covered))
        return ConversationMemory(of.id, conversation, loads(text), covered, provenance, created_at, now)

    def all(self, *, limit: int = 20, after: str | None = None) -> Page[ConversationMemory, str]:
        """Return the memories, those changed last first; `after` is the `next` of the page before."""
        changed_at, place = conversation_memories.c.updated_at, conversation_memories.c.conversation_id
        wanted = self._selected()
        if after is not None:
            moment, last = read_place(after)
            wanted = wanted.where(sa.or_(changed_at < moment, sa.and_(changed_at == moment, place > last)))
        rows = self._work.execute(wanted.order_by(changed_at.desc(), place).limit(page_size(limit) + 1)).all()
        found = tuple(map(_memory, rows[:limit]))
        end = found[-1] if len(rows) > limit else None
        return Page(found, place_of(end.updated_at, end.id) if end else None)

    def _selected(self) -> sa.Select[Any]:
        mine = (
            conversation_memories.c.owner_id.in_(self._work.owners),
            conversations.c.owner_id.in_(self._work.owners),
        )
        named = sa.select(conversation_memories, conversations.c.name)
        joined = named.join(conversations, conversations.c.id == conversation_memories.c.conversation_id)
        return joined.where(*mine)

    def _lock(self, conversation: str) -> Any:
        """Return the owner's own conversation, whose memory nobody else can set meanwhile."""
        wanted = sa.select(conversations).where(
            conversations.c.owner_id == self._work.owner, conversations.c.name == conversation
        )
        row = self._work.execute(wanted.with_for_update(key_share=True)).one_or_none()
        if row is None:
            raise NotFound(f"there is no conversation {conversation!r}")
        return row

    def _keep(self, conversation_id: UUID, text: str, covered: int, provenance: str) -> tuple[datetime, datetime]:
        """Write the row, under the lock of its conversation; return when it was created, and when changed."""
        now = self._work.clock()
        change = {"data": text, "message_count": covered, "provenance": provenance, "updated_at": now}
        key = {"owner_id": self._work.owner, "conversation_id": conversation_id}
        if insert_if_new(self._work.execute, conversation_memories, key | change | {"created_at": now}):
            return now, now
        this = sa.update(conversation_memories).where(
            conversation_memories.c.owner_id == self._work.owner,
            conversation_memories.c.conversation_id == conversation_id,
        )
        created_at = self._work.execute(this.values(change).returning(conversation_memories.c.created_at)).scalar_one()
        return created_at, now


def _checked_count(message_count: int, there: int) -> int:
    if type(message_count) is not int or not 0 < message_count <= there:
        raise InvalidInput(f"the conversation has {there} messages, so its memory is made of 1 to {there}")
    return message_count


def _memory(row: Any) -> ConversationMemory:
    return ConversationMemory(
        id=row.conversation_id,
        conversation=row.name,
        data=loads(row.data),
        message_count=row.message_count,
        provenance=Provenance.from_json(loads(row.provenance)),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
