"""Conversations: transcripts, message by message, numbered per person so that what is new is found exactly once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self
from uuid import UUID

import sqlalchemy as sa
from uuid_utils.compat import uuid7

from storage.canonical import INTEGER_LIMIT, canonical, loads
from storage.dialect import insert_if_new
from storage.errors import InvalidInput, NotFound
from storage.json_types import Json
from storage.limits import MESSAGE_LIMIT
from storage.moment import checked_moment
from storage.names import check_name
from storage.page import Page, page_size
from storage.tables import conversations, messages, owners
from storage.transaction import Work

ROLES = ("user", "assistant", "tool", "system")
"""Who may have said a message. `user` is the person whose memory it is."""


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message on its way in. `content` is text or the content blocks of a chat model (JSON)."""

    role: str
    content: Json
    said_at: datetime | None = None
    """When it was said; now, when nobody knows."""

    external_id: str | None = None
    """The host's id: the same id in the same conversation is kept once."""

    metadata: dict[str, Json] = field(default_factory=dict)

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> Self:
        """Return the message that a mapping with `role`, `content` and perhaps the other members describes.

        Raises InvalidInput for a missing or an unknown member. Checked further when it is kept.
        """
        unknown = sorted(set(members) - {"role", "content", "said_at", "external_id", "metadata"})
        if unknown or "role" not in members or "content" not in members:
            wrong = f"unknown {', '.join(map(repr, unknown))}" if unknown else "it needs both"
            raise InvalidInput(f"a message is an object with role and content: {wrong}")
        return cls(**members)


@dataclass(frozen=True, slots=True)
class Message:
    """A kept message. `number` counts all of the owner's messages from 1."""

    number: int
    conversation: str
    role: str
    content: Json
    said_at: datetime
    external_id: str | None
    metadata: dict[str, Json]


@dataclass(frozen=True, slots=True)
class Conversation:
    """One transcript. `name` is the host's id of it."""

    name: str
    message_count: int
    created_at: datetime
    updated_at: datetime


class ConversationStore:
    """The conversations of one owner and of the branches merged into it."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def append(self, conversation: str, new: Sequence[NewMessage]) -> tuple[Message, ...]:
        """Add messages to a conversation, which begins when it is missing; return those that were new.

        A message whose external id the conversation has already is passed over. All or none are kept, each of at
        most MESSAGE_LIMIT bytes of canonical JSON. Numbers are given under the owner's row lock, without gaps.
        Raises InvalidInput and its kinds.
        """
        check_name(conversation, "conversation")
        rows = [_row(message, self._work.clock()) for message in new]
        if not rows:
            return ()
        last = self._lock_numbers()
        conversation_id = self._open(conversation)
        known = self._known(conversation_id, [row["external_id"] for row in rows if row["external_id"]])
        fresh = []
        for row in rows:
            if row["external_id"] is None or row["external_id"] not in known:
                known.add(row["external_id"])
                fresh.append(row)
        if not fresh:
            return ()
        common = {"owner_id": self._work.owner, "conversation_id": conversation_id}
        numbered = [common | row | {"number": last + place} for place, row in enumerate(fresh, start=1)]
        self._work.execute(sa.insert(messages), numbered)
        self._count(conversation_id, last + len(fresh), len(fresh))
        return tuple(_message(conversation, row) for row in numbered)

    def messages(self, conversation: str, *, limit: int = 100, after: int = 0) -> Page[Message, int]:
        """Return the messages of a conversation in order, those behind number `after`.

        Raises NotFound when the owner has no such conversation.
        """
        check_name(conversation, "conversation")
        wanted = sa.select(conversations.c.id).where(
            conversations.c.owner_id.in_(self._work.owners), conversations.c.name == conversation
        )
        ids = list(self._work.execute(wanted).scalars())
        if not ids:
            raise NotFound(f"there is no conversation {conversation!r}")
        return self._page(limit, messages.c.conversation_id.in_(ids), messages.c.number > _place(after))

    def since(self, number: int, *, limit: int = 100) -> Page[Message, int]:
        """Return the owner's messages behind `number`, of all conversations, in order."""
        return self._page(limit, messages.c.number > _place(number))

    def all(self, *, limit: int = 20, after: str | None = None) -> Page[Conversation, str]:
        """Return the conversations, those with the newest message first; `after` is the `next` of the page before."""
        wanted = sa.select(conversations).where(conversations.c.owner_id.in_(self._work.owners))
        if after is not None:
            moment, last = _end_of_page(after)
            same_moment = sa.and_(conversations.c.updated_at == moment, conversations.c.id > last)
            wanted = wanted.where(sa.or_(conversations.c.updated_at < moment, same_moment))
        ordered = wanted.order_by(conversations.c.updated_at.desc(), conversations.c.id)
        rows = self._work.execute(ordered.limit(page_size(limit) + 1)).all()
        found = tuple(Conversation(row.name, row.message_count, row.created_at, row.updated_at) for row in rows[:limit])
        last_row = rows[len(found) - 1] if found else None
        return Page(
            found, f"{last_row.updated_at.isoformat()} {last_row.id}" if last_row and len(rows) > limit else None
        )

    def _page(self, limit: int, *which: sa.ColumnElement[bool]) -> Page[Message, int]:
        wanted = (
            sa.select(messages, conversations.c.name)
            .join(conversations, conversations.c.id == messages.c.conversation_id)
            .where(messages.c.owner_id.in_(self._work.owners), conversations.c.owner_id.in_(self._work.owners), *which)
            .order_by(messages.c.number, messages.c.owner_id)
            .limit(page_size(limit) + 1)
        )
        rows = self._work.execute(wanted).all()
        found = tuple(_message(row.name, row._mapping) for row in rows[:limit])
        return Page(found, found[-1].number if len(rows) > limit else None)

    def _lock_numbers(self) -> int:
        """Lock the owner's row and return the last number given."""
        mine = sa.select(owners.c.last_message).where(owners.c.id == self._work.owner)
        return int(self._work.execute(mine.with_for_update(key_share=True)).scalar_one())

    def _open(self, name: str) -> UUID:
        now = self._work.clock()
        made = uuid7()
        row = {"id": made, "owner_id": self._work.owner, "name": name, "created_at": now, "updated_at": now}
        if insert_if_new(self._work.execute, conversations, row):
            return made
        mine = sa.select(conversations.c.id).where(
            conversations.c.owner_id == self._work.owner, conversations.c.name == name
        )
        found: UUID = self._work.execute(mine).scalar_one()
        return found

    def _known(self, conversation_id: UUID, external_ids: Sequence[str]) -> set[str | None]:
        if not external_ids:
            return set()
        wanted = sa.select(messages.c.external_id).where(
            messages.c.owner_id == self._work.owner,
            messages.c.conversation_id == conversation_id,
            messages.c.external_id.in_(external_ids),
        )
        return set(self._work.execute(wanted).scalars())

    def _count(self, conversation_id: UUID, last: int, fresh: int) -> None:
        self._work.execute(sa.update(owners).where(owners.c.id == self._work.owner).values(last_message=last))
        mine = sa.update(conversations).where(
            conversations.c.owner_id == self._work.owner, conversations.c.id == conversation_id
        )
        count = conversations.c.message_count + fresh
        self._work.execute(mine.values(message_count=count, updated_at=self._work.clock()))


def _end_of_page(after: str) -> tuple[datetime, UUID]:
    """Return where a page of conversations ended."""
    try:
        moment, _, last = after.partition(" ")
        return checked_moment(datetime.fromisoformat(moment)), UUID(last)
    except ValueError:
        raise InvalidInput("`after` is not what a page gave as its `next`") from None


def _row(message: NewMessage, now: datetime) -> dict[str, Any]:
    if message.role not in ROLES:
        raise InvalidInput(f"the role of a message is one of {', '.join(ROLES)}, not {message.role!r}")
    if not isinstance(message.metadata, dict):
        raise InvalidInput("the metadata of a message are a JSON object")
    if message.external_id is not None:
        check_name(message.external_id, "external id")
    content = canonical(message.content, limit=MESSAGE_LIMIT)
    metadata = canonical(message.metadata, limit=MESSAGE_LIMIT) if message.metadata else None
    return {
        "external_id": message.external_id,
        "role": message.role,
        "content": content,
        "metadata": metadata,
        "said_at": now if message.said_at is None else checked_moment(message.said_at),
        "created_at": now,
    }


def _place(number: int) -> int:
    """Return the message number nearest to `number` that a database can hold."""
    return max(0, min(number, INTEGER_LIMIT - 1))


def _message(conversation: str, row: Any) -> Message:
    return Message(
        number=row["number"],
        conversation=conversation,
        role=row["role"],
        content=loads(row["content"]),
        said_at=row["said_at"],
        external_id=row["external_id"],
        metadata=loads(row["metadata"]) if row["metadata"] else {},
    )
