"""Outbox: what happened to memory, written by the transaction that caused it, until somebody was told.

Database triggers write the rows, whichever door a change came through, while publishing is enabled; what is rolled back
was never there. Everything here is an operator's: on PostgreSQL it needs the worker's URL.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

import sqlalchemy as sa

from storage.database import Database
from storage.dialect import insert_if_new
from storage.tables import outbox, publishing

_SWITCH: Final = 1
"""The id of the one row of `publishing`."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened to a person's memory. It says whose and what kind, never what memory says."""

    id: int
    """Never given twice, so that a receiver knows what it has seen. It grows, but not without gaps, and of two changes
    that did not wait for each other the greater may come first: whoever keeps only the greatest id misses one."""

    owner: UUID
    organization: str
    user: str | None
    """The person's user id, where there is one."""

    event: str
    """`memory.changed` or `memory.erased`."""

    changed: str | None
    """Of a change: `document`, `item`, `profile` or `conversation`."""

    version: int | None
    """The version that the document or the item is at now."""

    at: datetime


def enable(database: Database) -> None:
    """Let every change be written down from now on. Enabling twice changes nothing."""
    with database.connection() as connection:
        if connection.execute(_switched(on=True)).rowcount == 0:
            insert_if_new(connection.execute, publishing, {"id": _SWITCH, "enabled": True})


def disable(database: Database) -> None:
    """Write nothing down from now on. What waits stays, for whoever publishes next."""
    with database.connection() as connection:
        connection.execute(_switched(on=False))


def is_enabled(database: Database) -> bool:
    """Whether changes are written down."""
    with database.connection() as connection:
        return bool(connection.scalar(sa.select(publishing.c.enabled).where(publishing.c.id == _SWITCH)))


def take(database: Database, limit: int = 100) -> list[Event]:
    """Return the oldest events, at most `limit`, in order of id. They stay until they are acknowledged.

    Changes that waited for each other (of one document, of one item, an erasure) are in the order in which they were
    made; two changes at the same moment that did not wait for each other have none.
    """
    with database.connection() as connection:
        return [Event(*row) for row in connection.execute(sa.select(*_EVENT).order_by(outbox.c.id).limit(limit))]


def acknowledge(database: Database, ids: Sequence[int]) -> None:
    """Delete the events that were delivered; those that are gone already are no error."""
    with database.connection() as connection:
        connection.execute(sa.delete(outbox).where(outbox.c.id.in_(ids)))


def waiting(database: Database) -> int:
    """Return how many events nobody was told of yet."""
    with database.connection() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(outbox)) or 0


def waiting_since(database: Database) -> datetime | None:
    """Return when the oldest event happened that nobody was told of yet; None where none waits."""
    with database.connection() as connection:
        return connection.scalar(sa.select(outbox.c.created_at).order_by(outbox.c.id).limit(1))


def lease(database: Database, seconds: float) -> UUID | None:
    """Return a token for being the one who publishes, for that long; None while somebody else is.

    Nobody waits for it: whoever does not get it has nothing to do. It is no transaction, so that publishing holds no
    lock; whoever dies with it is followed by another when its time is over.
    """
    now, token = database.clock(), uuid4()
    is_free = publishing.c.leased_until.is_(None) | (publishing.c.leased_until <= now)
    mine = sa.update(publishing).where(publishing.c.id == _SWITCH, is_free)
    with database.connection() as connection:
        taken = connection.execute(mine.values(lease_token=token, leased_until=now + timedelta(seconds=seconds)))
        return token if taken.rowcount == 1 else None


def release(database: Database, token: UUID) -> None:
    """Let the next one publish at once; a token whose time is over changes nothing for whoever came after it."""
    mine = sa.update(publishing).where(publishing.c.lease_token == token)
    with database.connection() as connection:
        connection.execute(mine.values(lease_token=None, leased_until=None))


_EVENT: Final = (
    outbox.c.id,
    outbox.c.owner_id,
    outbox.c.organization_id,
    outbox.c.user_id,
    outbox.c.event,
    outbox.c.changed,
    outbox.c.version,
    outbox.c.created_at,
)
"""The columns of an Event, in its order."""


def _switched(*, on: bool) -> sa.Update:
    return sa.update(publishing).where(publishing.c.id == _SWITCH).values(enabled=on)
