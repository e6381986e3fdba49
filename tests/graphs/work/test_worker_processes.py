"""Workers in processes of their own: what becomes of their work when they are killed."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from graphs.testing import ScriptedChatModel
from graphs.work.worker import Worker
from memory_tools.memory import Memory, UserMemory
from memory_tools.upkeep import Upkeep
from storage.conversations import NewMessage
from storage.database import Database
from storage.json_types import Document
from storage.transaction import utc_now
from storage.work.batches import get_batch
from storage.work.job_store import Lease
from storage.work.jobs import get_job
from storage.work.leases import lease
from storage.work.queue import Queue
from storage.work.queues import open_queue
from tests.clock import Ahead
from tests.graphs.slow_worker import VISIBILITY
from tests.graphs.workers import RECAP, conversation_id
from tests.mcp_server.wire import ROOT, environment
from tests.memory_tools.events import eventually
from tests.queues import SqsServer

SECONDS = 60
"""Nothing here takes so long: who waits longer has met a fault."""


PLACES = pytest.mark.parametrize(
    ("backend", "queue_of"),
    [("sqlite", "sql"), ("postgresql", "sql"), ("postgresql", "sqs")],
    indirect=True,
)
"""Databases with queues; a process takes long to start."""


@pytest.fixture
def workers_url(database: Database, database_url: str, request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("worker_url")) if database.on_postgresql else database_url


@contextmanager
def slow_worker(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.graphs.slow_worker", *arguments],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(SECONDS, process.kill)
    watchdog.start()
    try:
        yield process
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


def asked(process: "subprocess.Popen[str]") -> None:
    """Wait until the model of the process is asked."""
    assert process.stdout is not None
    assert process.stdout.readline() == "asked\n", "the worker has ended"


@pytest.fixture
def queue_of(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """How the queue is named, and where its dead letters go."""
    if request.param == "sql":
        return ("sql",)
    server: SqsServer = request.getfixturevalue("sqs")
    dead_letters = server.new_queue()
    return server.new_queue(dead_letters=dead_letters), dead_letters


@pytest.fixture
def clock(queue_of: tuple[str, ...], request: pytest.FixtureRequest) -> Iterator[Ahead]:
    """The clock of the next worker, and of SQS: leases and messages of a killed one expire without waiting."""
    ahead = Ahead()
    if queue_of == ("sql",):
        yield ahead
        return
    server: SqsServer = request.getfixturevalue("sqs")
    server.clock = ahead
    yield ahead
    server.clock = utc_now


@pytest.fixture
def memory(database: Database, workers_url: str, clock: Ahead) -> Iterator[Memory]:
    """The memory as the next worker opens it."""
    with Memory.open(workers_url, clock=clock) as opened:
        yield opened


@pytest.fixture
def queue(queue_of: tuple[str, ...], memory: Memory) -> Iterator[Queue]:
    spec, *dead_letters = queue_of
    with closing(open_queue(spec, memory.database, dead_letters=next(iter(dead_letters), None))) as opened:
        yield opened


@pytest.fixture
def ada(database: Database) -> UserMemory:
    """Somebody whose conversation ended long ago."""
    person = Memory(database).of(user="ada")
    long_ago = datetime.now(UTC) - timedelta(days=1)
    person.conversations.append("call-1", [NewMessage("user", "I live in Bonn.", said_at=long_ago)])
    return person


def work_off(queue: Queue, worker: Worker, clock: Ahead) -> None:
    """Let the worker do what there is, until nothing waits any more. Whoever held something has died."""
    deadline = time.monotonic() + SECONDS
    while queue.waiting():
        assert time.monotonic() < deadline, "there is something in the queue that nobody gets"
        clock.move(2 * VISIBILITY)  # each time: what a dead process had just asked for, SQS may still have given it
        worker.drain()


def remembered(person: UserMemory) -> Document:
    with person.read() as stores:
        return stores.conversation_memories.get("call-1").data


@PLACES
def test_what_a_killed_worker_was_busy_with_is_done_once_by_the_next(
    memory: Memory, queue: Queue, ada: UserMemory, clock: Ahead, workers_url: str, queue_of: tuple[str, ...]
) -> None:
    upkeep = Upkeep(memory, queue)
    batch = upkeep.conversations_ended()
    assert batch is not None
    with slow_worker(workers_url, *queue_of) as process:
        asked(process)
        process.kill()
        process.wait(SECONDS)
    model = ScriptedChatModel.of(RECAP)
    work_off(queue, Worker(memory, queue, model=model, wait=0.2), clock)
    done = get_batch(memory.database, batch.id)
    assert (done.total, done.updated, done.waiting, model.left) == (1, 1, 0, 0)
    assert remembered(ada) == RECAP
    assert get_job(memory.database, "conversation", conversation_id(ada)).attempts == 1
    upkeep.resume()
    assert queue.waiting() == 0


@PLACES
def test_whoever_kills_each_worker_does_not_do_so_for_ever(
    memory: Memory, queue: Queue, ada: UserMemory, clock: Ahead
) -> None:
    upkeep = Upkeep(memory, queue)
    batch = upkeep.conversations_ended()
    assert batch is not None
    about = conversation_id(ada)
    for _ in range(2):  # as a worker leaves it that is killed
        assert isinstance(lease(memory.database, "conversation", about, seconds=60), Lease)
        clock.move(120)
    work_off(queue, Worker(memory, queue, model=ScriptedChatModel.of(), attempts=2, wait=0.2), clock)
    job = get_job(memory.database, "conversation", about)
    assert (job.state, job.error) == ("dead", "abandoned")
    assert get_batch(memory.database, batch.id).failed == 1


def leased_until(memory: Memory, person: UserMemory) -> datetime:
    """Return until when somebody holds the job about the person's conversation."""
    until = get_job(memory.database, "conversation", conversation_id(person)).leased_until
    assert until is not None
    return until


@PLACES
def test_a_worker_that_is_slow_but_lives_keeps_what_it_has(
    memory: Memory, queue: Queue, ada: UserMemory, workers_url: str, queue_of: tuple[str, ...]
) -> None:
    batch = Upkeep(memory, queue).conversations_ended()
    assert batch is not None
    with slow_worker(workers_url, *queue_of) as process:
        asked(process)
        other = Worker(memory, queue, model=ScriptedChatModel.of(), wait=1.0)
        first = leased_until(memory, ada)
        while datetime.now(UTC) <= first:
            other.drain()
        assert queue.receive() == []
        assert leased_until(memory, ada) > first
        assert process.stdin is not None
        process.stdin.write("go on\n")
        process.stdin.flush()
        eventually(lambda: not queue.waiting())
    assert get_batch(memory.database, batch.id).updated == 1
    assert remembered(ada) == {"summary": "Made by a slow model."}
