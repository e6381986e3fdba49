"""Job counts: how many jobs are on their way, wait for another attempt, are done or dead.

On PostgreSQL everything here needs the worker's URL.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from storage.database import Database
from storage.tables import jobs, owners
from storage.work.job_store import JobKind


@dataclass(frozen=True, slots=True)
class JobCounts:
    """How many jobs there are of each sort."""

    on_their_way: int
    """In the queue, or in work."""

    to_retry: int
    """Those that failed and wait for their next attempt."""

    done: int
    dead: int


def count_jobs(
    database: Database,
    *,
    kind: JobKind | None = None,
    organization: str | None = None,
    changed_since: datetime | None = None,
) -> JobCounts:
    """Count the jobs: of one kind, of the people of one organization, and whose row changed at that time or later."""
    waits, is_timed = jobs.c.state == "waiting", jobs.c.next_attempt_at.is_not(None)
    sorts = (waits & ~is_timed, waits & is_timed, jobs.c.state == "done", jobs.c.state == "dead")
    wanted = sa.select(*(sa.func.count(sa.case((sort, 1))) for sort in sorts)).select_from(jobs)
    if kind is not None:
        wanted = wanted.where(jobs.c.kind == kind)
    if organization is not None:
        theirs = sa.and_(owners.c.id == jobs.c.owner_id, owners.c.organization_id == organization)
        wanted = wanted.join(owners, theirs)
    if changed_since is not None:
        wanted = wanted.where(jobs.c.updated_at >= changed_since)
    with database.connection() as connection:
        return JobCounts(*[int(number) for number in connection.execute(wanted).one()])


def is_untouched(database: Database, batch_id: UUID) -> bool:
    """Whether no job of the batch was ever begun."""
    begun = sa.or_(jobs.c.state != "waiting", jobs.c.lease_token.is_not(None), jobs.c.attempts > 0)
    wanted = sa.select(jobs.c.kind).where(jobs.c.batch_id == batch_id, begun).limit(1)
    with database.connection() as connection:
        return connection.execute(wanted).one_or_none() is None
