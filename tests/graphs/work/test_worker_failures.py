"""What fails in the worker keeps nothing else from being done, and is tried again."""

import threading
from functools import partial
from typing import Any

import pytest

from graphs.work.worker import Worker
from memory_tools.pauses import Pauses
from storage.database import Database
from storage.errors import DatabaseUnavailable
from storage.work.batches import get_batch
from storage.work.jobs import retry
from storage.work.queue import Delivery, Message
from storage.work.sql_queue import SqlQueue
from tests.graphs.summarizers import poison
from tests.graphs.workers import QUIET, SECONDS, Running, Workplace, memory_of


def test_what_failed_is_isolated_counted_tried_again_later_and_dead_in_the_end(
    works: Workplace, caplog: pytest.LogCaptureFixture
) -> None:
    ids = works.ended("ada", "bob", "eve")
    batch = works.upkeep.conversations_ended()
    assert batch is not None
    summarizer = poison("bob")
    worker = works.worker(conversation_summarizer=summarizer, attempts=3)
    pauses = []
    for attempt in (1, 2, 3):
        worker.drain()
        job = works.job(ids[1])
        assert (job.attempts, job.error) == (attempt, "connection_error")
        if job.next_attempt_at is not None:
            pauses.append((job.next_attempt_at - works.clock.now).total_seconds())
            works.upkeep.resume()
            assert works.queue.waiting() == 0  # not before its time
            works.clock.move(pauses[-1])
            works.upkeep.resume()
    assert 45 <= pauses[0] <= 60 < 180 <= pauses[1] <= 240
    assert [works.job(each).state for each in ids] == ["done", "dead", "done"]
    assert (summarizer.asked.count("I am bob."), len(summarizer.asked)) == (3, 5)
    assert memory_of(works.app.of(user="eve")) == {"summary": "I am eve."}
    done = get_batch(works.memory.database, batch.id)
    assert (done.updated, done.failed, done.waiting) == (2, 1, 0)
    assert "I am bob" not in caplog.text
    assert "connection_error" in caplog.text
    works.clock.move(QUIET * 10)
    works.upkeep.resume()
    assert works.queue.waiting() == 0
    retry(works.memory.database, "conversation", ids[1])
    works.upkeep.resume()
    works.worker(conversation_summarizer=poison()).drain()
    assert memory_of(works.app.of(user="bob")) == {"summary": "I am bob."}


class Absent(SqlQueue):
    """A queue that does not answer at first."""

    def __init__(self, database: Database, failures: int) -> None:
        super().__init__(database)
        self.failures = failures

    def receive(self, **options: Any) -> list[Delivery]:
        if self.failures:
            self.failures -= 1
            raise DatabaseUnavailable
        return super().receive(**options)


def test_a_queue_that_does_not_answer_is_asked_again(
    works: Workplace, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    import graphs.work.worker

    monkeypatch.setattr(graphs.work.worker, "Pauses", partial(Pauses, 0.01))
    heard: list[Any] = []
    done = threading.Event()
    queue = Absent(works.memory.database, 3)
    queue.send([Message({"task_type": "HELLO"})])

    def hear(body: Any) -> None:
        heard.append(body)
        done.set()

    worker = Worker(works.memory, queue, handler=hear, wait=0.05)
    thread, until = running(worker)
    assert done.wait(SECONDS)
    until.set()
    thread.join(SECONDS)
    assert (queue.failures, len(heard)) == (0, 1)


def test_draining_says_when_the_queue_does_not_answer(works: Workplace) -> None:
    with pytest.raises(DatabaseUnavailable):
        Worker(works.memory, Absent(works.memory.database, 1)).drain()
