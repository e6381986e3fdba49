from collections.abc import Iterator

import pytest

from memory_tools.memory import Memory
from memory_tools.upkeep import Upkeep
from storage.database import Database
from storage.work.queue import Queue
from storage.work.queues import open_queue
from tests.memory_tools.tools import VICTIM
from tests.queues import SqsServer


@pytest.fixture
def memory(database: Database) -> Memory:
    """Several people, each with an item that says whose it is."""
    opened = Memory(database)
    for user in ("ada", VICTIM):
        opened.of(user=user).items.set("prefs", "whose", user)
    opened.of(user=VICTIM, organization="acme").items.set("prefs", "whose", "victim of acme")
    opened.of(phone="+12025550143").items.set("prefs", "whose", "phone")
    return opened


@pytest.fixture(params=["sql", "sqs"])
def queue(request: pytest.FixtureRequest, clocked_worker: Database) -> Iterator[Queue]:
    """An empty queue, in the database or not."""
    if request.param == "sql":
        opened = open_queue("sql", clocked_worker)
    else:
        server: SqsServer = request.getfixturevalue("sqs")
        opened = open_queue(server.new_queue(), clocked_worker, dead_letters=server.new_queue())
    yield opened
    opened.close()


@pytest.fixture
def upkeep(memory: Memory, queue: Queue) -> Upkeep:
    return Upkeep(memory, queue)
