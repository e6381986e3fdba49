from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from storage.conversations import NewMessage
from storage.database import Database
from storage.directory import resolve
from storage.erase import erase
from storage.errors import InvalidInput, NotFound, UnsafeRole
from storage.identity import Identity
from storage.provenance import TokenUsage, by_user
from storage.tables import owners
from storage.work.batches import Batch, get_batch
from storage.work.eligible import ON_ITS_WAY, Subject
from storage.work.job_store import Lease, LeaseLost
from storage.work.jobs import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    SHORTEST_SHARE,
    Due,
    dead_jobs,
    due_retries,
    fail,
    get_job,
    pause,
    put_back,
    retry,
)
from storage.work.leases import Busy, NotEligible, extend, lease
from storage.work.opening import open_batch
from tests.clock import Clock

WEEK = 604_800


@pytest.fixture
def person(clocked_worker: Database, ada: UUID) -> Subject:
    """Somebody with a waiting job."""
    found = Subject(ada, ada, "default")
    batch_of(clocked_worker, found)
    return found


def batch_of(database: Database, *subjects: Subject) -> Batch:
    batch = open_batch(database, "daily", subjects)
    assert batch is not None
    return batch


def begin(database: Database, person: UUID, seconds: float = 60, attempts: int = 5) -> Lease:
    held = lease(database, "person", person, seconds=seconds, attempts=attempts)
    assert isinstance(held, Lease)
    return held


def talk(database: Database, owner: UUID, name: str = "call-1") -> UUID:
    with database.begin(owner) as stores:
        stores.conversations.append(name, [NewMessage("user", "x")])
        return next(each.id for each in stores.conversations.all().entries if each.name == name)


def begin_conversation(database: Database, conversation: UUID) -> Lease:
    held = lease(database, "conversation", conversation, seconds=60)
    assert isinstance(held, Lease)
    return held


def remember(database: Database, held: Lease) -> None:
    """Do what a worker does: keep the memory and end the job together."""
    with database.begin(held.owner) as stores:
        stores.conversation_memories.set("call-1", {"by": held.token.hex}, provenance=by_user)
        stores.jobs.finish(held, "updated", TokenUsage(10, 1))


def test_a_job_belongs_to_whoever_leases_it_first(clocked_worker: Database, person: Subject, clock: Clock) -> None:
    held = begin(clocked_worker, person.id)
    assert (held.owner, held.organization, held.attempts) == (person.id, "default", 0)
    assert lease(clocked_worker, "person", person.id, seconds=60) == Busy(clock.now + timedelta(seconds=60))
    with clocked_worker.begin(person.id) as stores:
        stores.jobs.finish(held, "unchanged")
    assert lease(clocked_worker, "person", person.id, seconds=60) == NotEligible("done")
    job = get_job(clocked_worker, "person", person.id)
    assert (job.state, job.outcome, job.attempts, job.leased_until) == ("done", "unchanged", 0, None)


@pytest.mark.parametrize("waits", [True, False])
def test_a_lease_tells_whose_job_it_is_and_of_which_organization(
    clocked_worker: Database, ada: UUID, clock: Clock, waits: bool
) -> None:
    eve = resolve(clocked_worker, Identity.of(user="ada", organization="acme")).owner
    talks = {owner: talk(clocked_worker, owner) for owner in (ada, eve)}
    clock.move(7_200)
    if waits:
        open_batch(clocked_worker, "conversations", [Subject(talks[eve], eve, "acme"), Subject(talks[ada], ada, "x")])
    for owner, organization in ((eve, "acme"), (ada, "default")):
        held = begin_conversation(clocked_worker, talks[owner])
        assert (held.subject, held.owner, held.organization) == (talks[owner], owner, organization)


def test_of_eight_who_lease_the_same_jobs_one_gets_each(clocked_worker: Database) -> None:
    everybody = [resolve(clocked_worker, Identity.of(user=f"person-{number}")).owner for number in range(12)]
    for one in everybody[:6]:  # the others have no job yet
        batch_of(clocked_worker, Subject(one, one, "default"))
    together = Barrier(8)

    def take_all(number: int) -> list[UUID]:
        together.wait()
        turned = everybody[number:] + everybody[:number]
        return [one for one in turned if isinstance(lease(clocked_worker, "person", one, seconds=60), Lease)]

    with ThreadPoolExecutor(8) as threads:
        taken = [one for each in threads.map(take_all, range(8)) for one in each]
    assert sorted(taken) == sorted(everybody)


def test_of_eight_workers_each_effect_is_kept_once(clocked_worker: Database, ada: UUID, clock: Clock) -> None:
    conversations = [talk(clocked_worker, ada, f"call-{number}") for number in range(6)]
    clock.move(7_200)
    batch = open_batch(clocked_worker, "conversations", [Subject(each, ada, "default") for each in conversations])
    assert batch is not None
    together = Barrier(8)

    def work(number: int) -> None:
        together.wait()
        for place in range(6):
            held = lease(clocked_worker, "conversation", conversations[(number + place) % 6], seconds=60)
            if isinstance(held, Lease):
                with clocked_worker.begin(held.owner) as stores:
                    stores.items.push("work", "done", str(held.subject))
                    name = stores.conversations.by_id(held.subject).name
                    stores.conversation_memories.set(name, {}, provenance=by_user)
                    stores.jobs.finish(held, "updated", TokenUsage(10, 1))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))
    with clocked_worker.read(ada) as stores:
        assert sorted(stores.items.get("work", "done").value) == sorted(map(str, conversations))
    ended = get_batch(clocked_worker, batch.id)
    assert (ended.updated, ended.waiting, ended.input_tokens, ended.finished_at) == (6, 0, 60, clock.now)


def test_an_effect_is_kept_with_the_end_of_its_job_or_not_at_all(
    clocked_worker: Database, ada: UUID, clock: Clock
) -> None:
    conversation = talk(clocked_worker, ada)
    clock.move(7_200)
    batch = open_batch(clocked_worker, "conversations", [Subject(conversation, ada, "default")])
    assert batch is not None
    held = begin_conversation(clocked_worker, conversation)

    def crash() -> None:
        with clocked_worker.begin(ada) as stores:
            stores.conversation_memories.set("call-1", {}, provenance=by_user)
            stores.jobs.finish(held, "updated", TokenUsage(10, 1))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        crash()
    assert get_job(clocked_worker, "conversation", conversation).state == "waiting"
    assert get_batch(clocked_worker, batch.id) == batch
    with clocked_worker.read(ada) as stores:
        assert stores.conversation_memories.all().entries == ()
    remember(clocked_worker, held)
    assert get_batch(clocked_worker, batch.id).updated == 1


def test_what_was_done_under_a_lost_lease_is_not_kept(clocked_worker: Database, ada: UUID, clock: Clock) -> None:
    conversation = talk(clocked_worker, ada)
    clock.move(7_200)
    slow = begin_conversation(clocked_worker, conversation)
    clock.move(60)
    quick = begin_conversation(clocked_worker, conversation)
    with pytest.raises(LeaseLost):
        remember(clocked_worker, slow)
    remember(clocked_worker, quick)
    for late in (slow, quick):
        with pytest.raises(LeaseLost):
            remember(clocked_worker, late)
        assert fail(clocked_worker, late, "timed_out") is None
        assert not extend(clocked_worker, late, 60)
    with clocked_worker.read(ada) as stores:
        assert stores.conversation_memories.get("call-1").data == {"by": quick.token.hex}


def test_a_lease_that_ran_out_is_the_holders_until_another_takes_it(
    clocked_worker: Database, person: Subject, clock: Clock
) -> None:
    held = begin(clocked_worker, person.id)
    clock.move(3_600)
    assert extend(clocked_worker, held, 60)
    assert isinstance(lease(clocked_worker, "person", person.id, seconds=60), Busy)
    clock.move(3_600)
    with clocked_worker.begin(person.id) as stores:
        stores.jobs.finish(held, "updated")


def test_a_job_of_another_person_cannot_be_ended(clocked_worker: Database, person: Subject, bob: UUID) -> None:
    held = begin(clocked_worker, person.id)
    with pytest.raises(LeaseLost), clocked_worker.begin(bob) as stores:
        stores.jobs.finish(held, "updated")
    assert get_job(clocked_worker, "person", person.id).state == "waiting"


def test_a_heartbeat_keeps_the_others_out(clocked_worker: Database, person: Subject, clock: Clock) -> None:
    held = begin(clocked_worker, person.id)
    for _ in range(5):
        clock.move(50)
        assert extend(clocked_worker, held, 60)
        assert lease(clocked_worker, "person", person.id, seconds=60) == Busy(clock.now + timedelta(seconds=60))
    assert due_retries(clocked_worker) == []


def test_what_is_given_back_was_not_tried(clocked_worker: Database, person: Subject) -> None:
    held = begin(clocked_worker, person.id)
    assert extend(clocked_worker, held, 0)
    assert not extend(clocked_worker, held, 60)
    assert due_retries(clocked_worker) == [("person", person.id, person.id)]
    assert begin(clocked_worker, person.id).attempts == 0


def test_what_fails_waits_longer_each_time_and_is_dead_in_the_end(
    clocked_worker: Database, person: Subject, clock: Clock
) -> None:
    batch = get_job(clocked_worker, "person", person.id).batch
    assert batch is not None
    for attempt, minutes in enumerate((1, 4, 16, 64), start=1):
        job = fail(clocked_worker, begin(clocked_worker, person.id), "timed_out", tokens=TokenUsage(5, 1))
        assert job is not None
        assert job.next_attempt_at is not None
        waits = job.next_attempt_at - clock.now
        assert minutes * SHORTEST_SHARE <= waits.total_seconds() / 60 <= minutes
        assert (job.state, job.attempts, job.error, job.input_tokens) == ("waiting", attempt, "timed_out", 5 * attempt)
        assert lease(clocked_worker, "person", person.id, seconds=60) == Busy(job.next_attempt_at)
        clock.now = job.next_attempt_at - timedelta(microseconds=1)
        assert due_retries(clocked_worker) == []
        clock.now = job.next_attempt_at
        assert due_retries(clocked_worker) == [("person", person.id, person.id)]
    job = fail(clocked_worker, begin(clocked_worker, person.id), "timed_out", tokens=TokenUsage(5, 1), cost_micros=9)
    assert job is not None
    assert (job.state, job.attempts, job.next_attempt_at) == ("dead", 5, None)
    ended = get_batch(clocked_worker, batch)
    assert (ended.failed, ended.waiting, ended.input_tokens, ended.cost_micros) == (1, 0, 25, 9)
    assert ended.finished_at == clock.now
    clock.move(WEEK)
    assert due_retries(clocked_worker) == []
    assert lease(clocked_worker, "person", person.id, seconds=60) == NotEligible("dead")


def test_no_pause_is_longer_than_the_longest() -> None:
    for in_vain in (6, 7, 100, 10**6):
        assert LONGEST_PAUSE * SHORTEST_SHARE <= pause(in_vain) <= LONGEST_PAUSE
    assert len({pause(1) for _ in range(20)}) > 1
    assert pause(1) <= FIRST_PAUSE


def test_whoever_kills_each_worker_is_dead_in_the_end(clocked_worker: Database, person: Subject, clock: Clock) -> None:
    batch = get_job(clocked_worker, "person", person.id).batch
    assert batch is not None
    for attempts in range(3):
        assert begin(clocked_worker, person.id, attempts=3).attempts == attempts
        clock.move(60)
        if attempts == 1:  # whether a message comes again or the schedule finds it first, it counts once
            assert due_retries(clocked_worker) == [("person", person.id, person.id)]
            assert due_retries(clocked_worker) == []
    assert lease(clocked_worker, "person", person.id, seconds=60, attempts=3) == NotEligible("dead")
    job = get_job(clocked_worker, "person", person.id)
    assert (job.state, job.attempts, job.error, job.leased_until) == ("dead", 3, "abandoned", None)
    ended = get_batch(clocked_worker, batch)
    assert (ended.failed, ended.finished_at) == (1, clock.now)


@pytest.mark.parametrize("error", ["my secret", "", "Timed out: my secret", "x" * 65, "7", "a\n"])
def test_no_message_is_kept_as_an_error(clocked_worker: Database, person: Subject, error: str) -> None:
    job = fail(clocked_worker, begin(clocked_worker, person.id), error)
    assert job is not None
    assert job.error == "unexpected"


def test_the_dead_are_listed_and_tried_again_by_an_operator(
    clocked_worker: Database, ada: UUID, bob: UUID, clock: Clock
) -> None:
    both = [Subject(each, each, "default") for each in sorted((ada, bob))]
    batch = batch_of(clocked_worker, *both)
    for each in both:
        fail(clocked_worker, begin(clocked_worker, each.id), "timed_out", attempts=1)
    page = dead_jobs(clocked_worker, limit=1)
    assert [job.subject for job in page.entries] == [both[0].id]
    assert page.next is not None
    assert [job.subject for job in dead_jobs(clocked_worker, after=page.next).entries] == [both[1].id]
    job = retry(clocked_worker, "person", both[0].id)
    assert (job.state, job.attempts, job.batch) == ("waiting", 0, None)
    assert due_retries(clocked_worker) == [("person", both[0].id, both[0].id)]
    held = begin(clocked_worker, both[0].id)
    with clocked_worker.begin(both[0].id) as stores:
        stores.jobs.finish(held, "updated")
    ended = get_batch(clocked_worker, batch.id)
    assert (ended.updated, ended.failed, ended.waiting) == (0, 2, 0)
    assert [job.subject for job in dead_jobs(clocked_worker).entries] == [both[1].id]
    for nobody in (both[0].id, uuid4()):
        with pytest.raises(NotFound):
            retry(clocked_worker, "person", nobody)
    with pytest.raises(NotFound):
        retry(clocked_worker, "conversation", both[1].id)
    with pytest.raises(InvalidInput):
        dead_jobs(clocked_worker, after=("person", "x"))


def test_each_due_job_is_told_to_one_who_asks(clocked_worker: Database, clock: Clock) -> None:
    everybody = [resolve(clocked_worker, Identity.of(user=f"person-{number}")).owner for number in range(30)]
    batch_of(clocked_worker, *[Subject(each, each, "default") for each in everybody])
    for each in everybody:
        fail(clocked_worker, begin(clocked_worker, each), "timed_out")
    clock.move(60)
    together = Barrier(6)

    def ask(_: int) -> list[Due]:
        together.wait()
        return due_retries(clocked_worker, limit=7)

    with ThreadPoolExecutor(6) as threads:
        told = [due for each in threads.map(ask, range(6)) for due in each]
    told += due_retries(clocked_worker)
    assert sorted(subject for _, subject, _ in told) == sorted(everybody)
    assert due_retries(clocked_worker) == []


def test_what_was_claimed_and_never_came_is_due_again_later(
    clocked_worker: Database, person: Subject, clock: Clock
) -> None:
    fail(clocked_worker, begin(clocked_worker, person.id), "timed_out")
    clock.move(60)
    due = due_retries(clocked_worker)
    assert len(due) == 1
    clock.move(ON_ITS_WAY.total_seconds() - 1)
    assert due_retries(clocked_worker) == []
    clock.move(1)
    assert due_retries(clocked_worker) == due
    put_back(clocked_worker, due)
    assert due_retries(clocked_worker) == due
    held = begin(clocked_worker, person.id)
    put_back(clocked_worker, due)
    assert due_retries(clocked_worker) == []
    with clocked_worker.begin(person.id) as stores:
        stores.jobs.finish(held, "updated")


def test_what_cannot_be_sent_stays_due(clocked_worker: Database, person: Subject, clock: Clock) -> None:
    fail(clocked_worker, begin(clocked_worker, person.id), "timed_out")
    clock.move(60)

    def refuse(connection: sa.Connection, due: Sequence[Due]) -> None:
        raise NotFound

    with pytest.raises(NotFound):
        due_retries(clocked_worker, send=refuse)
    told: list[Due] = []
    assert due_retries(clocked_worker, send=lambda _, due: told.extend(due)) == [("person", person.id, person.id)]
    assert told == [("person", person.id, person.id)]


def test_a_conversation_that_is_not_eligible_any_more_is_skipped(
    clocked_worker: Database, ada: UUID, clock: Clock
) -> None:
    conversation = talk(clocked_worker, ada)
    clock.move(7_200)
    batch = open_batch(clocked_worker, "conversations", [Subject(conversation, ada, "default")])
    assert batch is not None
    talk(clocked_worker, ada)
    assert lease(clocked_worker, "conversation", conversation, seconds=60) == NotEligible("not_ended")
    ended = get_batch(clocked_worker, batch.id)
    assert (ended.skipped, ended.waiting, ended.finished_at) == (1, 0, clock.now)
    clock.move(7_200)  # a message that comes again later finds it ended once more
    remember(clocked_worker, begin_conversation(clocked_worker, conversation))
    assert lease(clocked_worker, "conversation", conversation, seconds=60) == NotEligible("not_ended")
    assert get_batch(clocked_worker, batch.id) == ended


def test_how_long_a_conversation_is_quiet_is_the_workers_to_say(
    clocked_worker: Database, ada: UUID, clock: Clock
) -> None:
    conversation = talk(clocked_worker, ada)
    clock.move(60)
    short = timedelta(minutes=1)
    assert lease(clocked_worker, "conversation", conversation, seconds=60) == NotEligible("not_ended")
    assert isinstance(lease(clocked_worker, "conversation", conversation, seconds=60, inactive_for=short), Lease)


def test_a_conversation_may_be_brought_by_a_message_without_a_batch(
    clocked_worker: Database, ada: UUID, clock: Clock
) -> None:
    conversation = talk(clocked_worker, ada)
    clock.move(7_200)
    held = begin_conversation(clocked_worker, conversation)
    assert get_job(clocked_worker, "conversation", conversation).batch is None
    remember(clocked_worker, held)
    assert get_job(clocked_worker, "conversation", conversation).input_tokens == 10


def test_of_nobody_there_is_nothing_to_do(
    clocked_worker: Database, ada: UUID, bob: UUID, clock: Clock, administrator: sa.Engine
) -> None:
    conversation = talk(clocked_worker, ada)
    clock.move(7_200)
    for kind in ("conversation", "person"):
        assert lease(clocked_worker, kind, uuid4(), seconds=60) == NotEligible("gone")
    batch = batch_of(clocked_worker, Subject(bob, bob, "default"))
    with administrator.begin() as connection:
        closed = {"survivor_id": ada, "merged_into": ada}
        connection.execute(sa.update(owners).where(owners.c.id == bob).values(closed))
    assert lease(clocked_worker, "person", bob, seconds=60) == NotEligible("gone")
    assert get_batch(clocked_worker, batch.id).skipped == 1
    erase(clocked_worker, ada)
    assert lease(clocked_worker, "conversation", conversation, seconds=60) == NotEligible("gone")
    with pytest.raises(NotFound):
        get_job(clocked_worker, "person", bob)


def test_a_person_erased_while_somebody_works_has_no_job_to_end(clocked_worker: Database, person: Subject) -> None:
    held = begin(clocked_worker, person.id)
    erase(clocked_worker, person.id)
    assert fail(clocked_worker, held, "erased") is None
    assert not extend(clocked_worker, held, 60)


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)  # on SQLite there is one role
def test_the_application_takes_no_jobs(clocked: Database, person: Subject) -> None:
    asked: list[Callable[[], object]] = [
        lambda: lease(clocked, "person", person.id, seconds=60),
        lambda: due_retries(clocked),
        lambda: dead_jobs(clocked),
        lambda: retry(clocked, "person", person.id),
    ]
    for ask in asked:
        with pytest.raises(UnsafeRole):
            ask()
