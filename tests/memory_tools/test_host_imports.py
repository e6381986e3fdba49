"""Host imports: they come before each look for what there is to do, and none keeps anything else from being done."""

import logging
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import pytest

from memory_tools.host_conversations import HostConversation
from memory_tools.memory import Memory
from memory_tools.upkeep import Upkeep
from storage.conversations import NewMessage
from storage.database import Database
from storage.errors import DatabaseUnavailable
from storage.identity import Identity
from storage.work.sql_queue import SqlQueue
from tests.clock import Clock
from tests.memory_tools.events import eventually

LONG_AGO = datetime(2026, 11, 1, tzinfo=UTC)

SECONDS = 30.0
"""Nothing here takes so long: who waits longer has met a fault."""


class Chats:
    """A host of one conversation with somebody."""

    def __init__(self, user: str) -> None:
        self.user = user

    def ended(self, before: datetime) -> Iterator[HostConversation]:
        yield HostConversation(Identity.of(user=self.user), "chat-1", LONG_AGO)

    def messages(self, conversation: HostConversation, since: datetime | None) -> Sequence[NewMessage]:
        return [NewMessage("user", "I live in Bonn.", external_id="m1")]

    def imported(self, conversation: HostConversation) -> None:
        return


class Hanging(Chats):
    """One that does not answer until a test says so."""

    def __init__(self, user: str = "ada") -> None:
        super().__init__(user)
        self.asked = threading.Semaphore(0)
        self.answers = threading.Event()

    def ended(self, before: datetime) -> Iterator[HostConversation]:
        self.asked.release()
        assert self.answers.wait(SECONDS)
        yield from super().ended(before)


@pytest.fixture
def memory(clocked_worker: Database) -> Memory:
    return Memory(clocked_worker)


@pytest.fixture
def queue(memory: Memory) -> SqlQueue:
    return SqlQueue(memory.database)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    host = Hanging()
    yield host
    host.answers.set()
    for thread in threading.enumerate():
        if thread.name == "usermemory-import":  # it must not write into the database of the next test
            thread.join(SECONDS)


def is_known(memory: Memory, user: str) -> bool:
    with memory.of(user=user).read() as stores:
        return stores.owners != ()


def test_whoever_spoke_at_a_host_was_active_on_that_day(memory: Memory, queue: SqlQueue, clock: Clock) -> None:
    batch = Upkeep(memory, queue, hosts=[Chats("ada"), Chats("bob")], import_seconds=None).daily(clock.now)
    assert batch is not None
    assert batch.total == 2


def test_a_period_that_a_worker_without_hosts_began_is_no_reason_not_to_copy(memory: Memory, queue: SqlQueue) -> None:
    memory.of(user="eve").conversations.append("call-1", [NewMessage("user", "Hello.", LONG_AGO)])
    first = Upkeep(memory, queue).conversations_ended(idempotency_key="schedule:now")
    assert first is not None
    with_hosts = Upkeep(memory, queue, hosts=[Chats("ada")], import_seconds=None)
    assert with_hosts.conversations_ended(idempotency_key="schedule:now") == first
    assert is_known(memory, "ada")
    later = with_hosts.conversations_ended(idempotency_key="schedule:later")
    assert later is not None
    assert later.total == 1


def test_a_host_that_hangs_keeps_nothing_else_from_being_done(
    memory: Memory, queue: SqlQueue, hanging: Hanging, caplog: pytest.LogCaptureFixture
) -> None:
    memory.of(user="eve").conversations.append("call-1", [NewMessage("user", "Hello.", LONG_AGO)])
    upkeep = Upkeep(memory, queue, hosts=[hanging], import_seconds=0.05)
    ended, daily = upkeep.conversations_ended(), upkeep.daily()
    assert ended is not None
    assert daily is not None
    assert (ended.total, daily.total) == (1, 1)
    assert "1 of 1 hosts are still being read: what they bring comes later" in caplog.text
    assert not is_known(memory, "ada")


def test_a_host_that_hangs_is_asked_once_and_brings_what_it_has_in_the_end(
    memory: Memory, queue: SqlQueue, hanging: Hanging
) -> None:
    upkeep = Upkeep(memory, queue, hosts=[hanging], import_seconds=0.0)
    for _ in range(3):
        assert upkeep.conversations_ended() is None
    assert hanging.asked.acquire(timeout=SECONDS)
    assert not hanging.asked.acquire(blocking=False)
    hanging.answers.set()
    eventually(lambda: is_known(memory, "ada"))
    eventually(lambda: upkeep.conversations_ended() is not None)


def test_of_two_hosts_one_that_hangs_does_not_keep_back_the_other(
    memory: Memory, queue: SqlQueue, hanging: Hanging
) -> None:
    upkeep = Upkeep(memory, queue, hosts=[hanging, Chats("bob")], import_seconds=0.0)
    upkeep.daily()
    eventually(lambda: is_known(memory, "bob"))
    assert not is_known(memory, "ada")


def test_whoever_has_no_schedule_to_keep_waits_as_long_as_it_takes(memory: Memory, queue: SqlQueue) -> None:
    host = Hanging()
    threading.Timer(0.3, host.answers.set).start()
    batch = Upkeep(memory, queue, hosts=[host], import_seconds=None).daily()
    assert batch is not None
    assert batch.total == 1


def test_our_own_database_that_does_not_answer_is_told_to_whoever_looks(
    database_url: str, database: Database, queue: SqlQueue
) -> None:
    class Many(Chats):
        def ended(self, before: datetime) -> Iterator[HostConversation]:
            for number in range(3):
                yield HostConversation(Identity.of(user=self.user), f"chat-{number}", LONG_AGO)

    closed = Memory.open(database_url)
    closed.close()
    with pytest.raises(DatabaseUnavailable):
        Upkeep(closed, queue, hosts=[Many("ada")], import_seconds=None).conversations_ended()


def test_a_host_that_ends_its_thread_is_no_end_of_anything_else(
    memory: Memory, queue: SqlQueue, caplog: pytest.LogCaptureFixture
) -> None:
    class Leaving(Chats):
        def ended(self, before: datetime) -> Iterator[HostConversation]:
            raise SystemExit("canary-that-no-log-may-have")

    with caplog.at_level(logging.DEBUG):
        batch = Upkeep(memory, queue, hosts=[Leaving("ada"), Chats("bob")], import_seconds=None).daily()
    assert batch is not None
    assert batch.total == 1
    assert "a host could not be read: SystemExit" in caplog.text
    assert "canary-that-no-log-may-have" not in caplog.text
