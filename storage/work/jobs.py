"""Jobs: what is to be done about one conversation or one person, how it ended, and how often it failed.

A job waits in one of three ways: on its way through the queue, in work (`storage/work/leases.py`), or for its next
attempt. Rows hold ids, counters, times and codes, never what anybody said. On PostgreSQL everything here needs the
worker's URL.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias
from uuid import UUID

import sqlalchemy as sa

from storage.cursors import CursorStore, is_left_behind
from storage.database import Database
from storage.errors import Conflict, Erased, InvalidInput, NotFound, SummarizerFailed
from storage.page import Page, page_size
from storage.provenance import TokenUsage
from storage.tables import jobs, owners
from storage.work.eligible import ON_ITS_WAY
from storage.work.job_store import FREED, JobKind, Lease, Outcome, count, held, job_of, spent, sums
from storage.work.leases import ATTEMPTS
from storage.work.unbound import unbound

FIRST_PAUSE: Final = timedelta(minutes=1)
"""How long a job waits that failed for the first time."""

PAUSE_GROWTH: Final = 4
"""How many times longer it waits after each further failure."""

LONGEST_PAUSE: Final = timedelta(hours=6)
"""How long a job waits between two attempts at the most."""

SHORTEST_SHARE: Final = 0.75
"""Of its pause, what a job waits at least: what failed together does not come back together."""

UNEXPECTED: Final = "unexpected"
"""The error of a job that failed with something that is no code."""

_NO_FAILED_JOB: Final = "there is no such job that failed"

_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")

Due: TypeAlias = tuple[JobKind, UUID, UUID]
"""A job that is to be tried again: its kind, its subject, and whose it is."""

Place: TypeAlias = tuple[str, str]
"""Where a page of jobs ends: the kind and the subject of its last one."""

SendAgain: TypeAlias = Callable[[sa.Connection, Sequence[Due]], None]
"""Sends the messages of jobs in the transaction that claims them."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is on record about a job."""

    kind: JobKind
    subject: UUID
    """The id of the conversation or of the person."""

    owner: UUID
    batch: UUID | None
    state: str
    """`waiting`, `done` or `dead`."""

    outcome: Outcome | None
    attempts: int
    """How often it failed, or was begun and never ended."""

    next_attempt_at: datetime | None
    leased_until: datetime | None
    error: str | None
    """The code of what went wrong last, or of why nothing was to be done."""

    input_tokens: int
    output_tokens: int
    created_at: datetime
    updated_at: datetime


def fail(
    database: Database,
    lease: Lease,
    error: str,
    *,
    attempts: int = ATTEMPTS,
    tokens: TokenUsage | None = None,
    cost_micros: int = 0,
) -> Job | None:
    """Let a job wait for its next attempt, or be dead after `attempts`; return it, or None where the lease was lost.

    `error` is a stable code; anything else is kept as UNEXPECTED, because messages may quote what was said.
    """
    now, in_vain = database.clock(), lease.attempts + 1
    dead = in_vain >= attempts
    values = spent(tokens) | FREED
    values |= {
        "state": "dead" if dead else "waiting",
        "attempts": in_vain,
        "next_attempt_at": None if dead else now + pause(in_vain),
        "error": error if _CODE.fullmatch(error) else UNEXPECTED,
        "updated_at": now,
    }
    with unbound(database) as connection:
        changed = sa.update(jobs).where(*held(lease)).values(values).returning(*jobs.c)
        row = connection.execute(changed).one_or_none()
        if row is None:
            return None
        count(connection.execute, row.batch_id, now, {"failed": int(dead), "cost_micros": cost_micros} | sums(tokens))
        return _job(row)


def pause(in_vain: int) -> timedelta:
    """Return how long a job waits that was tried so often: about 1, 4, 16, 64 ... minutes, a random share less."""
    longest: timedelta = min(FIRST_PAUSE * PAUSE_GROWTH ** min(in_vain - 1, 10), LONGEST_PAUSE)
    return longest * random.uniform(SHORTEST_SHARE, 1)


def due_retries(database: Database, limit: int = 100, *, send: SendAgain | None = None) -> list[Due]:
    """Return jobs that are to be tried again, and claim them: nobody else is told the same until ON_ITS_WAY is over.

    Those are the jobs whose next attempt is due, whose worker let the lease run out, or whose message was lost. `send`
    is called with them in the transaction that claims them.
    """
    now = database.clock()
    lost = sa.and_(
        jobs.c.next_attempt_at.is_(None), jobs.c.leased_until.is_(None), jobs.c.updated_at <= now - ON_ITS_WAY
    )
    due = sa.or_(jobs.c.next_attempt_at <= now, jobs.c.leased_until <= now, lost)
    wanted = sa.select(jobs.c.kind, jobs.c.subject_id, jobs.c.owner_id).where(jobs.c.state == "waiting", due)
    ordered = wanted.order_by(jobs.c.kind, jobs.c.subject_id).limit(limit)
    with database.connection() as connection:
        if connection.execute(ordered.limit(1)).one_or_none() is None:  # to look often must keep no writer waiting
            return []
    with unbound(database) as connection:
        found: list[Due] = [(*row,) for row in connection.execute(ordered.with_for_update(skip_locked=True))]
        for kind, subject, _ in found:
            # The token stays: it tells whoever takes the job next that it was begun before.
            claimed = {"next_attempt_at": None, "leased_until": None, "updated_at": now}
            connection.execute(sa.update(jobs).where(*job_of(kind, subject)).values(claimed))
        if send is not None and found:
            send(connection, found)
    return found


def put_back(database: Database, due: Sequence[Due]) -> None:
    """Let jobs be due again that were claimed and could not be sent."""
    now = database.clock()
    with unbound(database) as connection:
        for kind, subject, _ in due:
            unsent = jobs.c.leased_until.is_(None) & jobs.c.next_attempt_at.is_(None) & (jobs.c.state == "waiting")
            connection.execute(sa.update(jobs).where(*job_of(kind, subject), unsent).values(next_attempt_at=now))


def charge(database: Database, lease: Lease, tokens: TokenUsage | None, *, cost_micros: int = 0) -> None:
    """Count what was paid for a job under a lease that was lost: what was paid is paid.

    It counts in the batch that the job belongs to now, which may be another one than when it was begun. Where it
    belongs to none by now no batch says so, and where the job is gone with its person nothing does.
    """
    if tokens is None:
        return
    with unbound(database) as connection:
        changed = sa.update(jobs).where(*job_of(lease.kind, lease.subject)).values(spent(tokens))
        row = connection.execute(changed.returning(jobs.c.batch_id)).one_or_none()
        if row is not None:
            count(connection.execute, row.batch_id, database.clock(), {"cost_micros": cost_micros} | sums(tokens))


def retry(database: Database, kind: JobKind, subject: UUID) -> Job:
    """Let a job that failed, for good or not, be tried again now and as if never before. An operator's act.

    A person's goes back, in the same transaction, to what it left behind (`CursorStore.go_back`). What was dead or
    done stays counted as it ended, and counts in no other batch; what waits stays in its own. Raises NotFound where
    nothing failed, and Conflict while a worker is at it.
    """
    if kind == "conversation":
        with unbound(database) as connection:
            return _retried(connection.execute, database.clock(), kind, subject, lambda: False)
    try:
        with database.transaction(subject, writes=True) as person:
            # Of somebody who was merged into another the survivor's cursors are none of this job's.
            go_back = CursorStore(person).go_back if person.owner == subject else lambda: False
            return _retried(person.execute, person.clock(), kind, subject, go_back)
    except Erased:
        raise NotFound(_NO_FAILED_JOB) from None


def _retried(
    execute: Callable[..., Any], now: datetime, kind: JobKind, subject: UUID, go_back: Callable[[], bool]
) -> Job:
    this = job_of(kind, subject)
    row = execute(sa.select(jobs).where(*this).with_for_update()).one_or_none()
    if row is None:
        raise NotFound(_NO_FAILED_JOB)
    if row.leased_until is not None and row.leased_until > now:
        raise Conflict("a worker is at this job: try again when it has ended")
    waits = row.state == "waiting"
    if not (go_back() or row.state == "dead" or (waits and row.attempts > 0)):
        raise NotFound(_NO_FAILED_JOB)
    anew = {"state": "waiting", "outcome": None, "attempts": 0, "next_attempt_at": now, "updated_at": now}
    batch_id = row.batch_id if waits else None
    values = FREED | anew | {"batch_id": batch_id}
    return _job(execute(sa.update(jobs).where(*this).values(values).returning(*jobs.c)).one())


def get_job(database: Database, kind: JobKind, subject: UUID) -> Job:
    """Return what is on record; raises NotFound where there never was such a job."""
    with database.connection() as connection:
        row = connection.execute(sa.select(jobs).where(*job_of(kind, subject))).one_or_none()
    if row is None:
        raise NotFound("there is no such job")
    return _job(row)


def dead_jobs(database: Database, *, limit: int = 100, after: Place | None = None) -> Page[Job, Place]:
    """Return the jobs that failed for good, by kind and subject, those behind `after`, which is both.

    A person's of whom something was left behind stays among them, also after a later one went well, until somebody
    goes back to it; `error` is then that of the summarizer.
    """
    alive = sa.exists().where(owners.c.id == jobs.c.subject_id, owners.c.survivor_id == owners.c.id)
    left_behind = (jobs.c.kind == "person") & is_left_behind(jobs.c.owner_id) & alive
    # What was passed over is listed for as long as it is left behind, whoever goes back to it.
    passed_over = (jobs.c.kind == "person") & sa.func.coalesce(jobs.c.error == SummarizerFailed.code, sa.false())
    is_dead = (jobs.c.state == "dead") & ~passed_over
    error = sa.case((is_dead, jobs.c.error), else_=SummarizerFailed.code).label("error")
    columns = [error if column is jobs.c.error else column for column in jobs.c]
    return _page(database, sa.select(*columns).where(is_dead | left_behind), limit, after)


def failed_jobs(database: Database, *, limit: int = 100, after: Place | None = None) -> Page[Job, Place]:
    """Return the jobs that failed and are to be tried again, in the order and with the pages of `dead_jobs`."""
    return _page(database, sa.select(jobs).where(jobs.c.state == "waiting", jobs.c.attempts > 0), limit, after)


def _page(database: Database, wanted: sa.Select[Any], limit: int, after: Place | None) -> Page[Job, Place]:
    wanted = wanted.order_by(jobs.c.kind, jobs.c.subject_id)
    if after is not None:
        place = sa.tuple_(jobs.c.kind, jobs.c.subject_id)
        wanted = wanted.where(place > sa.tuple_(sa.literal(after[0], jobs.c.kind.type), _id(after[1])))
    with database.connection() as connection:
        rows = connection.execute(wanted.limit(page_size(limit) + 1)).all()
    found = tuple(map(_job, rows[:limit]))
    return Page(found, (found[-1].kind, str(found[-1].subject)) if len(rows) > limit else None)


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidInput("`after` is not what a page gave as its `next`") from None


def _job(row: Any) -> Job:
    """Return a job; the columns have its names, but for three."""
    members = row._mapping
    same = {each.name: members[each.name] for each in fields(Job) if each.name in members}
    return Job(**same, subject=row.subject_id, owner=row.owner_id, batch=row.batch_id)
