"""The schedule: what is due comes once, however many workers keep it, and what fails is tried again."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from graphs.work.schedule import Duty, Schedule, last_due
from memory_tools.upkeep import Upkeep
from storage.errors import DatabaseUnavailable, InvalidInput
from storage.work.batches import Batch, list_batches
from storage.work.job_store import Lease
from storage.work.jobs import fail
from storage.work.leases import lease
from tests.clock import Seconds
from tests.graphs.workers import QUIET, Workplace

NINE = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
"""What the clock of a test says when it begins."""

SECONDS = 30
"""Nothing here takes so long: who waits longer has met a fault."""


@pytest.fixture
def timer() -> Seconds:
    return Seconds()


@pytest.fixture
def keep(works: Workplace, timer: Seconds) -> Callable[..., Schedule]:
    """A schedule with the clock of the test."""

    def make(**options: object) -> Schedule:
        given = {"daily_at": None, "conversations_every": None, "timer": timer, "clock": works.clock, **options}
        return Schedule(works.upkeep, **given)  # type: ignore[arg-type]

    return make


def batches(works: Workplace) -> list[Batch]:
    return list(list_batches(works.memory.database).entries)


@pytest.mark.parametrize(
    ("now", "at", "due"),
    [
        ("2026-11-20T09:00", time(3), "2026-11-20T03:00"),
        ("2026-11-20T02:59:59.999999", time(3), "2026-11-19T03:00"),
        ("2026-11-20T03:00", time(3), "2026-11-20T03:00"),
        ("2026-11-20T00:00", time(0), "2026-11-20T00:00"),
        ("2026-03-01T01:00", time(23, 30), "2026-02-28T23:30"),
    ],
)
def test_a_job_was_last_due_today_or_yesterday(now: str, at: time, due: str) -> None:
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    assert last_due(moment, at) == datetime.fromisoformat(due).replace(tzinfo=UTC)
    assert last_due(moment.astimezone(ZoneInfo("Asia/Tokyo")), at) == last_due(moment, at)


def test_the_daily_job_comes_once_a_day(works: Workplace, keep: Callable[..., Schedule], timer: Seconds) -> None:
    schedule = keep(daily_at=time(10))
    works.say("ada", "I drink tea.")
    for hours in range(49):
        schedule.tick()
        timer.now += 3_600
        works.clock.move(3_600 if hours < 48 else 0)
    due = [batch.due_at for batch in reversed(batches(works))]
    assert due == [NINE.replace(hour=10) + timedelta(days=days) for days in (-1, 0, 1)]
    assert [batch.total for batch in reversed(batches(works))] == [
        1,
        1,
        0,
    ]  # whoever was active in the 24 hours before, or since


def test_a_time_that_was_missed_comes_once(works: Workplace, keep: Callable[..., Schedule]) -> None:
    keep(daily_at=time(3)).tick()
    works.clock.move(timedelta(days=5).total_seconds())
    works.say("ada", "I drink tea.")
    keep(daily_at=time(3)).tick()
    keep(daily_at=time(3)).tick()
    assert [batch.due_at for batch in batches(works)] == [
        NINE.replace(hour=3) + timedelta(days=5),
        NINE.replace(hour=3),
    ]


def test_three_workers_begin_the_daily_job_once(works: Workplace, keep: Callable[..., Schedule]) -> None:
    works.say("ada", "I drink tea.")
    works.clock.move(timedelta(hours=18, seconds=1).total_seconds())
    schedules = [keep(daily_at=time(3), conversations_every=timedelta(minutes=10)) for _ in range(3)]
    start = threading.Barrier(3)

    def tick(schedule: Schedule) -> None:
        start.wait()
        schedule.tick()

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(tick, schedules))
    assert sorted((batch.kind, batch.total) for batch in batches(works)) == [("conversations", 1), ("daily", 1)]
    assert works.queue.waiting() == 2


def test_conversations_are_looked_for_once_in_each_period(
    works: Workplace, keep: Callable[..., Schedule], timer: Seconds
) -> None:
    schedules = [keep(conversations_every=timedelta(minutes=10)) for _ in range(2)]

    def everybody_looks() -> int:
        timer.now += 1_000
        for schedule in schedules:
            schedule.tick()
        return len(batches(works))

    works.ended("ada")
    assert everybody_looks() == 1
    works.say("bob", "Hello.")
    works.clock.move(QUIET)
    works.clock.now = works.clock.now.replace(minute=10)
    assert everybody_looks() == 2
    works.say("eve", "Hello.")
    works.clock.move(599)
    assert everybody_looks() == 2


def test_what_failed_is_sent_again_when_its_time_has_come(
    works: Workplace, keep: Callable[..., Schedule], timer: Seconds
) -> None:
    [ada] = works.ended("ada")
    taken = lease(works.memory.database, "conversation", ada, seconds=60)
    assert isinstance(taken, Lease)
    fail(works.memory.database, taken, "connection_error")
    schedule = keep()
    schedule.tick()
    assert works.queue.waiting() == 0
    works.clock.move(61)
    schedule.tick()
    assert works.queue.waiting() == 0  # it looks every few seconds, not each time
    timer.now += 5
    schedule.tick()
    [delivery] = works.queue.receive()
    assert delivery.body == {"task_type": "GENERATE_MEMORY_BATCH", "conversation_ids": [str(ada)]}


def test_a_duty_that_fails_is_tried_again_later_and_keeps_no_other(
    keep: Callable[..., Schedule], timer: Seconds, caplog: pytest.LogCaptureFixture
) -> None:
    done: list[str] = []

    def fails() -> None:
        done.append("fails")
        raise ValueError("Ada drinks tea.")

    schedule = keep(duties=[Duty("the first", 1, fails), Duty("the second", 1, lambda: done.append("works"))])
    for _ in range(3):
        schedule.tick()
        timer.now += 1
    assert (done.count("fails"), done.count("works")) == (2, 3)
    assert "the first failed (value_error)" in caplog.text
    assert "tea" not in caplog.text


def test_a_due_time_that_could_not_be_claimed_is_claimed_later(
    works: Workplace, keep: Callable[..., Schedule], timer: Seconds, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = keep(daily_at=time(3))
    with monkeypatch.context() as broken:

        def unavailable(*_: object, **__: object) -> None:
            raise DatabaseUnavailable

        broken.setattr(Upkeep, "daily", unavailable)
        schedule.tick()
    timer.now += 60
    schedule.tick()
    assert len(batches(works)) == 1


def test_nothing_that_was_switched_off_comes(works: Workplace, keep: Callable[..., Schedule]) -> None:
    works.ended("ada")
    keep().tick()
    assert batches(works) == []


def test_a_schedule_wants_a_time_without_zone_and_a_period_above_zero(keep: Callable[..., Schedule]) -> None:
    with pytest.raises(InvalidInput):
        keep(daily_at=time(3, tzinfo=UTC))
    with pytest.raises(InvalidInput):
        keep(conversations_every=timedelta())


def test_it_runs_until_it_is_told_to_stop(keep: Callable[..., Schedule]) -> None:
    until, done = threading.Event(), []

    def stop() -> None:
        done.append("stopped")
        until.set()

    running = threading.Thread(target=keep(duties=[Duty("stopping", 1, stop)]).run, args=(until,), daemon=True)
    running.start()
    running.join(SECONDS)
    assert not running.is_alive()
    assert done == ["stopped"]
