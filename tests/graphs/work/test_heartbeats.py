"""Heartbeats: leases and messages are kept each by their own, so that neither waits for the other."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from graphs.work.worker import Worker
from storage.database import Database
from storage.work.queue import Delivery, Message
from storage.work.sql_queue import SqlQueue
from tests.graphs.summarizers import Gate
from tests.graphs.workers import SECONDS, Running, Workplace, batch_of
from tests.memory_tools.events import eventually


class Silent(SqlQueue):
    """A queue that takes what it is told about held messages, and does not answer before it may."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.told, self.may_answer = threading.Event(), threading.Event()

    def extend(self, delivery: Delivery, seconds: float) -> None:
        self.told.set()
        assert self.may_answer.wait(SECONDS)
        super().extend(delivery, seconds)


@pytest.fixture
def queue(works: Workplace) -> Iterator[Silent]:
    queue = Silent(works.memory.database)
    yield queue
    queue.may_answer.set()


def test_while_the_queue_does_not_answer_the_leases_are_kept(works: Workplace, queue: Silent) -> None:
    ids = works.ended("ada")
    queue.send([Message(batch_of(ids))])
    model: Any = Gate()
    worker = Worker(works.memory, queue, conversation_summarizer=model, visibility=0.3, wait=0.05)
    until = threading.Event()
    thread = threading.Thread(target=worker.run, args=(until,), daemon=True)
    thread.start()
    try:
        assert model.begun.wait(SECONDS)
        assert queue.told.wait(SECONDS)
        for _ in range(3):
            now = works.clock.move(0.2)
            kept_until = now + timedelta(seconds=0.3)
            eventually(lambda kept_until=kept_until: works.job(ids[0]).leased_until == kept_until)  # type: ignore[misc]
    finally:
        queue.may_answer.set()
        model.open.set()
        until.set()
        thread.join(SECONDS)
    assert works.job(ids[0]).outcome == "updated"


class Beats(SqlQueue):
    """The queue, which tells when it hears that somebody is still busy."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.heard = threading.Semaphore(0)

    def extend(self, delivery: Delivery, seconds: float) -> None:
        super().extend(delivery, seconds)
        self.heard.release()


def test_who_is_busy_keeps_the_message_and_the_lease(works: Workplace, running: Running) -> None:
    ids = works.ended("ada")
    queue, gate = Beats(works.memory.database), Gate()
    queue.send([Message(batch_of(ids))])
    worker = Worker(works.memory, queue, conversation_summarizer=gate, visibility=0.3, wait=0.05)  # type: ignore[arg-type]
    thread, until = running(worker)
    assert gate.begun.wait(SECONDS)
    for _ in range(2):
        works.clock.move(0.2)
        while queue.heard.acquire(blocking=False):
            pass  # what was heard before says nothing about now
        assert queue.heard.acquire(timeout=SECONDS)
        assert queue.heard.acquire(timeout=SECONDS)
        assert queue.receive() == []
        extended = works.clock.now + timedelta(seconds=0.3)
        eventually(lambda: works.job(ids[0]).leased_until == extended)  # noqa: B023 - looked at within the round
    until.set()
    gate.open.set()
    thread.join(SECONDS)
    assert works.job(ids[0]).outcome == "updated"
