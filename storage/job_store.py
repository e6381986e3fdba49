"""Job store: a leased job ends in the transaction that keeps its effect, and counts once in its batch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias
from uuid import UUID

import sqlalchemy as sa

from storage.errors import Conflict
from storage.provenance import TokenUsage
from storage.tables import batches, jobs
from storage.transaction import Work

JobKind: TypeAlias = Literal["conversation", "person"]

Outcome: TypeAlias = Literal["updated", "unchanged", "held", "skipped"]
"""How a job ended that did not fail."""

ENDED: Final = ("updated", "unchanged", "held", "skipped", "failed")
"""The sums that make up the total once a batch has finished."""

FREED: Final[dict[str, Any]] = {"lease_token": None, "leased_until": None, "next_attempt_at": None}
"""The columns of a job that nobody holds and that waits for no next attempt."""


class LeaseLost(Conflict):
    """Somebody else has taken this job over, so what was done for it must not count."""

    code = "lease_lost"


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to do a job, until somebody else may."""

    kind: JobKind
    subject: UUID
    owner: UUID
    organization: str
    token: UUID
    attempts: int
    """How often it was tried in vain before."""


class JobStore:
    """The jobs about one owner: ended in the transaction that keeps their effect."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def finish(self, lease: Lease, outcome: Outcome, tokens: TokenUsage | None = None, *, cost_micros: int = 0) -> None:
        """End the job, and count it in its batch, if and when this transaction commits.

        Raises LeaseLost where it is somebody else's by now, or over: let that end the transaction.
        """
        now = self._work.clock()
        values = spent(tokens) | FREED
        values |= {"state": "done", "outcome": outcome, "error": None, "updated_at": now}
        mine = sa.update(jobs).where(*held(lease), jobs.c.owner_id.in_(self._work.owners))
        row = self._work.execute(mine.values(values).returning(jobs.c.batch_id)).one_or_none()
        if row is None:
            raise LeaseLost
        count(self._work.execute, row.batch_id, now, {outcome: 1, "cost_micros": cost_micros} | sums(tokens))


def count(
    execute: Callable[[sa.Executable], Any], batch_id: UUID | None, now: datetime, sums: Mapping[str, int]
) -> None:
    """Add to the sums of a batch, in the transaction that ends its jobs; the last one that ends finishes it."""
    added = {name: number for name, number in sums.items() if number}
    if batch_id is None or not added:
        return
    values: dict[str, Any] = {name: batches.c[name] + number for name, number in added.items()}
    ended = sum(added.get(name, 0) for name in ENDED)
    if ended:
        column = batches.c.finished_at
        over = sa.and_(column.is_(None), sum_of_ended() + ended >= batches.c.total)
        values["finished_at"] = sa.case((over, sa.literal(now, column.type)), else_=column)
    execute(sa.update(batches).where(batches.c.id == batch_id).values(values))


def sum_of_ended() -> sa.ColumnElement[int]:
    """Return how many of the jobs of a batch have ended, as an expression."""
    updated, *others = (batches.c[name] for name in ENDED)
    return sum(others, start=updated)


def job_of(kind: JobKind, subject: UUID) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the conditions for the job about a subject."""
    return jobs.c.kind == kind, jobs.c.subject_id == subject


def held(lease: Lease) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the conditions for the job of a lease, while it is the holder's."""
    return *job_of(lease.kind, lease.subject), jobs.c.lease_token == lease.token


def spent(tokens: TokenUsage | None) -> dict[str, Any]:
    """Return the columns of a job with what one more attempt cost; nothing, where no model was asked."""
    return {name: jobs.c[name] + number for name, number in sums(tokens).items()}


def sums(tokens: TokenUsage | None) -> dict[str, int]:
    """Return what one attempt adds to the sums of tokens."""
    return {} if tokens is None else {"input_tokens": tokens.input, "output_tokens": tokens.output}
