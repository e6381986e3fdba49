"""Host tasks: what a handler does to its thread or its process never stops the worker, and is counted."""

import asyncio
import sys
import threading
from typing import Any

import pytest

from graphs.work.worker import AGAIN_AFTER, Worker
from storage.errors import DatabaseUnavailable
from storage.work.queue import Delivery, Message
from storage.work.sql_queue import SqlQueue
from tests.graphs.workers import SECONDS, Workplace


def drained(worker: Worker) -> bool:
    """Work off the queue, and tell whether that came to an end."""
    thread = threading.Thread(target=worker.drain, daemon=True)
    thread.start()
    thread.join(SECONDS)
    return not thread.is_alive()


def test_a_message_of_the_hosts_goes_to_its_handler(works: Workplace) -> None:
    heard: list[Any] = []
    works.queue.send([Message({"task_type": "SEND_MAIL", "to": 1}), Message({"hello": "you"})])
    works.worker(handler=heard.append, concurrency=1).drain()
    assert heard == [{"task_type": "SEND_MAIL", "to": 1}, {"hello": "you"}]
    assert works.queue.waiting() == 0


def test_a_handler_that_fails_has_the_message_again_and_then_it_is_dead(
    works: Workplace, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(body: Any) -> None:
        raise ValueError(f"no way to {body}")

    works.queue.send([Message({"task_type": "SEND_MAIL", "to": "ada@example.com"})])
    worker = works.worker(handler=fails, attempts=2)
    worker.drain()
    assert (works.queue.waiting(), works.queue.dead()) == (1, [])
    works.clock.move(60)
    worker.drain()
    [letter] = works.queue.dead()
    assert (letter.reason, letter.receives) == ("value_error", 2)
    assert "ada@example.com" not in caplog.text


def cancelled(_: Any) -> None:
    raise asyncio.CancelledError("ada@example.com")


def exits(_: Any) -> None:
    sys.exit("ada@example.com")


@pytest.mark.parametrize(("ends", "code"), [(exits, "system_exit"), (cancelled, "cancelled_error")])
def test_a_handler_that_would_end_its_thread_fails_as_any_other(
    works: Workplace, caplog: pytest.LogCaptureFixture, ends: Any, code: str
) -> None:
    heard: list[Any] = []
    handlers = {"BAD": ends, "GOOD": heard.append}
    works.queue.send([Message({"task_type": "BAD", "number": number}) for number in range(4)])
    works.queue.send([Message({"task_type": "GOOD"})])
    worker = works.worker(handler=lambda body: handlers[body["task_type"]](body), concurrency=2, attempts=2)
    assert drained(worker)
    assert heard == [{"task_type": "GOOD"}]
    assert (works.queue.waiting(), works.queue.dead()) == (4, [])
    works.clock.move(60)
    assert drained(worker)
    assert [(letter.reason, letter.receives) for letter in works.queue.dead()] == [(code, 2)] * 4
    assert works.queue.waiting() == 0
    assert f"the host's handler failed ({code}), receipt 1" in caplog.text
    assert "ada@example.com" not in caplog.text


def test_a_message_that_killed_every_process_that_had_it_is_buried_before_it_kills_another(works: Workplace) -> None:
    works.queue.send([Message({"task_type": "FATAL"})])
    for _ in range(2):
        assert len(works.queue.receive(visibility=60)) == 1  # and then nothing more was heard of who had it
        works.clock.move(61)
    heard: list[Any] = []
    assert drained(works.worker(handler=heard.append, attempts=2))
    [letter] = works.queue.dead()
    assert (heard, letter.reason, letter.receives) == ([], "abandoned", 3)
    assert works.queue.waiting() == 0


def test_the_last_receipt_that_is_allowed_is_handed_over(works: Workplace) -> None:
    works.queue.send([Message({"task_type": "LUCKY"})])
    assert len(works.queue.receive(visibility=60)) == 1
    works.clock.move(61)
    heard: list[Any] = []
    assert drained(works.worker(handler=heard.append, attempts=2))
    assert heard == [{"task_type": "LUCKY"}]
    assert (works.queue.waiting(), works.queue.dead()) == (0, [])


class Full(SqlQueue):
    """A queue that takes no dead letters for a while."""

    full = True

    def bury(self, delivery: Delivery, reason: str) -> None:
        if self.full:
            raise DatabaseUnavailable
        super().bury(delivery, reason)


def test_a_message_that_cannot_be_buried_now_is_not_lost(works: Workplace) -> None:
    def fails(_: Any) -> None:
        raise ValueError

    queue = Full(works.memory.database)
    queue.send([Message({"task_type": "BAD"})])
    worker = Worker(works.memory, queue, handler=fails, attempts=1)
    assert drained(worker)
    assert (queue.waiting(), queue.dead()) == (1, [])
    works.clock.move(AGAIN_AFTER)
    queue.full = False
    assert drained(worker)
    assert [letter.reason for letter in queue.dead()] == ["abandoned"]


def test_what_workers_that_stopped_gave_back_is_handed_over_all_the_same(works: Workplace) -> None:
    works.queue.send([Message({"task_type": "MAIL"})])
    for _ in range(5):
        [delivery] = works.queue.receive(limit=1, visibility=60)
        works.queue.extend(delivery, 0)
    handed: list[Any] = []
    works.worker(handler=handed.append).drain()
    assert handed == [{"task_type": "MAIL"}]
    assert works.queue.dead() == []
