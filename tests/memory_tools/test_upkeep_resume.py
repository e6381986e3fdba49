"""What failed, was left behind or could not be sent is sent again when it is due."""

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa

from memory_tools import upkeep as module
from memory_tools.memory import Memory
from memory_tools.upkeep import GENERATE_MEMORY_BATCH, UPDATE_MEMORY, Upkeep
from storage.database import Database
from storage.errors import DatabaseUnavailable, InvalidInput
from storage.tables import batches
from storage.work.batches import UNSENT_AFTER, list_batches
from storage.work.eligible import ON_ITS_WAY
from storage.work.job_store import Lease
from storage.work.leases import lease
from storage.work.queue import Message, Queue
from storage.work.queues import open_queue
from storage.work.unbound import unbound
from tests.clock import Clock
from tests.memory_tools.upkeeps import fail_at, owner_of, taken, talk
from tests.queues import SqsServer


@pytest.fixture
def memory(clocked_worker: Database) -> Memory:
    return Memory(clocked_worker)


@pytest.fixture
def deaf(memory: Memory, sqs: SqsServer) -> Iterator[Queue]:
    """A queue that does not answer."""
    queue = open_queue(f"{sqs.url}/123456789012/nobody", memory.database, dead_letters=sqs.new_queue())
    yield queue
    queue.close()


def test_what_failed_is_sent_again_when_it_is_due(memory: Memory, upkeep: Upkeep, queue: Queue, clock: Clock) -> None:
    ended = sorted((talk(memory, "ada"), talk(memory, "bob")))
    clock.move(7_200)
    upkeep.conversations_ended()
    upkeep.daily()
    taken(queue)
    for conversation in ended:
        fail_at(memory.database, lease(memory.database, "conversation", conversation, seconds=60))
    fail_at(memory.database, lease(memory.database, "person", owner_of(memory, "ada"), seconds=60))
    assert upkeep.resume() == 0
    clock.move(60)
    assert upkeep.resume() == 3
    assert upkeep.resume() == 0
    bodies = sorted(taken(queue), key=lambda body: str(body["task_type"]))
    assert bodies == [
        {"task_type": "GENERATE_MEMORY_BATCH", "conversation_ids": [*map(str, ended)]},
        {"task_type": "UPDATE_MEMORY", "owner_id": str(owner_of(memory, "ada"))},
    ]


def test_what_a_killed_worker_had_is_sent_again_when_its_lease_ran_out(
    memory: Memory, upkeep: Upkeep, queue: Queue, clock: Clock
) -> None:
    conversation = talk(memory, "ada")
    clock.move(7_200)
    upkeep.conversations_ended()
    taken(queue)
    assert isinstance(lease(memory.database, "conversation", conversation, seconds=60), Lease)
    clock.move(59)
    assert upkeep.resume() == 0
    clock.move(1)
    assert upkeep.resume() == 1
    assert len(taken(queue)) == 1
    held = lease(memory.database, "conversation", conversation, seconds=60)
    assert isinstance(held, Lease)
    assert held.attempts == 1


def test_many_retries_are_all_sent(
    memory: Memory, upkeep: Upkeep, queue: Queue, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRIES_AT_ONCE", 3)
    for number in range(7):
        talk(memory, f"person-{number}")
    upkeep.daily()
    taken(queue)
    clock.move(ON_ITS_WAY.total_seconds())
    assert upkeep.resume() == 7
    assert len({body["owner_id"] for body in taken(queue)}) == 7


def test_a_batch_that_could_not_be_sent_is_sent_by_another_after_a_while(
    memory: Memory, deaf: Queue, sqs: SqsServer, clock: Clock
) -> None:
    conversation = talk(memory, "ada")
    clock.move(7_200)
    for begin in (Upkeep(memory, deaf).conversations_ended, Upkeep(memory, deaf).daily):
        with pytest.raises((DatabaseUnavailable, InvalidInput)):
            begin()
    queue = open_queue(sqs.new_queue(), memory.database, dead_letters=sqs.new_queue())
    other = Upkeep(memory, queue)
    assert other.conversations_ended() is None
    assert other.resume() == 0
    clock.move(UNSENT_AFTER.total_seconds())
    assert other.resume() == 2
    assert other.resume() == 0
    tasks = {str(body["task_type"]): body for body in taken(queue)}
    assert tasks[GENERATE_MEMORY_BATCH]["conversation_ids"] == [str(conversation)]
    assert tasks[UPDATE_MEMORY]["owner_id"] == str(owner_of(memory, "ada"))
    assert all(batch.sent_at == clock.now for batch in list_batches(memory.database).entries)
    queue.close()


def test_of_several_who_find_a_batch_unsent_one_sends_it(memory: Memory, deaf: Queue, clock: Clock) -> None:
    talk(memory, "ada")
    with pytest.raises((DatabaseUnavailable, InvalidInput)):
        Upkeep(memory, deaf).daily()
    clock.move(UNSENT_AFTER.total_seconds())

    def meanwhile(messages: Sequence[Message]) -> None:
        sent.extend(messages)
        if messages:
            assert others.resume() == 0

    sent: list[Message] = []
    slow: Any = SimpleNamespace(send=meanwhile)
    others = Upkeep(memory, slow)
    with pytest.raises((DatabaseUnavailable, InvalidInput)):
        Upkeep(memory, deaf).resume()
    assert Upkeep(memory, slow).resume() == 1
    assert len(sent) == 1


def test_a_large_batch_is_not_sent_by_another_while_it_is_still_being_sent(memory: Memory, clock: Clock) -> None:
    talk(memory, "ada")
    sent: list[Message] = []
    slow: Any = SimpleNamespace()

    def meanwhile(messages: Sequence[Message]) -> None:
        sent.extend(messages)
        if messages:
            with unbound(memory.database) as connection:
                connection.execute(sa.update(batches).values(total=100_000))
            clock.move(2 * UNSENT_AFTER.total_seconds())
            assert Upkeep(memory, slow).resume() == 0

    slow.send = meanwhile
    Upkeep(memory, slow).daily()
    assert len(sent) == 1


def test_a_retry_that_could_not_be_sent_stays_due(memory: Memory, deaf: Queue, clock: Clock) -> None:
    conversation = talk(memory, "ada")
    clock.move(7_200)
    fail_at(memory.database, lease(memory.database, "conversation", conversation, seconds=60))
    clock.move(60)
    with pytest.raises((DatabaseUnavailable, InvalidInput)):
        Upkeep(memory, deaf).resume()
    queue = open_queue("sql", memory.database)
    assert Upkeep(memory, queue).resume() == 1
    assert len(taken(queue)) == 1
