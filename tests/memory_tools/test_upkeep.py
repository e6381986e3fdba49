"""Upkeep: the conversations that ended are sent to be remembered, each once."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from uuid import UUID

import pytest

from memory_tools import upkeep as module
from memory_tools.host_conversations import HostConversation
from memory_tools.memory import Memory
from memory_tools.upkeep import GENERATE_MEMORY_BATCH, IDS_AT_ONCE, Upkeep, messages_about
from storage.conversations import NewMessage
from storage.database import Database
from storage.errors import IdempotencyKeyReused
from storage.identity import Identity
from storage.provenance import by_user
from storage.work.batches import Batch, get_batch, list_batches
from storage.work.queue import Queue
from storage.work.queues import open_queue
from tests.clock import Clock
from tests.memory_tools.upkeeps import taken, talk

TWO_HOURS = timedelta(hours=2)


@pytest.fixture
def memory(clocked_worker: Database) -> Memory:
    return Memory(clocked_worker)


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
