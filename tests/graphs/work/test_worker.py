"""The worker: what becomes of each message, of each thing in it, and of what fails."""

import logging
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from typing import Any, TypeAlias
from uuid import uuid4

import pytest

from graphs.recap import Recap, Transcript
from graphs.testing import ScriptedChatModel, said
from graphs.work.prices import Prices
from graphs.work.worker import Worker
from memory_tools.memory import UserMemory
from memory_tools.pauses import Pauses
from storage.database import Database
from storage.errors import DatabaseUnavailable, InvalidInput, NotFound
from storage.work.batches import get_batch
from storage.work.jobs import get_job, retry
from storage.work.queue import Delivery, Message
from storage.work.sql_queue import SqlQueue
from tests.graphs.workers import QUIET, RECAP, Workplace, batch_of, conversation_id
from tests.memory_tools.events import eventually
from tests.telemetry import Heard

SECONDS = 30
"""Nothing here takes so long: who waits longer has met a fault."""


def memory_of(person: UserMemory, conversation: str = "call-1") -> Any:
    with person.read() as stores:
        return stores.conversation_memories.get(conversation).data


def poison(*bad: str) -> Any:
    """A summarizer that fails about what these people said, and counts how often it was asked."""
    asked: list[str] = []

    class Poisoned:
        def summarize(self, conversation: Transcript) -> Recap:
            text = conversation.messages[0].text
            asked.append(text)
            if any(name in text for name in bad):
                raise ConnectionError(f"could not digest {text}")
            return Recap({"summary": text})

    summarizer: Any = Poisoned()
    summarizer.asked = asked
    return summarizer


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


def test_what_a_failure_cost_is_counted(works: Workplace) -> None:
    ids = works.ended("ada")
    batch = works.upkeep.conversations_ended()
    assert batch is not None
    works.worker(model=ScriptedChatModel.of(said("no"), said("no"), said("no")), prices=Prices(1, 1)).drain()
    assert works.job(ids[0]).error == "summarizer_failed"
    done = get_batch(works.memory.database, batch.id)
    assert (done.input_tokens, done.output_tokens, done.cost_micros) == (30, 15, 45)
    assert (done.failed, done.waiting) == (1, 0)


def test_a_person_is_updated_with_everything_that_is_new(works: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    import graphs.batch

    monkeypatch.setattr(graphs.batch, "BATCH_MESSAGES", 1)
    person = works.say("ada", "I drink tea.", "I live in Bonn.")
    works.say("bob", "Hello.")
    batch = works.upkeep.daily()
    assert batch is not None
    model = ScriptedChatModel.of(*(lambda prompt: {"summary": f"About {len(str(prompt))}."} for _ in range(3)))
    works.worker(model=model, concurrency=1).drain()
    assert person.document.current().version == 2
    assert works.app.of(user="bob").document.current().version == 1
    done = get_batch(works.memory.database, batch.id)
    assert (done.total, done.updated, done.unchanged, done.waiting) == (2, 2, 0, 0)


def test_nothing_new_about_a_person_costs_nothing(works: Workplace) -> None:
    works.say("ada", "I drink tea.")
    works.upkeep.daily()
    works.worker(model=ScriptedChatModel.of({"summary": "Tea."})).drain()
    batch = works.upkeep.daily()
    assert batch is not None
    works.worker(model=ScriptedChatModel.of()).drain()
    assert get_batch(works.memory.database, batch.id).unchanged == 1


def test_a_change_that_the_guard_holds_is_counted_as_held(works: Workplace) -> None:
    person = works.say("ada", "Forget everything.")
    person.document.append({"summary": "Ada plays chess and sings.", "safety_notes": "No nuts, ever, in anything."})
    batch = works.upkeep.daily()
    assert batch is not None
    works.worker(model=ScriptedChatModel.of({"summary": ""})).drain()
    assert get_batch(works.memory.database, batch.id).held == 1
    assert person.document.current().version == 1


def test_a_document_that_no_model_can_write_is_failed_for_good(works: Workplace) -> None:
    works.say("ada", "I drink tea.")
    batch = works.upkeep.daily()
    assert batch is not None
    works.worker(model=ScriptedChatModel.of("no", "no", "no")).drain()
    done = get_batch(works.memory.database, batch.id)
    assert (done.failed, done.waiting) == (1, 0)


def test_a_model_that_does_not_answer_leaves_the_person_for_later(works: Workplace) -> None:
    person = works.say("ada", "I drink tea.")
    batch = works.upkeep.daily()
    assert batch is not None
    works.worker(model=ScriptedChatModel.of(ValueError("I drink tea."))).drain()
    assert get_batch(works.memory.database, batch.id).waiting == 1
    works.clock.move(61)
    works.upkeep.resume()
    works.worker(model=ScriptedChatModel.of({"summary": "Tea."})).drain()
    assert get_batch(works.memory.database, batch.id).updated == 1
    assert person.document.current().document["summary"] == "Tea."


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


def test_a_message_of_the_hosts_goes_to_its_handler(works: Workplace) -> None:
    heard: list[Any] = []
    works.queue.send([Message({"task_type": "SEND_MAIL", "to": 1}), Message({"hello": "you"})])
    works.worker(handler=heard.append, concurrency=1).drain()
    assert heard == [{"task_type": "SEND_MAIL", "to": 1}, {"hello": "you"}]
    assert works.queue.waiting() == 0


def test_a_handler_that_fails_has_the_message_again_and_then_it_is_dead(
    works: Workplace, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(body: Any) -> None:
        raise ValueError(f"no way to {body}")

    works.queue.send([Message({"task_type": "SEND_MAIL", "to": "ada@example.com"})])
    worker = works.worker(handler=fails, attempts=2)
    worker.drain()
    assert (works.queue.waiting(), works.queue.dead()) == (1, [])
    works.clock.move(60)
    worker.drain()
    [letter] = works.queue.dead()
    assert (letter.reason, letter.receives) == ("value_error", 2)
    assert "ada@example.com" not in caplog.text


def test_a_worker_wants_numbers_that_make_sense(works: Workplace) -> None:
    for wrong in ({"concurrency": 0}, {"attempts": 0}, {"visibility": 0}, {"visibility": 43_201}, {"grace": -1}):
        with pytest.raises(InvalidInput):
            works.worker(**wrong)


class Gate:
    """A summarizer that waits until the test lets it go on."""

    def __init__(self) -> None:
        self.begun, self.open = threading.Event(), threading.Event()
        self.asked = 0

    def summarize(self, conversation: Transcript) -> Recap:
        self.asked += 1
        self.begun.set()
        assert self.open.wait(SECONDS)
        return Recap({"summary": conversation.messages[0].text})


Running: TypeAlias = Callable[[Worker], tuple[threading.Thread, threading.Event]]


@pytest.fixture
def running(works: Workplace) -> Iterator[Running]:
    """Let workers run in threads of their own, until they are told to stop or the test ends, whatever became of it."""
    begun: list[tuple[threading.Thread, threading.Event]] = []

    def run(worker: Worker) -> tuple[threading.Thread, threading.Event]:
        until = threading.Event()
        thread = threading.Thread(target=worker.run, args=(until,), daemon=True)
        thread.start()
        begun.append((thread, until))
        return thread, until

    yield run
    for _, until in begun:
        until.set()
    for thread, _ in begun:
        thread.join(SECONDS)


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


def test_a_worker_that_stops_finishes_what_it_has_begun_and_gives_back_the_rest(
    works: Workplace, running: Running
) -> None:
    ids = works.ended("ada", "bob")
    works.queue.send([Message(batch_of(ids[:1])), Message(batch_of(ids[1:]))])
    gate: Any = Gate()
    worker = works.worker(conversation_summarizer=gate, concurrency=1, grace=SECONDS)
    thread, until = running(worker)
    assert gate.begun.wait(SECONDS)
    until.set()
    assert worker._stopping.wait(SECONDS)
    gate.open.set()
    thread.join(SECONDS)
    assert works.job(ids[0]).outcome == "updated"
    with pytest.raises(NotFound):
        works.job(ids[1])
    [delivery] = works.queue.receive()
    assert delivery.body == batch_of(ids[1:])


def test_after_the_grace_the_job_is_given_back_and_its_late_result_does_not_count(
    works: Workplace, running: Running
) -> None:
    ids = works.ended("ada")
    works.queue.send([Message(batch_of(ids))])
    gate: Any = Gate()
    thread, until = running(works.worker(conversation_summarizer=gate, grace=0))
    assert gate.begun.wait(SECONDS)
    until.set()
    thread.join(SECONDS)
    job = works.job(ids[0])
    assert (job.state, job.attempts, job.leased_until) == ("waiting", 0, None)
    works.worker(model=ScriptedChatModel.of(RECAP)).drain()
    assert memory_of(works.app.of(user="ada")) == RECAP
    late = [each for each in threading.enumerate() if each.name.startswith("usermemory-worker")]
    gate.open.set()
    for each in late:
        each.join(SECONDS)
    assert memory_of(works.app.of(user="ada")) == RECAP


def test_a_late_round_of_a_long_conversation_does_not_take_the_place_of_a_later_memory(
    works: Workplace, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graphs.recaps.TRANSCRIPT_MESSAGES", 2)
    person = works.say("ada", "One.", "Two.", "Three.")
    works.clock.move(QUIET)
    works.queue.send([Message(batch_of([conversation_id(person)]))])
    gate: Any = Gate()
    thread, until = running(works.worker(conversation_summarizer=gate, grace=0))
    assert gate.begun.wait(SECONDS)
    until.set()
    thread.join(SECONDS)
    works.worker(model=ScriptedChatModel.of(RECAP, RECAP)).drain()
    late = [each for each in threading.enumerate() if each.name.startswith("usermemory-worker")]
    gate.open.set()
    for each in late:
        each.join(SECONDS)
    with person.read() as stores:
        kept = stores.conversation_memories.get("call-1")
    assert (kept.data, kept.message_count) == (RECAP, 3)
    assert gate.asked == 1


def test_what_each_round_cost_is_counted_once_where_a_job_is_given_back_between_them(
    works: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graphs.recaps.TRANSCRIPT_MESSAGES", 2)
    person = works.say("ada", "One.", "Two.", "Three.")
    works.clock.move(QUIET)
    batch = works.upkeep.conversations_ended()
    assert batch is not None
    first, second = said('{"summary": "Round 1."}'), said('{"summary": "Round 2."}')
    model = ScriptedChatModel.of(first, DatabaseUnavailable(), second)
    worker = works.worker(model=model, prices=Prices(input=2, output=10))
    worker.drain()
    assert get_batch(works.memory.database, batch.id).input_tokens == 10
    works.upkeep.resume()
    worker.drain()
    assert memory_of(person) == {"summary": "Round 2."}
    done = get_batch(works.memory.database, batch.id)
    assert (done.updated, done.input_tokens, done.output_tokens, done.cost_micros) == (1, 20, 10, 20 * 2 + 10 * 10)
    assert works.job(conversation_id(person)).input_tokens == 20


def test_what_each_run_for_a_person_cost_is_counted_once_where_the_job_is_given_back_between_them(
    works: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graphs.batch.BATCH_MESSAGES", 1)
    works.say("ada", "I drink tea.", "I live in Bonn.")
    batch = works.upkeep.daily()
    assert batch is not None
    first, second = said('{"summary": "Tea."}'), said('{"summary": "Tea, Bonn."}')
    worker = works.worker(model=ScriptedChatModel.of(first, DatabaseUnavailable(), second), prices=Prices(1, 1))
    worker.drain()
    assert get_batch(works.memory.database, batch.id).input_tokens == 10
    works.clock.move(60)  # the message that came back is not given at once
    worker.drain()
    done = get_batch(works.memory.database, batch.id)
    assert (done.updated, done.input_tokens, done.output_tokens, done.cost_micros) == (1, 20, 10, 30)


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


def test_what_the_host_puts_beside_runs_as_long_as_the_worker(works: Workplace, running: Running) -> None:
    events: list[str] = []
    begun = threading.Event()

    def companion(until: threading.Event) -> None:
        begun.set()
        assert until.wait(SECONDS)
        events.append("ended")

    thread, until = running(works.worker(beside=[companion]))
    assert begun.wait(SECONDS)
    until.set()
    thread.join(SECONDS)
    assert events == ["ended"]


def test_what_runs_beside_is_begun_again_where_it_breaks(
    works: Workplace, running: Running, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import graphs.work.companion

    monkeypatch.setattr(graphs.work.companion, "Pauses", partial(Pauses, 0.01))
    begun: list[int] = []
    again = threading.Event()

    def breaks_twice(until: threading.Event) -> None:
        begun.append(1)
        if len(begun) < 3:
            raise ValueError("Ada drinks tea.")
        again.set()

    thread, until = running(works.worker(beside=[breaks_twice]))
    assert again.wait(SECONDS)
    until.set()
    thread.join(SECONDS)
    assert len(begun) == 3
    assert "value_error" in caplog.text
    assert "tea" not in caplog.text


def test_spans_tell_of_each_job_and_hold_nothing_that_was_said(works: Workplace, heard: Heard) -> None:
    ids = works.ended("ada", "bob")
    works.queue.send([Message(batch_of(ids))])
    works.worker(conversation_summarizer=poison("bob"), concurrency=1).drain()
    spans = [span for span in heard.spans if (span.attributes or {}).get("usermemory.door") == "worker"]
    assert [(span.attributes or {}).get("error.type") for span in spans] == [None, "connection_error"]
    assert "I am" not in heard.everything()


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


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
