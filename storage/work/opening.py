"""Opening: a batch begins, with one job for each subject, which may have waited for an earlier batch before."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias
from uuid import UUID

import sqlalchemy as sa
from uuid_utils.compat import uuid7

from storage.database import Database
from storage.dialect import InsertIfNew, insert_if_new
from storage.moment import checked_moment
from storage.tables import batches, jobs
from storage.work.batches import JOB_KINDS, Batch, BatchKind, kept_key, read_batch
from storage.work.eligible import Subject
from storage.work.job_store import JobKind, count
from storage.work.unbound import unbound

_AT_ONCE: Final = 1_000
"""Jobs named by one statement."""

Send: TypeAlias = Callable[[sa.Connection, Sequence[Subject]], None]
"""Sends the messages of a batch in the transaction that opens it."""


def open_batch(
    database: Database,
    kind: BatchKind,
    subjects: Sequence[Subject],
    *,
    due_at: datetime | None = None,
    organization: str | None = None,
    idempotency_key: str | None = None,
    found_at: datetime | None = None,
    send: Send | None = None,
) -> Batch | None:
    """Open a batch with one waiting job for each subject, all in one transaction; `send` is called in it.

    A job that waited for an earlier batch goes over to this one, where its attempts still count, and counts as skipped
    in the earlier one. One that a worker is busy with stays where it is; so does a conversation's that another batch
    has taken since `found_at`, when these subjects were looked for.

    Returns None where the due time or the key was claimed before, and where a batch of conversations would have no
    job; a daily one without any is finished at once.

    Raises Erased where one of the people is gone: look again for who there is. On PostgreSQL it needs the worker's URL.
    """
    batch_id, now = uuid7(), database.clock()
    row = {
        "id": batch_id,
        "kind": kind,
        "organization_id": organization,
        "due_at": None if due_at is None else checked_moment(due_at),
        "idempotency_key": kept_key(kind, organization, idempotency_key),
        "created_at": now,
    }
    with unbound(database) as connection:
        if not insert_if_new(connection.execute, batches, row):
            return None
        taken = _take_up(connection, batch_id, JOB_KINDS[kind], subjects, now, found_at)
        if not taken and kind == "conversations":
            connection.execute(sa.delete(batches).where(batches.c.id == batch_id))
            return None
        if send is not None and taken:
            send(connection, taken)
        sent_at = now if send is not None or not taken else None
        values = {"total": len(taken), "sent_at": sent_at, "finished_at": None if taken else now}
        connection.execute(sa.update(batches).where(batches.c.id == batch_id).values(values))
        return read_batch(connection, batch_id)


def _take_up(
    connection: sa.Connection,
    batch_id: UUID,
    kind: JobKind,
    subjects: Sequence[Subject],
    now: datetime,
    found_at: datetime | None,
) -> list[Subject]:
    """Let the jobs belong to the batch, and return the subjects of those that do now."""
    overtaken: Counter[UUID] = Counter()
    taken: list[Subject] = []
    common = {"kind": kind, "batch_id": batch_id, "state": "waiting", "created_at": now, "updated_at": now}
    ordered = sorted({each.id: each for each in subjects}.values(), key=lambda each: each.id)  # as everybody locks
    for some in _chunks(ordered):
        new = [common | {"subject_id": each.id, "owner_id": each.owner} for each in some]
        connection.execute(InsertIfNew(jobs), new)
        these = sa.select(jobs).where(jobs.c.kind == kind, jobs.c.subject_id.in_([each.id for each in some]))
        rows = {row.subject_id: row for row in connection.execute(these.order_by(jobs.c.subject_id).with_for_update())}
        since = found_at if kind == "conversation" else None
        there = [each for each in some if each.id in rows]  # an erasure may have come in between
        ours = [each for each in there if not _stays(rows[each.id], batch_id, now, since)]
        earlier = [rows[each.id] for each in ours if rows[each.id].batch_id != batch_id]
        overtaken.update(row.batch_id for row in earlier if row.state == "waiting" and row.batch_id is not None)
        again = sa.and_(jobs.c.kind == kind, jobs.c.subject_id.in_([row.subject_id for row in earlier]))
        connection.execute(sa.update(jobs).where(again).values(_anew(batch_id, now)))
        taken += ours
    for earlier_id in sorted(overtaken):
        count(connection.execute, earlier_id, now, {"skipped": overtaken[earlier_id]})
    return taken


def _stays(job: Any, batch_id: UUID, now: datetime, found_at: datetime | None) -> bool:
    """Whether a job is left to those who have it."""
    if job.batch_id == batch_id or job.state != "waiting":
        return False
    leased = job.leased_until is not None and job.leased_until > now
    return leased or (found_at is not None and job.created_at >= found_at)


def _anew(batch_id: UUID | None, now: datetime) -> dict[str, Any]:
    """Return a job as it begins again. What was tried in vain, or began and never ended, still counts."""
    in_vain = jobs.c.attempts + sa.case((jobs.c.lease_token.is_(None), 0), else_=1)
    return {
        "batch_id": batch_id,
        "state": "waiting",
        "outcome": None,
        "attempts": sa.case((jobs.c.state == "waiting", in_vain), else_=0),
        "next_attempt_at": None,
        "lease_token": None,
        "leased_until": None,
        "error": None,
        "input_tokens": 0,
        "output_tokens": 0,
        "created_at": now,
        "updated_at": now,
    }


def _chunks(subjects: Sequence[Subject]) -> Iterator[Sequence[Subject]]:
    for start in range(0, len(subjects), _AT_ONCE):
        yield subjects[start : start + _AT_ONCE]
