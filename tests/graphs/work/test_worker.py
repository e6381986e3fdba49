"""The worker: what becomes of each message, and of each conversation in it."""

import threading
from typing import Any
from uuid import uuid4

import pytest

from graphs.testing import ScriptedChatModel, said
from graphs.work.prices import Prices
from storage.errors import InvalidInput, NotFound
from storage.work.batches import get_batch
from storage.work.jobs import get_job
from storage.work.queue import Message
from tests.graphs.summarizers import Gate, poison
from tests.graphs.workers import QUIET, RECAP, SECONDS, Running, Workplace, batch_of, conversation_id, memory_of
from tests.telemetry import Heard


def test_each_conversation_of_a_batch_gets_its_memory(works: Workplace) -> None:
    people = [works.say(user, f"I am {user}.") for user in ("ada", "bob", "eve")]
    works.clock.move(QUIET)
    batch = works.upkeep.conversations_ended()
    assert batch is not None
    works.worker(conversation_summarizer=poison()).drain()
    assert [memory_of(person) for person in people] == [{"summary": f"I am {user}."} for user in ("ada", "bob", "eve")]
    done = get_batch(works.memory.database, batch.id)
    assert (done.updated, done.failed, done.waiting) == (3, 0, 0)
    assert done.finished_at is not None
    assert works.queue.waiting() == 0


def test_a_message_of_a_host_with_nothing_but_ids_is_enough(works: Workplace) -> None:
    ids = works.ended("ada")
    works.queue.send([Message(batch_of(ids))])
    works.worker(model=ScriptedChatModel.of(RECAP)).drain()
    assert memory_of(works.app.of(user="ada")) == RECAP
    assert works.job(ids[0]).outcome == "updated"


def test_the_model_is_asked_outside_of_any_transaction(works: Workplace) -> None:
    ids = works.ended("ada")

    def while_asked(_: Any) -> dict[str, Any]:
        works.say("ada", "And I write.", conversation="call-2")  # SQLite has one writer
        works.app.of(user="ada").items.set("prefs", "tone", "warm")
        return RECAP

    works.queue.send([Message(batch_of(ids))])
    works.worker(model=ScriptedChatModel.of(while_asked)).drain()
    assert memory_of(works.app.of(user="ada")) == RECAP


def test_what_is_not_eligible_any_more_is_passed_over_and_the_model_not_asked(works: Workplace) -> None:
    [remembered] = works.ended("ada")
    works.queue.send([Message(batch_of([remembered]))])
    works.worker(model=ScriptedChatModel.of(RECAP)).drain()
    done = works.job(remembered)
    [goes_on] = works.ended("bob")
    works.say("bob", "Wait!")
    works.queue.send([Message(batch_of([remembered, goes_on, uuid4()]))])
    model = ScriptedChatModel.of()
    works.worker(model=model).drain()
    assert works.queue.waiting() == 0
    assert model.prompts == []
    assert works.job(remembered) == done
    with pytest.raises(NotFound):
        works.job(goes_on)
    with pytest.raises(NotFound):
        memory_of(works.app.of(user="bob"))


def test_what_was_said_meanwhile_makes_it_eligible_again(works: Workplace) -> None:
    ids = works.ended("ada")

    def meanwhile(_: Any) -> dict[str, Any]:
        works.say("ada", "One more thing.")
        return RECAP

    works.queue.send([Message(batch_of(ids))])
    works.worker(model=ScriptedChatModel.of(meanwhile)).drain()
    works.clock.move(QUIET)
    batch = works.upkeep.conversations_ended()
    assert batch is not None
    assert batch.total == 1


def test_somebody_erased_while_the_model_thinks_stays_erased(works: Workplace) -> None:
    from storage.erase import erase

    ids = works.ended("ada")
    with works.app.of(user="ada").read() as stores:
        owner = stores.owners[0]

    def meanwhile(_: Any) -> dict[str, Any]:
        erase(works.app.database, owner)
        return RECAP

    works.queue.send([Message(batch_of(ids))])
    works.worker(model=ScriptedChatModel.of(meanwhile)).drain()
    assert works.queue.waiting() == 0
    assert works.app.of(user="ada").conversations.all().entries == ()


def test_a_long_conversation_is_remembered_in_rounds_and_counted_once(
    works: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    import graphs.recaps

    monkeypatch.setattr(graphs.recaps, "TRANSCRIPT_MESSAGES", 2)
    person = works.say("ada", "One.", "Two.", "Three.", "Four.", "Five.")
    works.clock.move(QUIET)
    batch = works.upkeep.conversations_ended()
    assert batch is not None
    model = ScriptedChatModel.of(*(said(f'{{"summary": "Round {n}."}}') for n in (1, 2, 3)))
    works.worker(model=model, prices=Prices(input=2, output=10)).drain()
    assert memory_of(person) == {"summary": "Round 3."}
    done = get_batch(works.memory.database, batch.id)
    assert (done.total, done.updated) == (1, 1)
    assert (done.input_tokens, done.output_tokens, done.cost_micros) == (30, 15, 30 * 2 + 15 * 10)
    assert works.job(conversation_id(person)).input_tokens == 30


def test_an_organization_without_memory_is_passed_over(works: Workplace) -> None:
    works.say("ada", "I drink tea.")
    works.clock.move(QUIET)
    works.memory.configurations.set({"enabled": False})
    batches = works.upkeep.daily(), works.upkeep.conversations_ended()
    works.worker(model=ScriptedChatModel.of()).drain()
    for batch in batches:
        assert batch is not None
        done = get_batch(works.memory.database, batch.id)
        assert (done.skipped, done.waiting) == (1, 0)


def test_an_id_of_nobody_opens_nothing(works: Workplace) -> None:
    nobody = uuid4()
    works.say("ada", "I drink tea.")
    works.queue.send([Message({"task_type": "UPDATE_MEMORY", "owner_id": str(nobody)}), Message(batch_of([nobody]))])
    model = ScriptedChatModel.of()
    works.worker(model=model).drain()
    assert works.queue.waiting() == 0
    assert model.prompts == []
    for kind in ("person", "conversation"):
        with pytest.raises(NotFound):
            get_job(works.memory.database, kind, nobody)


def test_a_second_worker_does_not_do_what_the_first_is_busy_with(works: Workplace, running: Running) -> None:
    ids = works.ended("ada")
    works.queue.send([Message(batch_of(ids)), Message(batch_of(ids))])
    gate: Any = Gate()
    thread, until = running(works.worker(conversation_summarizer=gate, concurrency=1))
    assert gate.begun.wait(SECONDS)
    works.worker(model=ScriptedChatModel.of()).drain()
    gate.open.set()
    until.set()
    thread.join(SECONDS)
    assert gate.asked == 1
    assert works.job(ids[0]).outcome == "updated"
    assert works.queue.waiting() == 0


def test_two_workers_share_a_batch_and_each_conversation_is_done_once(works: Workplace) -> None:
    users = [f"user-{number}" for number in range(12)]
    works.ended(*users)
    batch = works.upkeep.conversations_ended()
    works.queue.send([Message(batch_of([conversation_id(works.app.of(user=user)) for user in users]))])
    assert batch is not None
    summarizer = poison()
    workers = [works.worker(conversation_summarizer=summarizer, concurrency=2) for _ in range(2)]
    threads = [threading.Thread(target=worker.drain, daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert sorted(summarizer.asked) == sorted(f"I am {user}." for user in users)
    done = get_batch(works.memory.database, batch.id)
    assert (done.total, done.updated) == (12, 12)
    assert works.queue.waiting() == 0


def test_a_worker_wants_numbers_that_make_sense(works: Workplace) -> None:
    for wrong in ({"concurrency": 0}, {"attempts": 0}, {"visibility": 0}, {"visibility": 43_201}, {"grace": -1}):
        with pytest.raises(InvalidInput):
            works.worker(**wrong)


def test_spans_tell_of_each_job_and_hold_nothing_that_was_said(works: Workplace, heard: Heard) -> None:
    ids = works.ended("ada", "bob")
    works.queue.send([Message(batch_of(ids))])
    works.worker(conversation_summarizer=poison("bob"), concurrency=1).drain()
    spans = [span for span in heard.spans if (span.attributes or {}).get("usermemory.door") == "worker"]
    assert [(span.attributes or {}).get("error.type") for span in spans] == [None, "connection_error"]
    assert "I am" not in heard.everything()
