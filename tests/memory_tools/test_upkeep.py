from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from memory_tools import upkeep as module
from memory_tools.host_conversations import HostConversation
from memory_tools.memory import Memory
from memory_tools.upkeep import (
    ACTIVE_WITHIN,
    GENERATE_MEMORY_BATCH,
    IDS_AT_ONCE,
    LOOKED_BACK,
    UPDATE_MEMORY,
    Upkeep,
    messages_about,
)
from storage.conversations import NewMessage
from storage.database import Database
from storage.directory import resolve
from storage.erase import erase
from storage.errors import Conflict, DatabaseUnavailable, Erased, IdempotencyKeyReused, InvalidInput
from storage.identity import Identity
from storage.json_types import Json
from storage.provenance import by_user
from storage.tables import batches
from storage.transaction import Work
from storage.work.batches import UNSENT_AFTER, Batch, get_batch, list_batches
from storage.work.eligible import ON_ITS_WAY, SEEN_LATE, Subject, active_people
from storage.work.job_store import Lease
from storage.work.jobs import fail
from storage.work.leases import lease
from storage.work.queue import Message, Queue
from storage.work.queues import open_queue
from storage.work.sql_queue import SqlQueue
from storage.work.unbound import unbound
from tests.clock import Clock
from tests.conftest import waits_for_a_lock
from tests.queues import SqsServer

TWO_HOURS = timedelta(hours=2)


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
def memory(clocked_worker: Database) -> Memory:
    return Memory(clocked_worker)


@pytest.fixture
def upkeep(memory: Memory, queue: Queue) -> Upkeep:
    return Upkeep(memory, queue)


def talk(memory: Memory, user: str, name: str = "call-1", organization: str = "default") -> UUID:
    """Say something now, and return the id of the conversation."""
    person = memory.of(user=user, organization=organization)
    person.conversations.append(name, [NewMessage("user", "x")])
    return next(each.id for each in person.conversations.all().entries if each.name == name)


def taken(queue: Queue) -> list[dict[str, Json]]:
    """Take everything out of the queue."""
    bodies = []
    while deliveries := queue.receive(limit=10):
        for delivery in deliveries:
            bodies.append(delivery.body)
            queue.acknowledge(delivery)
    return bodies


def owner_of(memory: Memory, user: str, organization: str = "default") -> UUID:
    return resolve(memory.database, Identity.of(user=user, organization=organization)).owner


def test_the_trigger_sends_exactly_one_message_of_the_literal_shape(
    memory: Memory, upkeep: Upkeep, queue: Queue, clock: Clock
) -> None:
    ended = []
    for user in ("ada", "bob", "eve"):
        ended.append(talk(memory, user))
        clock.move(1)
    clock.move(7_200)
    talk(memory, "bob", "call-2")
    batch = upkeep.conversations_ended()
    assert batch is not None
    assert (batch.kind, batch.total, batch.waiting, batch.sent_at) == ("conversations", 3, 3, clock.now)
    [body] = taken(queue)
    assert body == {"task_type": "GENERATE_MEMORY_BATCH", "conversation_ids": sorted(map(str, ended))}
    assert get_batch(memory.database, batch.id) == batch


def test_it_sends_none_when_there_is_nothing_to_do(memory: Memory, upkeep: Upkeep, queue: Queue, clock: Clock) -> None:
    assert upkeep.conversations_ended() is None
    talk(memory, "ada")
    assert upkeep.conversations_ended(idempotency_key="k") is None
    clock.move(7_200)
    memory.of(user="ada").conversation_memories.set("call-1", {}, provenance=by_user)
    assert upkeep.conversations_ended() is None
    assert list_batches(memory.database).entries == ()
    assert taken(queue) == []


def test_what_is_on_its_way_is_not_sent_again(memory: Memory, upkeep: Upkeep, queue: Queue, clock: Clock) -> None:
    talk(memory, "ada")
    clock.move(7_200)
    assert upkeep.conversations_ended() is not None
    assert upkeep.conversations_ended() is None
    assert upkeep.resume() == 0
    assert len(taken(queue)) == 1


def test_of_eight_who_trigger_at_once_one_sends_each_conversation(
    memory: Memory, upkeep: Upkeep, queue: Queue, clock: Clock
) -> None:
    ended = {str(talk(memory, user)) for user in ("ada", "bob", "eve")}
    clock.move(7_200)
    together = Barrier(8)

    def trigger(_: int) -> Batch | None:
        together.wait()
        return upkeep.conversations_ended()

    with ThreadPoolExecutor(8) as threads:
        batches = [batch for batch in threads.map(trigger, range(8)) if batch is not None]
    [body] = taken(queue)
    assert set(body["conversation_ids"]) == ended
    assert [batch.total for batch in batches] == [3]


def test_a_message_names_so_many_conversations_at_the_most() -> None:
    subjects = [(UUID(int=number), UUID(int=0)) for number in range(2 * IDS_AT_ONCE + 1)]
    messages = messages_about("conversation", subjects)
    assert [len(message.body["conversation_ids"]) for message in messages] == [IDS_AT_ONCE, IDS_AT_ONCE, 1]
    assert {message.body["task_type"] for message in messages} == {GENERATE_MEMORY_BATCH}
    assert all(message.group is None for message in messages)
    assert max(len(message.text()) for message in messages) < 256 * 1024
    named = [each for message in messages for each in message.body["conversation_ids"]]
    assert named == [str(each) for each, _ in subjects]
    assert messages_about("conversation", []) == messages_about("person", []) == []


def test_many_conversations_take_a_further_message(
    memory: Memory, upkeep: Upkeep, queue: Queue, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "IDS_AT_ONCE", 3)
    ended = {str(talk(memory, "ada", f"call-{number}")) for number in range(7)}
    clock.move(7_200)
    batch = upkeep.conversations_ended()
    assert batch is not None
    assert batch.total == 7
    named = [body["conversation_ids"] for body in taken(queue)]
    assert sorted(map(len, named)) == [1, 3, 3]
    assert {each for some in named for each in some} == ended


def test_a_key_gives_the_earlier_batch_back_and_sends_nothing(
    memory: Memory, upkeep: Upkeep, queue: Queue, clock: Clock
) -> None:
    talk(memory, "ada")
    clock.move(7_200)
    together = Barrier(4)

    def trigger(_: int) -> Batch | None:
        together.wait()
        return upkeep.conversations_ended(idempotency_key="k")

    with ThreadPoolExecutor(4) as threads:
        assert len({batch.id for batch in threads.map(trigger, range(4)) if batch is not None}) == 1
    talk(memory, "bob")
    clock.move(7_200)
    first = upkeep.conversations_ended(idempotency_key="k")
    assert first is not None
    assert first.total == 1
    assert len(taken(queue)) == 1
    daily = upkeep.daily(idempotency_key="k")
    assert daily is not None
    assert upkeep.daily(idempotency_key="k") == daily
    with pytest.raises(IdempotencyKeyReused):
        upkeep.daily(clock.now, idempotency_key="k")


def test_one_organization_may_be_meant(memory: Memory, upkeep: Upkeep, queue: Queue, clock: Clock) -> None:
    talk(memory, "ada")
    theirs = talk(memory, "ada", organization="other")
    clock.move(7_200)
    batch = upkeep.conversations_ended("other")
    assert batch is not None
    assert (batch.organization, batch.total) == ("other", 1)
    assert [body["conversation_ids"] for body in taken(queue)] == [[str(theirs)]]


def test_how_long_nothing_was_said_is_to_be_set(memory: Memory, queue: Queue, clock: Clock) -> None:
    talk(memory, "ada")
    clock.move(60)
    assert Upkeep(memory, queue, timedelta(seconds=61)).conversations_ended() is None
    assert Upkeep(memory, queue, inactivity=timedelta(seconds=60)).conversations_ended() is not None


def test_what_was_said_just_before_the_due_time_and_seen_after_it_is_in_the_next_daily_job(
    memory: Memory, upkeep: Upkeep, clock: Clock
) -> None:
    upkeep.daily(clock.now)
    clock.move(-0.5)  # an API's clock is behind, or its transaction ended after the look
    talk(memory, "ada")
    clock.move(24 * 3_600 + 0.5)
    batch = upkeep.daily(clock.now)
    assert batch is not None
    assert batch.total == 1


def test_everybody_who_was_active_in_the_last_day_gets_one_message(
    memory: Memory, upkeep: Upkeep, queue: Queue, clock: Clock
) -> None:
    talk(memory, "long-ago")
    clock.move((ACTIVE_WITHIN + SEEN_LATE).total_seconds() + 1)
    for name in ("call-1", "call-2"):
        talk(memory, "ada", name)
    memory.of(user="bob").items.set("prefs", "tone", "warm")
    batch = upkeep.daily()
    assert batch is not None
    assert (batch.kind, batch.total, batch.due_at, batch.sent_at) == ("daily", 2, None, clock.now)
    deliveries = queue.receive(limit=10)
    wanted = {owner_of(memory, "ada"), owner_of(memory, "bob")}
    assert {delivery.group for delivery in deliveries} == wanted
    for delivery in deliveries:
        assert delivery.body == {"task_type": UPDATE_MEMORY, "owner_id": str(delivery.group)}
        queue.acknowledge(delivery)
    assert taken(queue) == []


def test_after_days_in_which_nothing_ran_the_daily_job_looks_back_to_the_last_one(
    memory: Memory, upkeep: Upkeep, clock: Clock
) -> None:
    talk(memory, "ada")
    clock.move(SEEN_LATE.total_seconds() + 1)
    assert upkeep.daily(clock.now) is not None
    clock.move(3_600)
    talk(memory, "bob")  # on a Friday
    clock.move(3 * 24 * 3_600)
    monday = upkeep.daily(clock.now)
    assert monday is not None
    assert monday.total == 1
    clock.move(2 * LOOKED_BACK.total_seconds())
    much_later = upkeep.daily(clock.now)
    assert much_later is not None
    assert much_later.total == 0


def test_a_due_time_sends_once_whatever_the_number_of_callers(
    memory: Memory, upkeep: Upkeep, queue: Queue, clock: Clock
) -> None:
    for user in ("ada", "bob"):
        talk(memory, user)
    due_at = clock.now
    clock.move(6 * 3_600)  # whoever comes late means the same day
    together = Barrier(8)

    def call(_: int) -> Batch | None:
        together.wait()
        return upkeep.daily(due_at)

    with ThreadPoolExecutor(8) as threads:
        batches = [batch for batch in threads.map(call, range(8)) if batch is not None]
    assert [(batch.total, batch.due_at) for batch in batches] == [(2, due_at)]
    assert len(taken(queue)) == 2
    assert upkeep.daily(due_at) is None
    assert taken(queue) == []


def test_an_organization_has_its_own_due_times(memory: Memory, upkeep: Upkeep, queue: Queue, clock: Clock) -> None:
    talk(memory, "ada")
    talk(memory, "eve", organization="other")
    for organization in ("default", "other"):
        batch = upkeep.daily(clock.now, organization)
        assert batch is not None
        assert (batch.total, batch.organization) == (1, organization)
        assert upkeep.daily(clock.now, organization) is None
    assert len(taken(queue)) == 2


def test_without_a_due_time_it_is_now_and_each_time_anew(
    memory: Memory, upkeep: Upkeep, queue: Queue, clock: Clock
) -> None:
    talk(memory, "ada")
    first, second = upkeep.daily(), upkeep.daily()
    assert first is not None
    assert second is not None
    assert get_batch(memory.database, first.id).skipped == 1
    assert second.waiting == 1
    assert len(taken(queue)) == 2


def test_a_day_on_which_nobody_was_active_is_on_record(memory: Memory, upkeep: Upkeep, clock: Clock) -> None:
    batch = upkeep.daily(clock.now)
    assert batch is not None
    assert (batch.total, batch.finished_at) == (0, clock.now)
    assert upkeep.daily(clock.now) is None


def test_a_due_time_has_a_zone(upkeep: Upkeep) -> None:
    with pytest.raises(InvalidInput, match="zone"):
        upkeep.daily(datetime(2026, 11, 20, 3))


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


def fail_at(database: Database, held: object) -> None:
    assert isinstance(held, Lease)
    assert fail(database, held, "timed_out") is not None


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


@pytest.fixture
def deaf(memory: Memory, sqs: SqsServer) -> Iterator[Queue]:
    """A queue that does not answer."""
    queue = open_queue(f"{sqs.url}/123456789012/nobody", memory.database, dead_letters=sqs.new_queue())
    yield queue
    queue.close()


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


def test_a_batch_of_the_erased_is_finished(memory: Memory, upkeep: Upkeep, clock: Clock) -> None:
    talk(memory, "ada")
    batch = upkeep.daily()
    assert batch is not None
    erase(memory.database, owner_of(memory, "ada"))
    upkeep.resume()
    ended = get_batch(memory.database, batch.id)
    assert (ended.skipped, ended.waiting, ended.finished_at) == (1, 0, clock.now)


def test_somebody_erased_at_that_very_moment_keeps_nobody_else_out(
    memory: Memory, upkeep: Upkeep, queue: Queue, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for user in ("ada", "bob"):
        talk(memory, user)
    erased = owner_of(memory, "ada")

    def find_and_lose(database: Database, *, since: datetime, organization: str | None) -> list[Subject]:
        found = active_people(database, since=since, organization=organization)
        if erased in [each.id for each in found]:
            erase(database, erased)
        return found

    monkeypatch.setattr(module, "active_people", find_and_lose)
    batch = upkeep.daily(clock.now)
    assert batch is not None
    assert batch.total == 1
    assert [body["owner_id"] for body in taken(queue)] == [str(owner_of(memory, "bob"))]
    monkeypatch.setattr(module, "active_people", lambda *_, **__: [Subject(erased, erased, "default")])
    with pytest.raises(Erased):
        upkeep.daily()


class Interrupted(SqlQueue):
    """A queue to which nothing is sent before an erasure of somebody waits for what the sender holds."""

    def __init__(self, database: Database, begin: Callable[[], object]) -> None:
        super().__init__(database)
        self._begin: Callable[[], object] | None = begin

    def send_within(self, work: Work | sa.Connection, messages: Sequence[Message]) -> None:
        """Let the erasure begin, and send."""
        begin, self._begin = self._begin, None
        if begin is not None:
            begin()
        super().send_within(work, messages)


@pytest.mark.parametrize("again", [False, True])
def test_an_erasure_and_those_who_find_work_do_not_fail_each_other(
    memory: Memory, clock: Clock, administrator: sa.Engine, again: bool
) -> None:
    for user in ("ada", "bob"):
        talk(memory, user)
    erased = owner_of(memory, "ada")
    Upkeep(memory, SqlQueue(memory.database)).daily()
    clock.move(2 * ON_ITS_WAY.total_seconds())
    with ThreadPoolExecutor() as pool:

        def begin() -> None:
            erasing.append(pool.submit(erase, memory.database, erased))
            while memory.database.on_postgresql and not erasing[0].done() and not waits_for_a_lock(administrator):
                pass

        erasing: list[Future[None]] = []
        upkeep = Upkeep(memory, Interrupted(memory.database, begin))
        if again:
            upkeep.resume()
        else:
            upkeep.daily()
        erasing[0].result()
    everyone = active_people(memory.database, since=clock.now - ACTIVE_WITHIN)
    assert [each.id for each in everyone] == [owner_of(memory, "bob")]


def test_who_finds_work_looks_again_where_the_database_preferred_somebody_else(memory: Memory, clock: Clock) -> None:
    talk(memory, "ada")

    def begin() -> None:
        raise Conflict

    batch = Upkeep(memory, Interrupted(memory.database, begin)).daily()
    assert batch is not None
    clock.move(2 * ON_ITS_WAY.total_seconds())
    assert Upkeep(memory, Interrupted(memory.database, begin)).resume() == 1


class Host:
    """A host's own conversations, in memory."""

    def ended(self, before: datetime) -> Iterable[HostConversation]:
        """Return the one there is."""
        return [HostConversation(Identity.of(user="hosted"), "chat-1", datetime(2026, 11, 1, tzinfo=UTC))]

    def messages(self, conversation: HostConversation, since: datetime | None) -> Sequence[NewMessage]:
        """Return what was said in it."""
        return [NewMessage("user", "hello", external_id="1")]

    def imported(self, conversation: HostConversation) -> None:
        """Pass."""


def test_what_ended_at_a_host_is_copied_and_summarized(memory: Memory, queue: Queue) -> None:
    batch = Upkeep(memory, queue, TWO_HOURS, [Host()]).conversations_ended()
    assert batch is not None
    assert batch.total == 1
    [conversation] = memory.of(user="hosted").conversations.all().entries
    assert [body["conversation_ids"] for body in taken(queue)] == [[str(conversation.id)]]


def test_on_the_sql_queue_a_batch_is_there_with_its_message_or_not_at_all(
    memory: Memory, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk(memory, "ada")
    clock.move(7_200)
    queue = open_queue("sql", memory.database)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("storage.work.opening.read_batch", crash)  # the last step before the commit
        with pytest.raises(KeyboardInterrupt):
            Upkeep(memory, queue).conversations_ended()
    assert taken(queue) == []
    assert list_batches(memory.database).entries == ()
    assert Upkeep(memory, queue).conversations_ended() is not None
    assert len(taken(queue)) == 1
