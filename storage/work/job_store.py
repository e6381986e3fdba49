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
        now, paid = self._work.clock(), tokens or TokenUsage(0, 0)
        ended = {"its_outcome": outcome, "its_time": now, "its_input": paid.input, "its_output": paid.output}
        named = {"its_kind": lease.kind, "its_subject": lease.subject, "its_token": lease.token}
        row = self._work.execute(_FINISH, named | ended | {"its_owners": self._work.owners}).one_or_none()
        if row is None:
            raise LeaseLost
        count(self._work.execute, row.batch_id, now, {outcome: 1, "cost_micros": cost_micros} | sums(tokens))

    def go_on(self, lease: Lease, tokens: TokenUsage | None = None, *, cost_micros: int = 0) -> None:
        """Count what a part of the job cost whose effect this transaction keeps; more of the job is to be done.

        Raises LeaseLost as `finish` does: a part that comes late must not take the place of what another made.
        """
        now = self._work.clock()
        mine = sa.update(jobs).where(*held(lease), jobs.c.owner_id.in_(self._work.owners))
        changed = mine.values(spent(tokens) | {"updated_at": now}).returning(jobs.c.batch_id)
        row = self._work.execute(changed).one_or_none()
        if row is None:
            raise LeaseLost
        count(self._work.execute, row.batch_id, now, {"cost_micros": cost_micros} | sums(tokens))


def count(execute: Callable[..., Any], batch_id: UUID | None, now: datetime, sums: Mapping[str, int]) -> None:
    """Add to the sums of a batch, in the transaction that ends its jobs; the last one that ends finishes it."""
    if batch_id is not None and any(sums.values()):
        added = {f"more_{name}": sums.get(name, 0) for name in _SUMS}
        execute(_COUNT, added | {"its_id": batch_id, "its_time": now})


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


# Made once: to put a statement of SQLAlchemy together takes many times as long as to run it.
_SUMS: Final = (*ENDED, "input_tokens", "output_tokens", "cost_micros")


def _counting() -> sa.Update:
    more = {name: sa.bindparam(f"more_{name}", type_=batches.c[name].type) for name in _SUMS}
    first, *others = (more[name] for name in ENDED)
    ended: sa.ColumnElement[int] = sum(others, start=first)
    column = batches.c.finished_at
    over = sa.and_(column.is_(None), ended > 0, sum_of_ended() + ended >= batches.c.total)
    finished_at = sa.case((over, sa.bindparam("its_time", type_=column.type)), else_=column)
    summed = {name: batches.c[name] + number for name, number in more.items()}
    return (
        sa.update(batches).where(batches.c.id == sa.bindparam("its_id")).values(summed | {"finished_at": finished_at})
    )


def _finishing() -> sa.Update:
    mine = (
        jobs.c.kind == sa.bindparam("its_kind"),
        jobs.c.subject_id == sa.bindparam("its_subject"),
        jobs.c.lease_token == sa.bindparam("its_token"),
        jobs.c.owner_id.in_(sa.bindparam("its_owners", expanding=True)),
    )
    values = FREED | {
        "state": "done",
        "error": None,
        "outcome": sa.bindparam("its_outcome"),
        "updated_at": sa.bindparam("its_time", type_=jobs.c.updated_at.type),
        "input_tokens": jobs.c.input_tokens + sa.bindparam("its_input", type_=jobs.c.input_tokens.type),
        "output_tokens": jobs.c.output_tokens + sa.bindparam("its_output", type_=jobs.c.output_tokens.type),
    }
    return sa.update(jobs).where(*mine).values(values).returning(jobs.c.batch_id)


_COUNT: Final = _counting()
_FINISH: Final = _finishing()
