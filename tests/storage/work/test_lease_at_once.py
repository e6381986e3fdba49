"""The one statement that takes most jobs: it takes what the careful way would take, and leaves the rest to it."""

from datetime import timedelta
from itertools import product
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from storage.conversations import NewMessage
from storage.database import Database
from storage.tables import batches, jobs
from storage.work.eligible import Subject
from storage.work.job_store import JobKind, Lease
from storage.work.leases import Busy, NotEligible, lease
from storage.work.opening import open_batch
from storage.work.unbound import unbound
from tests.clock import Clock

AGO, AHEAD = timedelta(seconds=-1), timedelta(seconds=30)

DAY = timedelta(days=1)


def about(database: Database, owner: UUID, kind: JobKind) -> Subject:
    """Open a job about a person or about a conversation of theirs."""
    subject = Subject(owner, owner, "default")
    if kind == "conversation":
        with database.begin(owner) as stores:
            stores.conversations.append("call-1", [NewMessage("user", "x")])
            subject = Subject(stores.conversations.all().entries[0].id, owner, "default")
    assert open_batch(database, "daily" if kind == "person" else "conversations", [subject])
    return subject


def stored(database: Database) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the only job and the only batch."""
    with database.connection() as connection:
        job = connection.execute(sa.select(jobs)).mappings().one()
        return dict(job), dict(connection.execute(sa.select(batches)).mappings().one())


def put(database: Database, job: dict[str, Any], batch: dict[str, Any]) -> None:
    with unbound(database) as connection:
        connection.execute(sa.update(jobs).values(job))
        connection.execute(sa.update(batches).values(batch))


def taken(database: Database, kind: JobKind, subject: UUID) -> tuple[object, dict[str, Any], dict[str, Any]]:
    """Try to lease a job; return the answer, and the job and its batch as they are then, all without the token."""
    answer: object = lease(database, kind, subject, seconds=60, inactive_for=DAY)
    job, batch = stored(database)
    if isinstance(answer, Lease):
        assert job["lease_token"] == answer.token
        answer = answer.owner, answer.organization, answer.attempts
    job["lease_token"] = job["lease_token"] is not None
    return answer, job, batch


@pytest.mark.parametrize("state", ["waiting", "done", "dead"])
@pytest.mark.parametrize(
    ("kind", "quiet_for"), [("person", 2 * DAY), ("conversation", 2 * DAY), ("conversation", DAY / 2)]
)
def test_a_job_is_taken_at_once_as_it_is_taken_with_care(
    clocked_worker: Database,
    ada: UUID,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    kind: JobKind,
    quiet_for: timedelta,
) -> None:
    subject = about(clocked_worker, ada, kind).id
    clock.move(quiet_for.total_seconds())
    opened, batch = stored(clocked_worker)
    seen: set[type] = set()
    for held_until, due_at, attempts in product((None, AGO, AHEAD), (None, AGO, AHEAD), (0, 3, 4, 5)):
        now = clock()
        job = opened | {
            "state": state,
            "attempts": attempts,
            "error": "upstream_failed" if attempts else None,
            "lease_token": None if held_until is None else ada,
            "leased_until": None if held_until is None else now + held_until,
            "next_attempt_at": None if due_at is None else now + due_at,
        }
        put(clocked_worker, job, batch)
        at_once = taken(clocked_worker, kind, subject)
        put(clocked_worker, job, batch)
        with monkeypatch.context() as patched:
            patched.setattr("storage.work.leases._Attempt.at_once", lambda *_: None)
            with_care = taken(clocked_worker, kind, subject)
        assert at_once == with_care, job
        seen.add(type(with_care[0]))
    if state == "waiting" and quiet_for > DAY:
        assert seen == {tuple, Busy, NotEligible}
