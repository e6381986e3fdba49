from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from threading import Barrier
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from storage.database import Database
from storage.directory import resolve
from storage.erase import erase
from storage.errors import Erased, IdempotencyKeyReused, InvalidInput, InvalidName, NotFound, UnsafeRole
from storage.identity import Identity
from storage.provenance import TokenUsage
from storage.work.batches import (
    UNSENT_AFTER,
    Batch,
    earlier_batch,
    get_batch,
    list_batches,
    mark_sent,
    settle_batches,
    unsent,
    waiting_subjects,
)
from storage.work.eligible import Subject
from storage.work.job_store import Lease, Outcome
from storage.work.jobs import fail, get_job
from storage.work.leases import lease
from storage.work.opening import open_batch
from tests.clock import Clock
from tests.contents import Contents


def people(database: Database, count: int) -> list[Subject]:
    met = [resolve(database, Identity.of(user=f"person-{number}")).owner for number in range(count)]
    return [Subject(each, each, "default") for each in met]


def opened(database: Database, subjects: Sequence[Subject], **more: Any) -> Batch:
    batch = open_batch(database, "daily", subjects, **more)
    assert batch is not None
    return batch


def begin(database: Database, person: Subject) -> Lease:
    held = lease(database, "person", person.id, seconds=60)
    assert isinstance(held, Lease)
    return held


def finish(database: Database, held: Lease, outcome: Outcome = "updated", tokens: TokenUsage | None = None) -> None:
    with database.begin(held.owner) as stores:
        stores.jobs.finish(held, outcome, tokens, cost_micros=7)


def sums(batch: Batch) -> tuple[int, ...]:
    return batch.total, batch.updated, batch.unchanged, batch.held, batch.skipped, batch.failed, batch.waiting


def test_a_batch_has_a_waiting_job_for_each_subject(clocked_worker: Database, clock: Clock) -> None:
    everybody = people(clocked_worker, 3)
    batch = opened(clocked_worker, [*everybody, everybody[0]])
    assert sums(batch) == (3, 0, 0, 0, 0, 0, 3)
    assert (batch.kind, batch.organization, batch.due_at, batch.idempotency_key) == ("daily", None, None, None)
    assert (batch.created_at, batch.sent_at, batch.finished_at) == (clock.now, None, None)
    assert get_batch(clocked_worker, batch.id) == batch
    assert {each.id for each in waiting_subjects(clocked_worker, batch.id)} == {each.id for each in everybody}
    job = get_job(clocked_worker, "person", everybody[0].id)
    assert (job.owner, job.batch, job.state, job.attempts) == (everybody[0].id, batch.id, "waiting", 0)


def test_it_counts_how_its_jobs_ended_and_finishes_with_the_last(clocked_worker: Database, clock: Clock) -> None:
    everybody = people(clocked_worker, 5)
    batch = opened(clocked_worker, everybody)
    for person, outcome in zip(everybody, ("updated", "unchanged", "held", "skipped"), strict=False):
        clock.move(1)
        finish(clocked_worker, begin(clocked_worker, person), outcome, TokenUsage(100, 10))  # type: ignore[arg-type]
        assert get_batch(clocked_worker, batch.id).finished_at is None
    clock.move(1)
    fail(clocked_worker, begin(clocked_worker, everybody[4]), "timed_out", attempts=1, tokens=TokenUsage(3, 2))
    ended = get_batch(clocked_worker, batch.id)
    assert sums(ended) == (5, 1, 1, 1, 1, 1, 0)
    assert (ended.input_tokens, ended.output_tokens, ended.cost_micros) == (403, 42, 28)
    assert ended.finished_at == clock.now
    clock.move(1)
    settle_batches(clocked_worker)
    assert get_batch(clocked_worker, batch.id) == ended


def test_nothing_is_opened_for_no_conversations_and_a_day_without_anybody_is_over(
    clocked_worker: Database, clock: Clock
) -> None:
    assert open_batch(clocked_worker, "conversations", [], idempotency_key="k") is None
    assert list_batches(clocked_worker).entries == ()
    batch = opened(clocked_worker, [])
    assert (sums(batch), batch.sent_at, batch.finished_at) == ((0,) * 7, clock.now, clock.now)


def test_a_due_time_is_claimed_once_by_any_number_of_callers(clocked_worker: Database, clock: Clock) -> None:
    everybody = people(clocked_worker, 3)
    due_at = clock.now
    together = Barrier(8)

    def claim(_: int) -> Batch | None:
        together.wait()
        return open_batch(clocked_worker, "daily", everybody, due_at=due_at)

    with ThreadPoolExecutor(8) as threads:
        batches = [batch for batch in threads.map(claim, range(8)) if batch is not None]
    assert len(batches) == 1
    assert batches[0].due_at == due_at
    assert list_batches(clocked_worker).entries == (batches[0],)
    assert open_batch(clocked_worker, "daily", everybody, due_at=due_at) is None
    assert open_batch(clocked_worker, "daily", everybody, due_at=due_at + timedelta(days=1)) is not None


def test_a_due_time_needs_a_zone(clocked_worker: Database) -> None:
    with pytest.raises(InvalidInput, match="zone"):
        open_batch(clocked_worker, "daily", [], due_at=datetime(2026, 11, 20))


def test_a_key_opens_one_batch_of_a_kind_and_an_organization(clocked_worker: Database, clock: Clock) -> None:
    everybody = people(clocked_worker, 1)
    batch = opened(clocked_worker, everybody, idempotency_key="k")
    assert batch.idempotency_key == "k"
    assert open_batch(clocked_worker, "daily", everybody, idempotency_key="k") is None
    again = earlier_batch(clocked_worker, "daily", "k", organization=None, due_at=None)
    assert again == batch
    with pytest.raises(IdempotencyKeyReused):
        earlier_batch(clocked_worker, "daily", "k", organization=None, due_at=clock.now)
    assert earlier_batch(clocked_worker, "conversations", "k", organization=None, due_at=None) is None
    assert earlier_batch(clocked_worker, "daily", "k", organization="other", due_at=None) is None
    assert opened(clocked_worker, everybody, idempotency_key="k", organization="other").organization == "other"
    for bad in ("", "a\nb", "x" * 257):
        with pytest.raises(InvalidName):
            open_batch(clocked_worker, "daily", everybody, idempotency_key=bad)


def test_a_later_batch_takes_what_waits_and_the_earlier_one_finishes(clocked_worker: Database, clock: Clock) -> None:
    everybody = people(clocked_worker, 3)
    first = opened(clocked_worker, everybody)
    finish(clocked_worker, begin(clocked_worker, everybody[0]))
    clock.move(1)
    second = opened(clocked_worker, everybody[:2])
    first = get_batch(clocked_worker, first.id)
    assert sums(first) == (3, 1, 0, 0, 1, 0, 1)
    assert sums(second) == (2, 0, 0, 0, 0, 0, 2)
    assert first.finished_at is None
    third = opened(clocked_worker, everybody[2:])
    assert get_batch(clocked_worker, first.id).finished_at == clock.now
    for person in everybody:
        finish(clocked_worker, begin(clocked_worker, person), "unchanged")
    assert sums(get_batch(clocked_worker, first.id)) == (3, 1, 0, 0, 2, 0, 0)
    assert sums(get_batch(clocked_worker, second.id)) == (2, 0, 2, 0, 0, 0, 0)
    assert sums(get_batch(clocked_worker, third.id)) == (1, 0, 1, 0, 0, 0, 0)


def test_what_a_worker_is_busy_with_stays_where_it_is(clocked_worker: Database, clock: Clock) -> None:
    busy, free = people(clocked_worker, 2)
    first = opened(clocked_worker, [busy])
    held = begin(clocked_worker, busy)
    second = opened(clocked_worker, [busy, free])
    assert second.total == 1
    assert [each.id for each in waiting_subjects(clocked_worker, second.id)] == [free.id]
    finish(clocked_worker, held)
    assert sums(get_batch(clocked_worker, first.id)) == (1, 1, 0, 0, 0, 0, 0)
    assert opened(clocked_worker, [busy]).total == 1


def test_what_was_tried_in_vain_still_counts_in_a_later_batch(clocked_worker: Database, clock: Clock) -> None:
    [person] = people(clocked_worker, 1)
    opened(clocked_worker, [person])
    fail(clocked_worker, begin(clocked_worker, person), "timed_out")
    opened(clocked_worker, [person])
    assert get_job(clocked_worker, "person", person.id).attempts == 1
    begin(clocked_worker, person)
    clock.move(60)  # and its worker is gone
    opened(clocked_worker, [person])
    assert get_job(clocked_worker, "person", person.id).attempts == 2
    fail(clocked_worker, begin(clocked_worker, person), "timed_out", attempts=3)
    opened(clocked_worker, [person])
    assert get_job(clocked_worker, "person", person.id).attempts == 0  # the dead begin anew


def test_of_many_who_take_the_same_jobs_each_job_counts_once(clocked_worker: Database) -> None:
    everybody = people(clocked_worker, 40)
    together = Barrier(6)

    def open_one(number: int) -> Batch:
        together.wait()
        return opened(clocked_worker, everybody[number:] + everybody[:number])

    with ThreadPoolExecutor(6) as threads:
        ids = [each.id for each in threads.map(open_one, range(6))]
    batches = [get_batch(clocked_worker, each) for each in ids]
    assert sum(batch.waiting for batch in batches) == 40
    assert sorted(batch.skipped for batch in batches) == [0, 40, 40, 40, 40, 40]
    assert sum(batch.finished_at is None for batch in batches) == 1


def test_a_conversation_that_another_batch_took_meanwhile_stays_there(clocked_worker: Database, clock: Clock) -> None:
    [person] = people(clocked_worker, 1)
    conversation = Subject(uuid4(), person.id, "default")
    found_at = clock.now
    clock.move(1)
    first = open_batch(clocked_worker, "conversations", [conversation], found_at=found_at)
    clock.move(1)
    assert open_batch(clocked_worker, "conversations", [conversation], found_at=found_at) is None
    assert open_batch(clocked_worker, "conversations", [conversation], found_at=clock.now) is not None
    assert first is not None
    assert get_batch(clocked_worker, first.id).skipped == 1


def test_more_jobs_than_one_statement_names_are_opened_together(clocked_worker: Database) -> None:
    [person] = people(clocked_worker, 1)
    many = [Subject(uuid4(), person.id, "default") for _ in range(2_345)]
    batch = open_batch(clocked_worker, "conversations", many)
    assert batch is not None
    assert batch.total == 2_345
    again = open_batch(clocked_worker, "conversations", many)
    assert again is not None
    assert again.total == 2_345
    assert {each.id for each in waiting_subjects(clocked_worker, again.id)} == {each.id for each in many}
    assert get_batch(clocked_worker, batch.id).finished_at is not None


def test_what_cannot_be_sent_is_not_opened(clocked_worker: Database, contents: Callable[[], Contents]) -> None:
    everybody = people(clocked_worker, 2)
    first = opened(clocked_worker, everybody)
    before = contents()

    def refuse(connection: sa.Connection, subjects: Sequence[Subject]) -> None:
        assert len(subjects) == 2
        raise NotFound

    with pytest.raises(NotFound):
        opened(clocked_worker, everybody, send=refuse)
    assert contents() == before
    assert opened(clocked_worker, everybody, send=lambda *_: None).sent_at is not None
    assert get_batch(clocked_worker, first.id).skipped == 2


def test_a_batch_is_not_opened_for_somebody_who_is_gone(
    clocked_worker: Database, contents: Callable[[], Contents]
) -> None:
    everybody = people(clocked_worker, 2)
    erase(clocked_worker, everybody[1].id)
    before = contents()
    with pytest.raises(Erased):
        opened(clocked_worker, everybody)
    assert contents() == before


def test_a_batch_whose_last_person_was_erased_finishes(clocked_worker: Database, clock: Clock) -> None:
    everybody = people(clocked_worker, 3)
    batch = opened(clocked_worker, everybody)
    finish(clocked_worker, begin(clocked_worker, everybody[0]))
    erase(clocked_worker, everybody[1].id)
    settle_batches(clocked_worker)
    assert sums(get_batch(clocked_worker, batch.id)) == (3, 1, 0, 0, 0, 0, 2)
    erase(clocked_worker, everybody[2].id)
    clock.move(1)
    settle_batches(clocked_worker)
    ended = get_batch(clocked_worker, batch.id)
    assert (sums(ended), ended.finished_at) == ((3, 1, 0, 0, 2, 0, 0), clock.now)


def test_somebody_erased_while_a_batch_takes_the_jobs_up_is_left_out(
    database: Database, clocked_worker: Database, clock: Clock
) -> None:
    if not database.on_postgresql:
        return  # there is one writer
    everybody = people(clocked_worker, 2)
    opened(clocked_worker, everybody)
    left = [everybody[0].id]

    def meanwhile(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "INSERT INTO usermemory.jobs" in statement and left:
            erase(database, left.pop())

    sa.event.listen(clocked_worker.engine, "after_cursor_execute", meanwhile)
    try:
        batch = opened(clocked_worker, everybody)
    finally:
        sa.event.remove(clocked_worker.engine, "after_cursor_execute", meanwhile)
    assert (batch.total, left) == (1, [])


def test_what_was_never_sent_is_found_after_a_while(clocked_worker: Database, clock: Clock) -> None:
    everybody = people(clocked_worker, 1)
    batch = opened(clocked_worker, everybody)
    assert unsent(clocked_worker) == []
    clock.move(UNSENT_AFTER.total_seconds())
    assert unsent(clocked_worker) == [batch]
    assert unsent(clocked_worker, for_longer_than=timedelta(hours=1)) == []
    mark_sent(clocked_worker, batch.id)
    assert unsent(clocked_worker) == []
    sent_at = clock.now
    clock.move(1)
    mark_sent(clocked_worker, batch.id)
    assert get_batch(clocked_worker, batch.id).sent_at == sent_at


def test_batches_are_listed_newest_first(clocked_worker: Database) -> None:
    batches = [opened(clocked_worker, [], organization=name) for name in ("a", "b", "a", "b", "a")]
    newest = batches[::-1]
    page = list_batches(clocked_worker, limit=2)
    assert page.entries == tuple(newest[:2])
    rest = list_batches(clocked_worker, limit=3, after=page.next)
    assert (rest.entries, rest.next) == (tuple(newest[2:]), None)
    assert list_batches(clocked_worker, organization="a").entries == tuple(newest[::2])
    with pytest.raises(InvalidInput):
        list_batches(clocked_worker, after="x")


def test_there_is_no_other_batch(clocked_worker: Database) -> None:
    with pytest.raises(NotFound):
        get_batch(clocked_worker, UUID(int=0))


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)  # on SQLite there is one role
def test_the_application_opens_none(clocked: Database, ada: UUID) -> None:
    with pytest.raises(UnsafeRole):
        open_batch(clocked, "daily", [Subject(ada, ada, "default")])
