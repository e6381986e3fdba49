"""SQL queue: the queue in the memory's own database, so that sending can be part of any transaction there.

On PostgreSQL whoever takes messages steps over what others are just taking; on SQLite there is one writer at a time.
Both run the same statements, with the time of `Database.clock`.
"""

import random
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import sqlalchemy as sa

from storage.database import Database
from storage.errors import InvalidInput, NotFound
from storage.tables import Instant, queue_messages
from storage.transaction import Work
from storage.work.queue import DeadLetter, Delivery, Message, check_extension, check_listing, check_receiving, read_body
from storage.work.unbound import unbound

FIRST_PAUSE: Final = 0.2
"""Seconds until an empty queue is looked at again."""

LONGEST_PAUSE: Final = 1.0
"""Seconds between two looks at a queue that stays empty; the pauses grow up to this."""

PAUSE_GROWTH: Final = 1.5
"""How much longer each pause is than the one before."""

ID_DIGITS: Final = 18
"""Digits that the id of a dead letter has at the most, so that it fits into 64 bits."""


class SqlQueue:
    """The queue in a database, which stays open when the queue is closed. See `storage.work.queue.Queue`."""

    def __init__(self, database: Database) -> None:
        """On PostgreSQL `database` was opened with the worker's URL, unless nothing but `send_within` is wanted."""
        self._database = database

    @property
    def answers_at_once(self) -> bool:
        """True: a look sees the whole table."""
        return True

    def send(self, messages: Sequence[Message]) -> None:
        """Put all messages at the end, or none: Erased where the owner of a group is no more."""
        if messages:
            with unbound(self._database) as connection:
                self.send_within(connection, messages)

    def send_within(self, work: Work | sa.Connection, messages: Sequence[Message]) -> None:
        """Put messages at the end in the caller's own transaction: they are there if and when that commits.

        `work` is a bound transaction of one person, who is then the only group that the application may send to, or a
        connection of `storage.work.unbound`.
        """
        if not messages:
            return
        now = self._database.clock()
        rows = [
            {"owner_id": message.group, "body": message.text(), "receives": 0, "available_at": now, "created_at": now}
            for message in messages
        ]
        work.execute(_SEND, rows)

    def receive(self, *, limit: int = 10, visibility: float = 60, wait: float = 0) -> list[Delivery]:
        """Return the oldest messages that can be had, of each group at most its oldest and only while none is out.

        While waiting it looks again and again, and holds no connection in between.
        """
        check_receiving(limit, visibility, wait)
        deadline = time.monotonic() + wait
        pause = FIRST_PAUSE
        while True:
            found = self._claim(limit, visibility)
            left = deadline - time.monotonic()
            if found or left <= 0:
                return found
            time.sleep(min(pause * random.uniform(0.8, 1.2), left))
            pause = min(pause * PAUSE_GROWTH, LONGEST_PAUSE)

    def extend(self, delivery: Delivery, seconds: float) -> None:
        """Hold the message for `seconds` from now, unless it was lost; with 0 anybody can have it at once."""
        check_extension(seconds)
        if seconds:
            self._change(_EXTEND, delivery, until=timedelta(seconds=seconds))
        else:
            self._change(_GIVE_BACK, delivery)

    def acknowledge(self, delivery: Delivery) -> None:
        """Delete the message, unless somebody else holds it by now."""
        self._change(_ACKNOWLEDGE, delivery)

    def bury(self, delivery: Delivery, reason: str) -> None:
        """Give the message up, unless somebody else holds it by now."""
        self._change(_BURY, delivery, why=reason)

    def dead(self, *, limit: int = 100) -> list[DeadLetter]:
        """Return up to `limit` messages that were given up, those first that were given up first."""
        check_listing(limit)
        with self._database.connection() as connection:
            rows = connection.execute(_DEAD, {"most": limit}).all()
        return [_letter(row) for row in rows]

    def revive(self, letter_id: str) -> None:
        """Let a dead letter be received again, in its old place; raises NotFound where there is none."""
        if not (letter_id.isascii() and letter_id.isdigit() and len(letter_id) <= ID_DIGITS):
            raise NotFound("there is no such dead letter")
        with self._database.connection() as connection:
            revived = connection.execute(_REVIVE, {"wanted": int(letter_id), "now": self._database.clock()})
            if revived.rowcount == 0:
                raise NotFound("there is no such dead letter")

    def waiting(self) -> int:
        """Return how many messages are neither acknowledged nor dead, also those held now."""
        with self._database.connection() as connection:
            return int(connection.scalar(_WAITING) or 0)

    def close(self) -> None:
        """Do nothing: the database belongs to whoever opened it."""

    def _claim(self, limit: int, visibility: float) -> list[Delivery]:
        now, token = self._database.clock(), uuid4()
        claim = {"now": now, "until": now + timedelta(seconds=visibility), "holder": token, "most": limit}
        with unbound(self._database, in_order_of_an_index=True) as connection:
            rows = connection.execute(_CLAIM, claim).all()
        if any(row.owner_id for row in rows):
            lost = self._step_back(token, min(row.id for row in rows), max(row.id for row in rows))
            rows = [row for row in rows if row.id not in lost]
        return [_delivery(row, token) for row in sorted(rows, key=lambda row: row.id)]

    def _step_back(self, token: UUID, first: int, last: int) -> set[int]:
        """Give back what was taken while another consumer took another message of its group; return which.

        That happens where a message was committed after one behind it: two consumers may each have seen only one of
        them. Of two that look again after their own claim was committed, at least one sees the other's.
        """
        again = {"now": self._database.clock(), "holder": token, "first": first, "last": last}
        with self._database.connection() as connection:
            return set(connection.scalars(_STEP_BACK, again))

    def _change(self, statement: sa.Executable, delivery: Delivery, **values: Any) -> None:
        number, token = _opened(delivery.receipt)
        now = self._database.clock()
        values = {name: now + value if isinstance(value, timedelta) else value for name, value in values.items()}
        with self._database.connection() as connection:
            connection.execute(statement, {"wanted": number, "holder": token, "now": now} | values)


_m: Final = queue_messages.c
_other: Final = queue_messages.alias("other")

_now: Final = sa.bindparam("now", type_=Instant())
_until: Final = sa.bindparam("until", type_=Instant())
_holder: Final = sa.bindparam("holder", type_=sa.Uuid())
_first: Final = sa.bindparam("first", type_=sa.BigInteger())
_last: Final = sa.bindparam("last", type_=sa.BigInteger())
_wanted: Final = sa.bindparam("wanted", type_=sa.BigInteger())


def _has_beside_it(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """Return whether a message has another living one of its group that meets a condition.

    Looked up for each message by itself: PostgreSQL makes a join of EXISTS, and reads the whole queue for it.
    """
    same_group = _other.c.owner_id == _m.owner_id, _other.c.id != _m.id, _other.c.dead_at.is_(None)
    found = sa.select(_other.c.id).where(*same_group, condition).limit(1)
    return found.correlate(queue_messages).scalar_subquery().is_not(None)


_is_out: Final = _other.c.token.is_not(None) & (_other.c.available_at > _now)

_group_is_out: Final = _has_beside_it(_is_out)
"""Another message of the group is held, whichever it is: an older one may have been committed or revived later."""

_has_to_wait: Final = _has_beside_it((_other.c.id < _m.id) | _is_out)
"""Behind an older message of its group, or while another one is held. One condition, so that nothing but the index by
groups is of use for it."""

_ready: Final = (
    sa.select(_m.id)
    .where(_m.dead_at.is_(None), _m.available_at <= _now, ~_has_to_wait)
    .order_by(_m.id)
    .limit(sa.bindparam("most", type_=sa.Integer()))
    .with_for_update(skip_locked=True)
    .cte("ready")
)

_SEND: Final = sa.insert(queue_messages).inline()
"""Inline, because the id that PostgreSQL would return is nothing the application may read."""

_CLAIM: Final = (
    sa.update(queue_messages)
    .where(_m.id.in_(sa.select(_ready.c.id)))
    .values(token=_holder, available_at=_until, receives=_m.receives + 1)
    .returning(_m.id, _m.owner_id, _m.body, _m.receives)
)

_STEP_BACK: Final = (
    sa.update(queue_messages)
    .where(_m.id.between(_first, _last), _m.token == _holder, _group_is_out)
    .values(token=None, available_at=_now, receives=_m.receives - 1)
    .returning(_m.id)
)

_held: Final = _m.id == _wanted, _m.token == _holder, _m.dead_at.is_(None)

_EXTEND: Final = sa.update(queue_messages).where(*_held, ~_group_is_out).values(available_at=_until)
"""What has expired may be held on to while nobody else has it, nor another message of its group."""

_GIVE_BACK: Final = (
    sa.update(queue_messages).where(*_held).values(available_at=_now, token=None, receives=_m.receives - 1)
)
"""Who gives a message back says so: that counts as no receipt, as those count that ended without a word."""

_ACKNOWLEDGE: Final = sa.delete(queue_messages).where(*_held)

_BURY: Final = (
    sa.update(queue_messages)
    .where(*_held)
    .values(dead_at=_now, reason=sa.bindparam("why", type_=_m.reason.type), token=None)
)

_DEAD: Final = (
    sa.select(_m.id, _m.body, _m.reason, _m.receives, _m.dead_at)
    .where(_m.dead_at.is_not(None))
    .order_by(_m.dead_at, _m.id)
    .limit(sa.bindparam("most", type_=sa.Integer()))
)

_REVIVE: Final = (
    sa.update(queue_messages)
    .where(_m.id == _wanted, _m.dead_at.is_not(None))
    .values(dead_at=None, reason=None, token=None, receives=0, available_at=_now)
)

_WAITING: Final = sa.select(sa.func.count()).select_from(queue_messages).where(_m.dead_at.is_(None))


def _delivery(row: Any, token: UUID) -> Delivery:
    body, raw = read_body(row.body)
    return Delivery(body, f"{row.id}:{token.hex}", row.receives, row.owner_id, raw)


def _letter(row: Any) -> DeadLetter:
    body, raw = read_body(row.body)
    return DeadLetter(str(row.id), body, row.reason, row.receives, row.dead_at, raw)


def _opened(receipt: str) -> tuple[int, UUID]:
    number, _, token = receipt.partition(":")
    try:
        return int(number), UUID(token)
    except ValueError:
        raise InvalidInput("this is no receipt of this queue") from None
