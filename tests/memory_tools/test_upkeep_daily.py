"""The daily job: whoever was active is sent to be updated, once for each due time."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from threading import Barrier

import pytest

from memory_tools.memory import Memory
from memory_tools.upkeep import ACTIVE_WITHIN, LOOKED_BACK, UPDATE_MEMORY, Upkeep
from storage.database import Database
from storage.errors import InvalidInput
from storage.work.batches import Batch, get_batch
from storage.work.eligible import SEEN_LATE
from storage.work.queue import Queue
from tests.clock import Clock
from tests.memory_tools.upkeeps import owner_of, taken, talk


@pytest.fixture
def memory(clocked_worker: Database) -> Memory:
    return Memory(clocked_worker)


def test_what_was_said_just_before_the_due_time_and_seen_after_it_is_in_the_next_daily_job(
    memory: Memory, upkeep: Upkeep, clock: Clock
) -> None:
    upkeep.daily(clock.now)
    clock.move(-0.5)  # an API's clock is behind, or its transaction ended after the look
    talk(memory, "ada")
    clock.move(24 * 3_600 + 0.5)
    batch = upkeep.daily(clock.now)
    assert batch is not None
    assert batch.total == 1


def test_everybody_who_was_active_in_the_last_day_gets_one_message(
    memory: Memory, upkeep: Upkeep, queue: Queue, clock: Clock
) -> None:
    talk(memory, "long-ago")
    clock.move((ACTIVE_WITHIN + SEEN_LATE).total_seconds() + 1)
    for name in ("call-1", "call-2"):
        talk(memory, "ada", name)
    memory.of(user="bob").items.set("prefs", "tone", "warm")
    batch = upkeep.daily()
    assert batch is not None
    assert (batch.kind, batch.total, batch.due_at, batch.sent_at) == ("daily", 2, None, clock.now)
    deliveries = queue.receive(limit=10)
    wanted = {owner_of(memory, "ada"), owner_of(memory, "bob")}
    assert {delivery.group for delivery in deliveries} == wanted
    for delivery in deliveries:
        assert delivery.body == {"task_type": UPDATE_MEMORY, "owner_id": str(delivery.group)}
        queue.acknowledge(delivery)
    assert taken(queue) == []


def test_after_days_in_which_nothing_ran_the_daily_job_looks_back_to_the_last_one(
    memory: Memory, upkeep: Upkeep, clock: Clock
) -> None:
    talk(memory, "ada")
    clock.move(SEEN_LATE.total_seconds() + 1)
    assert upkeep.daily(clock.now) is not None
    clock.move(3_600)
    talk(memory, "bob")  # on a Friday
    clock.move(3 * 24 * 3_600)
    monday = upkeep.daily(clock.now)
    assert monday is not None
    assert monday.total == 1
    clock.move(2 * LOOKED_BACK.total_seconds())
    much_later = upkeep.daily(clock.now)
    assert much_later is not None
    assert much_later.total == 0


def test_a_due_time_sends_once_whatever_the_number_of_callers(
    memory: Memory, upkeep: Upkeep, queue: Queue, clock: Clock
) -> None:
    for user in ("ada", "bob"):
        talk(memory, user)
    due_at = clock.now
    clock.move(6 * 3_600)  # whoever comes late means the same day
    together = Barrier(8)

    def call(_: int) -> Batch | None:
        together.wait()
        return upkeep.daily(due_at)

    with ThreadPoolExecutor(8) as threads:
        batches = [batch for batch in threads.map(call, range(8)) if batch is not None]
    assert [(batch.total, batch.due_at) for batch in batches] == [(2, due_at)]
    assert len(taken(queue)) == 2
    assert upkeep.daily(due_at) is None
    assert taken(queue) == []


def test_an_organization_has_its_own_due_times(memory: Memory, upkeep: Upkeep, queue: Queue, clock: Clock) -> None:
    talk(memory, "ada")
    talk(memory, "eve", organization="other")
    for organization in ("default", "other"):
        batch = upkeep.daily(clock.now, organization)
        assert batch is not None
        assert (batch.total, batch.organization) == (1, organization)
        assert upkeep.daily(clock.now, organization) is None
    assert len(taken(queue)) == 2


def test_without_a_due_time_it_is_now_and_each_time_anew(
    memory: Memory, upkeep: Upkeep, queue: Queue, clock: Clock
) -> None:
    talk(memory, "ada")
    first, second = upkeep.daily(), upkeep.daily()
    assert first is not None
    assert second is not None
    assert get_batch(memory.database, first.id).skipped == 1
    assert second.waiting == 1
    assert len(taken(queue)) == 2


def test_a_day_on_which_nobody_was_active_is_on_record(memory: Memory, upkeep: Upkeep, clock: Clock) -> None:
    batch = upkeep.daily(clock.now)
    assert batch is not None
    assert (batch.total, batch.finished_at) == (0, clock.now)
    assert upkeep.daily(clock.now) is None


def test_a_due_time_has_a_zone(upkeep: Upkeep) -> None:
    with pytest.raises(InvalidInput, match="zone"):
        upkeep.daily(datetime(2026, 11, 20, 3))
