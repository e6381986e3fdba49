"""Batches: jobs that were begun together, and what became of them in sums."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Final, Literal, TypeAlias
from uuid import UUID

import sqlalchemy as sa

from storage.database import Database
from storage.errors import IdempotencyKeyReused, InvalidInput, NotFound
from storage.names import check_name
from storage.page import Page, page_size
from storage.tables import batches, jobs, owners
from storage.work.eligible import Subject
from storage.work.job_store import ENDED, JobKind, sum_of_ended

BatchKind: TypeAlias = Literal["conversations", "daily"]

JOB_KINDS: Final[Mapping[str, JobKind]] = {"conversations": "conversation", "daily": "person"}
"""What the jobs of a batch are about."""

UNSENT_AFTER: Final = timedelta(minutes=1)
"""How long a batch may be opened before whoever opened it counts as gone, and its messages are sent by another."""

SENDING_TEN: Final = timedelta(milliseconds=100)
"""How much longer for each ten of its jobs: so many messages SQS takes in a request."""


@dataclass(frozen=True, slots=True)
class Batch:
    """What was to be done, and what has become of it so far."""

    id: UUID
    kind: BatchKind
    organization: str | None
    """Whose conversations or people were meant; None for everybody's."""

    due_at: datetime | None
    idempotency_key: str | None
    total: int
    updated: int
    unchanged: int
    held: int
    skipped: int
    """What needed nothing any more: not eligible, erased, or taken up by a later batch."""

    failed: int
    """What failed for good. One that an operator has tried again counts in no batch."""

    input_tokens: int
    output_tokens: int
    cost_micros: int
    """Millionths of the currency that prices are given in."""

    created_at: datetime
    sent_at: datetime | None
    finished_at: datetime | None

    @property
    def waiting(self) -> int:
        """How many of its jobs have not ended."""
        ended: Iterator[int] = (getattr(self, name) for name in ENDED)
        return self.total - sum(ended)


def earlier_batch(
    database: Database, kind: BatchKind, idempotency_key: str, *, organization: str | None, due_at: datetime | None
) -> Batch | None:
    """Return the batch that was opened under the key, which counts within a kind and an organization.

    Raises IdempotencyKeyReused where it was opened for another due time.
    """
    key = kept_key(kind, organization, idempotency_key)
    with database.connection() as connection:
        row = connection.execute(sa.select(batches).where(batches.c.idempotency_key == key)).one_or_none()
    if row is not None and row.due_at != due_at:
        raise IdempotencyKeyReused("the idempotency key was used before, for another due time")
    return None if row is None else _batch(row)


def mark_sent(database: Database, batch_id: UUID) -> bool:
    """Note that the messages of a batch are in the queue; return whether nobody did before."""
    unsent_one = sa.update(batches).where(batches.c.id == batch_id, batches.c.sent_at.is_(None))
    with database.connection() as connection:
        return connection.execute(unsent_one.values(sent_at=database.clock())).rowcount == 1


def mark_unsent(database: Database, batch_id: UUID) -> None:
    """Note that the messages of a batch are not in the queue after all."""
    with database.connection() as connection:
        connection.execute(sa.update(batches).where(batches.c.id == batch_id).values(sent_at=None))


def unsent(database: Database, *, for_longer_than: timedelta = UNSENT_AFTER) -> list[Batch]:
    """Return the batches whose messages nobody has sent for so long, and SENDING_TEN for each ten, oldest first."""
    old = database.clock() - for_longer_than
    wanted = sa.select(batches).where(batches.c.sent_at.is_(None), batches.c.created_at <= old).order_by(batches.c.id)
    with database.connection() as connection:
        found = [_batch(row) for row in connection.execute(wanted)]
    return [batch for batch in found if batch.created_at <= old - batch.waiting // 10 * SENDING_TEN]


def waiting_subjects(database: Database, batch_id: UUID) -> list[Subject]:
    """Return what the jobs of a batch are about that have not ended."""
    wanted = (
        sa.select(jobs.c.subject_id, owners.c.id, owners.c.organization_id)
        .join(owners, owners.c.id == jobs.c.owner_id)
        .where(jobs.c.batch_id == batch_id, jobs.c.state == "waiting")
        .order_by(jobs.c.subject_id)
    )
    with database.connection() as connection:
        return [Subject(*row) for row in connection.execute(wanted)]


def get_batch(database: Database, batch_id: UUID) -> Batch:
    """Return a batch; raises NotFound where there is no such batch. On PostgreSQL it needs the worker's URL."""
    with database.connection() as connection:
        return read_batch(connection, batch_id)


def last_daily(database: Database, organization: str | None, *, before: datetime) -> datetime | None:
    """Return when the daily job of an organization, or of all, was last due before that time, or begun by hand."""
    mine = batches.c.organization_id.is_(None) if organization is None else batches.c.organization_id == organization
    when = sa.func.coalesce(batches.c.due_at, batches.c.created_at, type_=batches.c.created_at.type)
    earlier = when < sa.literal(before, batches.c.created_at.type)
    with database.connection() as connection:
        found: datetime | None = connection.scalar(
            sa.select(sa.func.max(when)).where(batches.c.kind == "daily", mine, earlier)
        )
    return found


def list_batches(
    database: Database, *, organization: str | None = None, limit: int = 20, after: str | None = None
) -> Page[Batch, str]:
    """Return the batches, newest first, those behind the id `after`. On PostgreSQL it needs the worker's URL."""
    wanted = sa.select(batches).order_by(batches.c.id.desc()).limit(page_size(limit) + 1)
    if organization is not None:
        wanted = wanted.where(batches.c.organization_id == organization)
    if after is not None:
        try:
            wanted = wanted.where(batches.c.id < UUID(after))
        except ValueError:
            raise InvalidInput("`after` is not the id of a batch") from None
    with database.connection() as connection:
        rows = connection.execute(wanted).all()
    found = tuple(map(_batch, rows[:limit]))
    return Page(found, str(found[-1].id) if len(rows) > limit else None)


def settle_batches(database: Database) -> None:
    """Finish the batches of which nothing waits any more: who was erased took the jobs along, which were skipped."""
    waits = sa.exists().where(jobs.c.batch_id == batches.c.id, jobs.c.state == "waiting")
    over = sa.and_(batches.c.finished_at.is_(None), sa.not_(waits))
    values = {"skipped": batches.c.skipped + batches.c.total - sum_of_ended(), "finished_at": database.clock()}
    with database.connection() as connection:
        if connection.execute(sa.select(batches.c.id).where(over).limit(1)).one_or_none() is not None:
            connection.execute(sa.update(batches).where(over).values(values))


def kept_key(kind: BatchKind, organization: str | None, key: str | None) -> str | None:
    """Return the key as it is kept: two organizations, or two kinds of batches, may use the same."""
    return None if key is None else "\n".join((kind, organization or "", check_name(key, "idempotency key")))


def read_batch(connection: sa.Connection, batch_id: UUID) -> Batch:
    """Return the batch as a transaction sees it; raises NotFound where there is none."""
    row = connection.execute(sa.select(batches).where(batches.c.id == batch_id)).one_or_none()
    if row is None:
        raise NotFound("there is no such batch")
    return _batch(row)


def _batch(row: Any) -> Batch:
    """Return a batch; the columns have its names, but for two."""
    members = row._mapping
    same = {each.name: members[each.name] for each in fields(Batch) if each.name in members}
    key = row.idempotency_key
    given = None if key is None else key.rpartition("\n")[2]
    return Batch(**same | {"organization": row.organization_id, "idempotency_key": given})
