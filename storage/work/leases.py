"""Leases: a job belongs to one worker at a time, until it is done, given back, or its time has run out.

A lease that ran out counts as an attempt that failed: whoever kills each worker must not do so for ever. On PostgreSQL
everything here needs the worker's URL.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

import sqlalchemy as sa

from storage.database import Database
from storage.dialect import insert_if_new
from storage.errors import Erased
from storage.tables import conversations, jobs, owners
from storage.work.eligible import INACTIVE_FOR, has_ended
from storage.work.job_store import FREED, JobKind, Lease, count, held, job_of
from storage.work.unbound import unbound

ATTEMPTS: Final = 5
"""How often a job is tried before it is dead, where nobody says otherwise."""

ABANDONED: Final = "abandoned"
"""The error of a job whose workers ended without a word."""

GONE: Final = "gone"
"""Nobody has this conversation, or is this person, any more."""

NOT_ENDED: Final = "not_ended"
"""Something was said in the conversation not long ago, or it is remembered already."""


@dataclass(frozen=True, slots=True)
class Busy:
    """A job that somebody does already, or that waits for its next attempt."""

    until: datetime


@dataclass(frozen=True, slots=True)
class NotEligible:
    """A subject about which nothing is to be done (any more)."""

    reason: str
    """GONE, NOT_ENDED, or how the job ended: `done` or `dead`."""


def lease(
    database: Database,
    kind: JobKind,
    subject: UUID,
    *,
    seconds: float,
    inactive_for: timedelta = INACTIVE_FOR,
    attempts: int = ATTEMPTS,
) -> Lease | Busy | NotEligible:
    """Take a job for so many seconds; of any number who try at once one gets it.

    Whether a conversation is eligible is looked up anew: where it is not, its waiting job ends as skipped; where it is,
    it has a job even if nobody opened a batch for it. A person's job is to be done while it waits, or was never there.
    What was tried `attempts` times in vain is dead.
    """
    attempt = _Attempt(kind, subject, database.clock(), seconds, inactive_for, attempts)
    with database.connection() as connection:
        taken = attempt.at_once(connection)
    if taken is not None:
        return taken
    try:
        with unbound(database) as connection:
            return attempt.on(connection)
    except Erased:
        return NotEligible(GONE)


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One try to take a job."""

    kind: JobKind
    subject: UUID
    now: datetime
    seconds: float
    inactive_for: timedelta
    attempts: int

    def at_once(self, connection: sa.Connection) -> Lease | None:
        """Take a job with one statement, which is enough for most; None where there is more to say about it."""
        token = uuid4()
        wanted = self._named | self._asked | self._taken(token) | {"its_limit": self.attempts}
        row = connection.execute(_TAKE_AT_ONCE[self.kind], wanted).one_or_none()
        if row is None:
            return None
        return Lease(self.kind, self.subject, row.owner_id, row.organization, token, row.attempts)

    def on(self, connection: sa.Connection) -> Lease | Busy | NotEligible:
        """Take a job that needs more than that, or find out why it is not to be had."""
        row = connection.execute(_LOCKED, self._named).one_or_none()
        # Under the lock: who held it may have ended the job.
        about = connection.execute(_ABOUT[self.kind], self._asked).one_or_none()
        if row is None:
            if about is None or not about.eligible:
                return NotEligible(GONE if about is None else NOT_ENDED)
            new = {"kind": self.kind, "subject_id": self.subject, "owner_id": about.owner, "state": "waiting"}
            insert_if_new(connection.execute, jobs, new | {"created_at": self.now, "updated_at": self.now})
            row = connection.execute(_LOCKED, self._named).one()
            about = connection.execute(_ABOUT[self.kind], self._asked).one_or_none()
        waits = row.state == "waiting"
        if waits and row.leased_until is not None and row.leased_until > self.now:
            return Busy(row.leased_until)
        if about is None or not about.eligible:
            if waits:
                reason = GONE if about is None else NOT_ENDED
                self._end(connection, row, "skipped", {"state": "done", "outcome": "skipped", "error": reason})
            return NotEligible(GONE if about is None else NOT_ENDED)
        if not waits and (self.kind == "person" or (row.state == "dead" and about.changed_at <= row.updated_at)):
            return NotEligible(row.state)
        if waits and row.next_attempt_at is not None and row.next_attempt_at > self.now:
            return Busy(row.next_attempt_at)
        return self._begin(connection, row, about, waits)

    def _begin(self, connection: sa.Connection, row: Any, about: Any, waits: bool) -> Lease | NotEligible:
        in_vain = row.attempts + (row.lease_token is not None) if waits else 0
        if in_vain >= self.attempts:
            error = ABANDONED if row.lease_token is not None else row.error
            self._end(connection, row, "failed", {"state": "dead", "attempts": in_vain, "error": error})
            return NotEligible("dead")
        token = uuid4()
        taken = self._taken(token) | {"its_attempts": in_vain}
        connection.execute(_TAKE if waits else _TAKE_ANEW, self._named | taken)
        return Lease(self.kind, self.subject, row.owner_id, about.organization_id, token, in_vain)

    def _end(self, connection: sa.Connection, row: Any, counted: str, values: dict[str, Any]) -> None:
        connection.execute(sa.update(jobs).where(*self._this).values(values | FREED | {"updated_at": self.now}))
        count(connection.execute, row.batch_id, self.now, {counted: 1})

    @property
    def _this(self) -> tuple[sa.ColumnElement[bool], ...]:
        return job_of(self.kind, self.subject)

    @property
    def _named(self) -> dict[str, Any]:
        return {"its_kind": self.kind, "its_subject": self.subject}

    @property
    def _asked(self) -> dict[str, Any]:
        ended = {"quiet_since": self.now - self.inactive_for} if self.kind == "conversation" else {}
        return {"its_subject": self.subject} | ended

    def _taken(self, token: UUID) -> dict[str, Any]:
        return {"its_lease": token, "its_time": self.now, "its_end": self.now + timedelta(seconds=self.seconds)}


def extend(database: Database, lease: Lease, seconds: float) -> bool:
    """Keep a lease for so many seconds from now, or give it back with 0: then others may do the job at once.

    Returns whether it still was the holder's. What is given back does not count as an attempt.
    """
    now = database.clock()
    until = {"leased_until": now + timedelta(seconds=seconds)} if seconds else FREED | {"next_attempt_at": now}
    with database.connection() as connection:
        return connection.execute(sa.update(jobs).where(*held(lease)).values(until)).rowcount == 1


# Made once: to put a statement of SQLAlchemy together takes many times as long as to run it.
_THIS: Final = (jobs.c.kind == sa.bindparam("its_kind"), jobs.c.subject_id == sa.bindparam("its_subject"))
_LOCKED: Final = sa.select(jobs).where(*_THIS).with_for_update()


def _about(kind: JobKind) -> sa.Select[Any]:
    """Select whose the subject is, whether it is eligible, and when something was last said."""
    alive = owners.c.survivor_id == owners.c.id  # in a branch that was merged nothing can be written any more
    whose = owners.c.id.label("owner"), owners.c.organization_id
    if kind == "person":
        yes = sa.true().label("eligible")
        return sa.select(*whose, yes).where(owners.c.id == sa.bindparam("its_subject"), alive)
    quiet_since = sa.bindparam("quiet_since", type_=conversations.c.last_message_at.type)
    ended = has_ended(quiet_since).label("eligible")
    wanted = sa.select(*whose, ended, conversations.c.updated_at.label("changed_at"))
    joined = wanted.join(conversations, conversations.c.owner_id == owners.c.id)
    return joined.where(conversations.c.id == sa.bindparam("its_subject"), alive)


def _taking(**values: Any) -> sa.Update:
    moment = jobs.c.updated_at.type
    taken = {
        "state": "waiting",
        "outcome": None,
        "attempts": sa.bindparam("its_attempts"),
        "next_attempt_at": None,
        "lease_token": sa.bindparam("its_lease"),
        "leased_until": sa.bindparam("its_end", type_=moment),
        "updated_at": sa.bindparam("its_time", type_=moment),
    }
    return sa.update(jobs).where(*_THIS).values(taken | values)


def _taking_at_once(kind: JobKind) -> sa.Update:
    """Take a job that waits, is due, was not tried too often, and is eligible.

    Whoever waits here for another worker's lock sees the job as that one leaves it, but the subject as it was before:
    the job is over then, or in work, and is not taken.
    """
    now = sa.bindparam("its_time", type_=jobs.c.updated_at.type)
    tried = jobs.c.attempts + sa.case((jobs.c.lease_token.is_(None), 0), else_=1)
    about = _about(kind).subquery()
    organization = sa.select(owners.c.organization_id).where(owners.c.id == jobs.c.owner_id).scalar_subquery()
    taken = _taking(attempts=tried).where(
        jobs.c.state == "waiting",
        sa.or_(jobs.c.leased_until.is_(None), jobs.c.leased_until <= now),
        sa.or_(jobs.c.next_attempt_at.is_(None), jobs.c.next_attempt_at <= now),
        tried < sa.bindparam("its_limit", type_=jobs.c.attempts.type),
        sa.exists().where(about.c.eligible),
    )
    return taken.returning(jobs.c.owner_id, jobs.c.attempts, organization.label("organization"))


_ABOUT: Final = {"conversation": _about("conversation"), "person": _about("person")}
_TAKE_AT_ONCE: Final = {"conversation": _taking_at_once("conversation"), "person": _taking_at_once("person")}
_TAKE: Final = _taking()
_TAKE_ANEW: Final = _taking(
    batch_id=None,
    error=None,
    input_tokens=0,
    output_tokens=0,
    created_at=sa.bindparam("its_time", type_=jobs.c.created_at.type),
)
