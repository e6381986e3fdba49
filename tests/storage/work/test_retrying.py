"""What failed is found again, hurried, and gone back to; what was paid under a lost lease counts."""

from collections.abc import Callable
from typing import Final
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from storage.conversations import NewMessage
from storage.cursors import MESSAGES
from storage.database import Database
from storage.erase import erase
from storage.errors import Conflict, NotFound, UnsafeRole
from storage.provenance import TokenUsage
from storage.tables import owners
from storage.work.batches import Batch, BatchKind, get_batch
from storage.work.eligible import Subject
from storage.work.job_store import JobKind, Lease
from storage.work.jobs import charge, dead_jobs, due_retries, fail, failed_jobs, get_job, retry
from storage.work.leases import extend, lease
from storage.work.opening import open_batch
from tests.clock import Clock

DAY = 86_400

_BATCHES: Final[dict[JobKind, BatchKind]] = {"person": "daily", "conversation": "conversations"}


def begin(database: Database, kind: JobKind, subject: UUID) -> Lease:
    held = lease(database, kind, subject, seconds=60)
    assert isinstance(held, Lease)
    return held


def leave_behind(database: Database, owner: UUID) -> None:
    """Do what the loop does with messages that no summarizer can make anything of."""
    with database.begin(owner) as stores:
        stores.cursors.leave_behind(MESSAGES, 5)


def finish(database: Database, held: Lease) -> None:
    with database.begin(held.owner) as stores:
        stores.jobs.finish(held, "unchanged")


def seen(database: Database, owner: UUID) -> int:
    with database.read(owner) as stores:
        return stores.cursors.seen(MESSAGES)


def conversation_of(database: Database, owner: UUID, clock: Clock) -> UUID:
    with database.begin(owner) as stores:
        stores.conversations.append("call-1", [NewMessage("user", "x")])
        [found] = stores.conversations.all().entries
    clock.move(DAY)
    return found.id


def batch_of(database: Database, kind: JobKind, subject: UUID, owner: UUID) -> Batch:
    batch = open_batch(database, _BATCHES[kind], [Subject(subject, owner, "default")])
    assert batch is not None
    return batch


def test_a_dead_person_goes_back_to_what_was_left_behind(clocked_worker: Database, ada: UUID) -> None:
    leave_behind(clocked_worker, ada)
    fail(clocked_worker, begin(clocked_worker, "person", ada), "summarizer_failed", attempts=1)
    job = retry(clocked_worker, "person", ada)
    assert (job.state, job.attempts, seen(clocked_worker, ada)) == ("waiting", 0, 0)
    assert dead_jobs(clocked_worker).entries == ()
    assert due_retries(clocked_worker) == [("person", ada, ada)]


def test_a_person_of_whom_something_was_left_behind_stays_listed_after_a_good_day(
    clocked_worker: Database, ada: UUID, bob: UUID
) -> None:
    leave_behind(clocked_worker, ada)
    for each in (ada, bob):
        finish(clocked_worker, begin(clocked_worker, "person", each))
    [job] = dead_jobs(clocked_worker).entries
    assert (job.subject, job.state, job.error) == (ada, "done", "summarizer_failed")
    assert retry(clocked_worker, "person", ada).state == "waiting"
    assert seen(clocked_worker, ada) == 0
    assert dead_jobs(clocked_worker).entries == ()
    with pytest.raises(NotFound):
        retry(clocked_worker, "person", bob)


def test_of_a_job_that_is_refused_nothing_goes_back(clocked_worker: Database, ada: UUID) -> None:
    leave_behind(clocked_worker, ada)
    with pytest.raises(NotFound):  # no job to do it
        retry(clocked_worker, "person", ada)
    held = begin(clocked_worker, "person", ada)
    with pytest.raises(Conflict):
        retry(clocked_worker, "person", ada)
    assert seen(clocked_worker, ada) == 5
    finish(clocked_worker, held)
    retry(clocked_worker, "person", ada)
    assert seen(clocked_worker, ada) == 0


def test_somebody_merged_or_erased_is_neither_listed_nor_gone_back_for(
    clocked_worker: Database, ada: UUID, bob: UUID, administrator: sa.Engine
) -> None:
    for each in (ada, bob):
        leave_behind(clocked_worker, each)
        finish(clocked_worker, begin(clocked_worker, "person", each))
    with administrator.begin() as connection:
        closed = {"survivor_id": ada, "merged_into": ada}
        connection.execute(sa.update(owners).where(owners.c.id == bob).values(closed))
    assert [job.subject for job in dead_jobs(clocked_worker).entries] == [ada]
    with pytest.raises(NotFound):
        retry(clocked_worker, "person", bob)
    assert seen(clocked_worker, ada) == 5
    erase(clocked_worker, ada)
    for nobody in (ada, uuid4()):
        with pytest.raises(NotFound):
            retry(clocked_worker, "person", nobody)


def test_what_waits_for_its_next_attempt_is_listed_page_by_page(
    clocked_worker: Database, ada: UUID, bob: UUID, clock: Clock
) -> None:
    first, second = sorted((ada, bob))
    for each in (first, second):
        fail(clocked_worker, begin(clocked_worker, "person", each), "http_500")
    page = failed_jobs(clocked_worker, limit=1)
    [job] = page.entries
    assert (job.subject, job.state, job.attempts, job.error) == (first, "waiting", 1, "http_500")
    assert job.next_attempt_at is not None
    assert job.next_attempt_at > clock.now
    assert [job.subject for job in failed_jobs(clocked_worker, after=page.next).entries] == [second]
    assert dead_jobs(clocked_worker).entries == ()


@pytest.mark.parametrize("kind", ["person", "conversation"])
def test_what_waits_for_its_next_attempt_is_brought_forward_and_stays_in_its_batch(
    clocked_worker: Database, ada: UUID, clock: Clock, kind: JobKind
) -> None:
    subject = ada if kind == "person" else conversation_of(clocked_worker, ada, clock)
    batch = batch_of(clocked_worker, kind, subject, ada)
    fail(clocked_worker, begin(clocked_worker, kind, subject), "http_500")
    assert due_retries(clocked_worker) == []
    job = retry(clocked_worker, kind, subject)
    assert (job.attempts, job.next_attempt_at, job.batch) == (0, clock.now, batch.id)
    assert due_retries(clocked_worker) == [(kind, subject, ada)]
    assert failed_jobs(clocked_worker).entries == ()
    with pytest.raises(NotFound):  # it was tried in vain no more
        retry(clocked_worker, kind, subject)
    late = begin(clocked_worker, kind, subject)
    with pytest.raises(Conflict):
        retry(clocked_worker, kind, subject)
    finish(clocked_worker, late)
    assert get_batch(clocked_worker, batch.id).unchanged == 1


def test_whoever_is_silent_has_lost_what_is_brought_forward(clocked_worker: Database, ada: UUID, clock: Clock) -> None:
    fail(clocked_worker, begin(clocked_worker, "person", ada), "http_500")
    clock.move(DAY)
    silent = begin(clocked_worker, "person", ada)
    clock.move(DAY)
    retry(clocked_worker, "person", ada)
    assert not extend(clocked_worker, silent, 60)
    assert begin(clocked_worker, "person", ada).attempts == 0


def test_what_was_paid_under_a_lost_lease_counts_in_the_batch_of_the_job(
    clocked_worker: Database, ada: UUID, clock: Clock
) -> None:
    earlier = batch_of(clocked_worker, "person", ada, ada)
    late = begin(clocked_worker, "person", ada)
    clock.move(60)
    later = batch_of(clocked_worker, "person", ada, ada)
    finish(clocked_worker, begin(clocked_worker, "person", ada))
    charge(clocked_worker, late, TokenUsage(10, 5), cost_micros=25)
    charge(clocked_worker, late, None)
    counted = get_batch(clocked_worker, later.id)
    assert (counted.input_tokens, counted.output_tokens, counted.cost_micros) == (10, 5, 25)
    assert (counted.unchanged, counted.waiting) == (1, 0)
    assert get_batch(clocked_worker, earlier.id).input_tokens == 0
    job = get_job(clocked_worker, "person", ada)
    assert (job.state, job.input_tokens, job.output_tokens) == ("done", 10, 5)
    erase(clocked_worker, ada)
    charge(clocked_worker, late, TokenUsage(10, 5))
    assert get_batch(clocked_worker, later.id).input_tokens == 10


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)  # on SQLite there is one role
def test_the_application_retries_nothing(clocked: Database, clocked_worker: Database, ada: UUID) -> None:
    leave_behind(clocked_worker, ada)
    held = begin(clocked_worker, "person", ada)
    finish(clocked_worker, held)
    asked: list[Callable[[], object]] = [
        lambda: retry(clocked, "person", ada),
        lambda: failed_jobs(clocked),
        lambda: dead_jobs(clocked),
        lambda: charge(clocked, held, TokenUsage(1, 1)),
    ]
    for ask in asked:
        with pytest.raises(UnsafeRole):
            ask()
    assert seen(clocked_worker, ada) == 5
