"""What a worker makes of a message before anything of it is begun, and when it takes a queue to be empty."""

from typing import Any
from uuid import uuid4

import pytest

from graphs.work.worker import DRAINING_WAIT, Worker
from storage.database import Database
from storage.work.queue import Delivery, Message
from storage.work.sql_queue import SqlQueue
from tests.graphs.workers import Workplace
from tests.queues import SqsServer


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"task_type": "GENERATE_MEMORY_BATCH"}, "malformed"),
        ({"task_type": "GENERATE_MEMORY_BATCH", "conversation_ids": "all"}, "malformed"),
        ({"task_type": "UPDATE_MEMORY"}, "malformed"),
        ({"task_type": "UPDATE_MEMORY", "owner_id": "ada"}, "malformed"),
        ({"task_type": "UPDATE_MEMORY", "owner_id": 1}, "malformed"),
        ({"task_type": "SEND_MAIL"}, "unknown_task_type"),
        ({"task_type": ["UPDATE_MEMORY"]}, "unknown_task_type"),
        ({}, "unknown_task_type"),
    ],
)
def test_what_nobody_can_do_is_buried(works: Workplace, body: dict[str, Any], reason: str) -> None:
    works.queue.send([Message(body)])
    works.worker().drain()
    assert [(letter.body, letter.reason) for letter in works.queue.dead()] == [(body, reason)]
    assert works.queue.waiting() == 0


def test_ids_that_are_none_are_passed_over(works: Workplace) -> None:
    [ada] = works.ended("ada")
    works.queue.send([Message({"task_type": "GENERATE_MEMORY_BATCH", "conversation_ids": [7, "x", None, str(ada)]})])
    works.worker().drain()
    assert works.job(ada).outcome == "updated"
    assert (works.queue.waiting(), works.queue.dead()) == (0, [])


@pytest.mark.parametrize("ids", [[], ["x"], [7, None, {}, "x" * 40]])
def test_a_batch_without_a_single_id_is_buried_as_malformed(works: Workplace, ids: list[Any]) -> None:
    body: dict[str, Any] = {"task_type": "GENERATE_MEMORY_BATCH", "conversation_ids": ids}
    works.queue.send([Message(body)])
    works.worker().drain()
    assert [(letter.body, letter.reason) for letter in works.queue.dead()] == [(body, "malformed")]
    assert works.queue.waiting() == 0


def test_one_id_among_what_is_none_is_enough(works: Workplace, caplog: pytest.LogCaptureFixture) -> None:
    [ada] = works.ended("ada")
    ids = ["Ada drinks tea.", str(ada), None, str(uuid4()), str(ada)]
    works.queue.send([Message({"task_type": "GENERATE_MEMORY_BATCH", "conversation_ids": [*ids]})])
    works.worker().drain()
    assert works.job(ada).outcome == "updated"
    assert (works.queue.waiting(), works.queue.dead()) == (0, [])
    assert caplog.text.count("a message names what is no id") == 1
    assert "tea" not in caplog.text


class Asked(SqlQueue):
    """A queue that keeps for how long it was listened to."""

    def __init__(self, database: Database, *, at_once: bool) -> None:
        super().__init__(database)
        self.at_once = at_once
        self.waits: set[float] = set()

    @property
    def answers_at_once(self) -> bool:
        return self.at_once

    def receive(self, *, limit: int = 10, visibility: float = 60, wait: float = 0) -> list[Delivery]:
        self.waits.add(wait)
        return super().receive(limit=limit, visibility=visibility)


def test_draining_listens_only_to_a_queue_that_does_not_tell_at_once(works: Workplace) -> None:
    whole, in_parts = (Asked(works.memory.database, at_once=at_once) for at_once in (True, False))
    for queue in (whole, in_parts):
        Worker(works.memory, queue, wait=7).drain()
    assert (whole.waits, in_parts.waits) == ({0.0}, {DRAINING_WAIT})


def test_the_queue_in_the_database_tells_at_once_and_sqs_does_not(works: Workplace, sqs: SqsServer) -> None:
    from storage.work.sqs_queue import SqsQueue

    queue = SqsQueue(sqs.new_queue(dead_letters=sqs.new_queue()))
    assert (works.queue.answers_at_once, queue.answers_at_once) == (True, False)
    queue.close()
