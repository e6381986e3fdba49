"""What runs beside the worker, and what is done again and again, comes again whatever it raises."""

import asyncio
import sys
import threading
from functools import partial
from typing import Any

import pytest

import graphs.work.companion
from graphs.work.companion import accompany
from graphs.work.schedule import Duty, Schedule
from memory_tools.pauses import LONGEST_PAUSE, Pauses
from tests.clock import Seconds
from tests.graphs.workers import SECONDS, Running, Workplace


def test_what_the_host_puts_beside_runs_as_long_as_the_worker(works: Workplace, running: Running) -> None:
    events: list[str] = []
    begun = threading.Event()

    def companion(until: threading.Event) -> None:
        begun.set()
        assert until.wait(SECONDS)
        events.append("ended")

    thread, until = running(works.worker(beside=[companion]))
    assert begun.wait(SECONDS)
    until.set()
    thread.join(SECONDS)
    assert events == ["ended"]


def test_what_runs_beside_is_begun_again_where_it_breaks(
    works: Workplace, running: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(graphs.work.companion, "Pauses", partial(Pauses, 0.01))
    begun: list[int] = []
    again = threading.Event()

    def breaks_twice(until: threading.Event) -> None:
        begun.append(1)
        if len(begun) < 3:
            raise ValueError("Ada drinks tea.")
        again.set()

    thread, until = running(works.worker(beside=[breaks_twice]))
    assert again.wait(SECONDS)
    until.set()
    thread.join(SECONDS)
    assert len(begun) == 3
    assert "value_error" in caplog.text
    assert "tea" not in caplog.text


def exits() -> None:
    sys.exit("Ada drinks tea.")


def cancelled() -> None:
    raise asyncio.CancelledError("Ada drinks tea.")


@pytest.mark.parametrize(("ends", "code"), [(exits, "system_exit"), (cancelled, "cancelled_error")])
def test_a_companion_that_would_end_its_thread_is_begun_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, ends: Any, code: str
) -> None:
    monkeypatch.setattr(graphs.work.companion, "Pauses", partial(Pauses, 0.01))
    begun: list[int] = []

    def ends_twice(_: threading.Event) -> None:
        begun.append(1)
        if len(begun) < 3:
            ends()

    accompany(ends_twice, threading.Event())
    assert len(begun) == 3
    assert caplog.text.count(code) == 2
    assert "tea" not in caplog.text


def test_a_companion_that_broke_is_not_begun_again_once_the_worker_stops() -> None:
    until, begun = threading.Event(), []

    def breaks(_: threading.Event) -> None:
        begun.append(1)
        until.set()
        raise ValueError

    accompany(breaks, until)
    assert len(begun) == 1


def test_a_duty_that_would_end_its_thread_keeps_no_other_and_comes_again(works: Workplace) -> None:
    done: list[str] = []
    timer = Seconds()

    def ends() -> None:
        done.append("ends")
        exits()

    duties = [Duty("the first", 1, ends), Duty("the second", 1, lambda: done.append("works"))]
    schedule = Schedule(works.upkeep, daily_at=None, conversations_every=None, duties=duties, timer=timer)
    schedule.tick()
    timer.pass_by(LONGEST_PAUSE)
    schedule.tick()
    assert done == ["ends", "works"] * 2
