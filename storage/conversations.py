"""Conversations: transcripts, message by message, numbered per person so that what is new is found exactly once."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from uuid_utils.compat import uuid7

from storage.canonical import INTEGER_LIMIT
from storage.dialect import insert_if_new
from storage.errors import NotFound
from storage.messages import ROLES, TOKEN_LIMIT, Message, NewMessage, message_of, message_row
from storage.names import check_name
from storage.page import Page, page_size, place_of, read_place
from storage.tables import conversations, messages, owners
from storage.transaction import Work

__all__ = ["ROLES", "TOKEN_LIMIT", "Conversation", "ConversationStore", "Message", "NewMessage", "Totals"]


@dataclass(frozen=True, slots=True)
class Conversation:
    """One transcript. `name` is the host's id of it."""

    id: UUID
    name: str
    message_count: int
    token_count: int
    """Tokens that its messages cost, as far as whoever kept them said so."""

    last_message_at: datetime | None
    """When its newest message was said, which may be long before it was kept."""

    created_at: datetime
    updated_at: datetime
    """When a message was last kept."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What the conversations of one person come to, from the first one on."""

    conversations: int
    messages: int
    tokens: int
    """Tokens that the messages cost, as far as whoever kept them said so."""

    last_interaction_at: datetime | None
    """When a message was last kept; None before the first."""


class ConversationStore:
    """The conversations of one owner and of the branches merged into it."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def append(self, conversation: str, new: Sequence[NewMessage]) -> tuple[Message, ...]:
        """Add messages to a conversation, which begins when it is missing; return those that were new.

        A message whose external id the conversation has already is passed over. All or none are kept, each of at
        most MESSAGE_LIMIT bytes of canonical JSON. Numbers are given under the owner's row lock, without gaps.
        Only new messages count in `totals`. Raises InvalidInput and its kinds.
        """
        check_name(conversation, "conversation")
        rows = [(message_row(message, self._work.clock()), message.tokens) for message in new]
        if not rows:
            return ()
        last = self.lock()
        conversation_id, began = self._open(conversation)
        known = self._known(conversation_id, [row["external_id"] for row, _ in rows if row["external_id"]])
        fresh, tokens = [], 0
        for row, cost in rows:
            if row["external_id"] is None or row["external_id"] not in known:
                known.add(row["external_id"])
                fresh.append(row)
                tokens += cost
        if not fresh:
            return ()
        common = {"owner_id": self._work.owner, "conversation_id": conversation_id}
        numbered = [common | row | {"number": last + place} for place, row in enumerate(fresh, start=1)]
        self._work.execute(sa.insert(messages), numbered)
        now = self._work.clock()
        self._count_for_owner(began, last + len(fresh), tokens, now)
        self._count_for_conversation(conversation_id, fresh, tokens, now)
        return tuple(message_of(conversation, row) for row in numbered)

    def lock(self) -> int:
        """Let nobody else add messages meanwhile; return the last number given. Raises NotFound for no such owner."""
        mine = sa.select(owners.c.last_message).where(owners.c.id == self._work.owner)
        last = self._work.execute(mine.with_for_update(key_share=True)).scalar_one_or_none()
        if last is None:
            raise NotFound("there is no such owner")
        return int(last)

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

    def by_id(self, conversation_id: UUID) -> Conversation:
        """Return the conversation; raises NotFound when the owner has no such conversation."""
        return self._one(conversations.c.id == conversation_id)

    def by_name(self, conversation: str) -> Conversation:
        """Return the conversation that the owner has, not one of a merged branch; raises NotFound."""
        named = conversations.c.name == check_name(conversation, "conversation")
        return self._one(named, conversations.c.owner_id == self._work.owner)

    def since(self, number: int, *, limit: int = 100) -> Page[Message, int]:
        """Return the owner's messages behind `number`, of all conversations, in order."""
        return self._page(limit, messages.c.number > _place(number))

    def latest(
        self, after: int = 0, *, limit: int = 20, roles: Collection[str] = ROLES, besides: str | None = None
    ) -> tuple[Message, ...]:
        """Return the newest messages behind number `after`, oldest first: those of `roles`, of other conversations."""
        wanted = self._selected(messages.c.number > _place(after), messages.c.role.in_(roles))
        if besides is not None:
            wanted = wanted.where(conversations.c.name != besides)
        newest = wanted.order_by(messages.c.number.desc(), messages.c.owner_id).limit(page_size(limit))
        return tuple(message_of(row.name, row._mapping) for row in reversed(self._work.execute(newest).all()))

    def all(self, *, limit: int = 20, after: str | None = None) -> Page[Conversation, str]:
        """Return the conversations, those with the newest message first; `after` is the `next` of the page before."""
        wanted = sa.select(conversations).where(conversations.c.owner_id.in_(self._work.owners))
        if after is not None:
            moment, last = read_place(after)
            same_moment = sa.and_(conversations.c.updated_at == moment, conversations.c.id > last)
            wanted = wanted.where(sa.or_(conversations.c.updated_at < moment, same_moment))
        ordered = wanted.order_by(conversations.c.updated_at.desc(), conversations.c.id)
        rows = self._work.execute(ordered.limit(page_size(limit) + 1)).all()
        found = tuple(map(_conversation, rows[:limit]))
        end = rows[limit - 1] if len(rows) > limit else None
        return Page(found, place_of(end.updated_at, end.id) if end else None)

    def totals(self) -> Totals:
        """Return what all conversations come to, merged branches included; zeros and None for nobody."""
        wanted = sa.select(
            sa.func.sum(owners.c.conversation_count).label("conversations"),
            sa.func.sum(owners.c.last_message).label("messages"),
            sa.func.sum(owners.c.total_tokens).label("tokens"),
            sa.func.max(owners.c.last_interaction_at).label("latest"),
        ).where(owners.c.id.in_(self._work.owners))
        row = self._work.execute(wanted).one()
        # PostgreSQL sums into numeric, and nothing into NULL.
        return Totals(int(row.conversations or 0), int(row.messages or 0), int(row.tokens or 0), row.latest)

    def _one(self, *which: sa.ColumnElement[bool]) -> Conversation:
        mine = conversations.c.owner_id.in_(self._work.owners)
        row = self._work.execute(sa.select(conversations).where(mine, *which)).one_or_none()
        if row is None:
            raise NotFound("there is no such conversation")
        return _conversation(row)

    def _page(self, limit: int, *which: sa.ColumnElement[bool]) -> Page[Message, int]:
        wanted = self._selected(*which).order_by(messages.c.number, messages.c.owner_id)
        rows = self._work.execute(wanted.limit(page_size(limit) + 1)).all()
        found = tuple(message_of(row.name, row._mapping) for row in rows[:limit])
        return Page(found, found[-1].number if len(rows) > limit else None)

    def _selected(self, *which: sa.ColumnElement[bool]) -> sa.Select[*tuple[Any, ...]]:
        mine = (messages.c.owner_id.in_(self._work.owners), conversations.c.owner_id.in_(self._work.owners))
        named = sa.select(messages, conversations.c.name)
        return named.join(conversations, conversations.c.id == messages.c.conversation_id).where(*mine, *which)

    def _open(self, name: str) -> tuple[UUID, bool]:
        """Return the id of the conversation, and whether it begins now."""
        now = self._work.clock()
        made = uuid7()
        row = {"id": made, "owner_id": self._work.owner, "name": name, "created_at": now, "updated_at": now}
        if insert_if_new(self._work.execute, conversations, row):
            return made, True
        mine = sa.select(conversations.c.id).where(
            conversations.c.owner_id == self._work.owner, conversations.c.name == name
        )
        found: UUID = self._work.execute(mine).scalar_one()
        return found, False

    def _known(self, conversation_id: UUID, external_ids: Sequence[str]) -> set[str | None]:
        if not external_ids:
            return set()
        wanted = sa.select(messages.c.external_id).where(
            messages.c.owner_id == self._work.owner,
            messages.c.conversation_id == conversation_id,
            messages.c.external_id.in_(external_ids),
        )
        return set(self._work.execute(wanted).scalars())

    def _count_for_owner(self, began: bool, last: int, tokens: int, now: datetime) -> None:
        me = sa.update(owners).where(owners.c.id == self._work.owner)
        self._work.execute(
            me.values(
                last_message=last,
                conversation_count=owners.c.conversation_count + int(began),
                total_tokens=owners.c.total_tokens + tokens,
                last_interaction_at=now,
            )
        )

    def _count_for_conversation(
        self, conversation_id: UUID, fresh: Sequence[dict[str, Any]], tokens: int, now: datetime
    ) -> None:
        column = conversations.c.last_message_at
        # Whoever gives a message a time that is yet to come must not keep the conversation from ending.
        newest = sa.literal(min(now, max(row["said_at"] for row in fresh)), column.type)
        mine = sa.update(conversations).where(
            conversations.c.owner_id == self._work.owner, conversations.c.id == conversation_id
        )
        self._work.execute(
            mine.values(
                message_count=conversations.c.message_count + len(fresh),
                token_count=conversations.c.token_count + tokens,
                last_message_at=sa.case((column > newest, column), else_=newest),
                updated_at=now,
            )
        )


def _conversation(row: Any) -> Conversation:
    return Conversation(
        id=row.id,
        name=row.name,
        message_count=row.message_count,
        token_count=row.token_count,
        last_message_at=row.last_message_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _place(number: int) -> int:
    """Return the message number nearest to `number` that a database can hold."""
    return max(0, min(number, INTEGER_LIMIT - 1))
