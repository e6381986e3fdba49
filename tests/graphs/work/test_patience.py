"""Patience: what hangs is given up, counted, and keeps neither its place nor anything else."""

import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest

from graphs.recap import Recap, Transcript
from graphs.testing import ScriptedChatModel
from graphs.work.turns import Turns
from graphs.work.worker import Worker
from storage.errors import DatabaseUnavailable, InvalidInput, NotFound
from storage.work.batches import get_batch
from storage.work.job_store import JobKind
from storage.work.jobs import Job, get_job
from storage.work.queue import Delivery, Message
from tests.clock import Seconds
from tests.graphs.workers import QUIET, RECAP, Workplace, batch_of, conversation_id
from tests.memory_tools.events import eventually

SECONDS = 30
"""Nothing here takes so long: who waits longer has met a fault."""

PATIENCE = 900.0
"""Seconds of the test's timer."""

HELD = 40_000.0
"""Seconds for which messages and leases are held here: nothing runs out while the test moves the clock."""


class Timer(Seconds):
    """A timer that knows how often it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def __call__(self) -> float:
        self.asked += 1
        return super().__call__()


class Hanging:
    """Somebody who is asked and does not come back before the test lets them."""

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)
        self.may_answer = threading.Event()
        self.threads: list[threading.Thread] = []

    def hang(self) -> None:
        self.threads.append(threading.current_thread())
        self.asked.release()
        assert self.may_answer.wait(SECONDS)

    def wait_until_asked(self) -> None:
        assert self.asked.acquire(timeout=SECONDS)

    def let_go(self) -> None:
        """Let everybody come back, and wait until they are through."""
        self.may_answer.set()
        for thread in self.threads:
            thread.join(SECONDS)


Run: TypeAlias = Callable[..., Worker]


@pytest.fixture
def timer() -> Timer:
    return Timer()


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    hanging = Hanging()
    yield hanging
    hanging.let_go()


@pytest.fixture
def run(works: Workplace, timer: Timer, hanging: Hanging, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """Let a worker with the timer of the test run in a thread of its own, until the test ends."""
    monkeypatch.setattr("graphs.work.worker.LOOK_EVERY", 0.01)
    until, threads = threading.Event(), []

    def begin(**options: Any) -> Worker:
        worker = works.worker(patience=PATIENCE, timer=timer, visibility=HELD, grace=0, **options)
        threads.append(threading.Thread(target=worker.run, args=(until,), daemon=True))
        threads[-1].start()
        return worker

    yield begin
    until.set()
    hanging.may_answer.set()
    for thread in threads:
        thread.join(SECONDS)


@pytest.fixture
def after(works: Workplace, timer: Timer) -> Callable[[float], None]:
    """Let seconds pass, and the worker look twice for what is too slow."""

    def pass_by(seconds: float) -> None:
        works.clock.move(seconds)
        timer.pass_by(seconds)
        asked = timer.asked
        eventually(lambda: timer.asked >= asked + 3)

    return pass_by


def hangs_about(name: str, hanging: Hanging) -> Any:
    """A summarizer that hangs when it hears of somebody."""

    class Summarizer:
        def summarize(self, conversation: Transcript) -> Recap:
            text = conversation.messages[0].text
            if name in text:
                hanging.hang()
            return Recap({"summary": text})

    return Summarizer()


def memory_of(works: Workplace, user: str) -> Any:
    with works.app.of(user=user).read() as stores:
        return stores.conversation_memories.get("call-1").data


def job_of_person(works: Workplace, user: str) -> Job:
    kind: JobKind = "person"
    with works.app.of(user=user).read() as stores:
        return get_job(works.memory.database, kind, stores.owners[0])


def test_a_conversation_whose_model_hangs_is_given_up_and_its_place_taken(
    works: Workplace, hanging: Hanging, run: Run, after: Callable[[float], None], caplog: pytest.LogCaptureFixture
) -> None:
    ids = works.ended("ada", "bob")
    batch = works.upkeep.conversations_ended()
    assert batch is not None
    run(conversation_summarizer=hangs_about("ada", hanging), concurrency=1)
    hanging.wait_until_asked()
    after(PATIENCE - 1)
    assert works.job(ids[0]).attempts == 0
    after(1)
    eventually(lambda: works.queue.waiting() == 0)
    ada, bob = (works.job(each) for each in ids)
    assert (ada.state, ada.error, ada.attempts) == ("waiting", "too_slow", 1)
    assert ada.next_attempt_at is not None
    assert 45 <= (ada.next_attempt_at - works.clock.now).total_seconds() <= 60
    assert bob.outcome == "updated"
    assert get_batch(works.memory.database, batch.id).waiting == 1
    hanging.let_go()
    with pytest.raises(NotFound):
        memory_of(works, "ada")
    assert works.job(ids[0]).attempts == 1
    assert "I am ada" not in caplog.text
    works.clock.move(61)
    works.upkeep.resume()
    eventually(lambda: works.job(ids[0]).outcome == "updated")
    assert get_batch(works.memory.database, batch.id).updated == 2


def test_what_hangs_each_time_is_dead_in_the_end(
    works: Workplace, hanging: Hanging, run: Run, after: Callable[[float], None]
) -> None:
    [ada] = works.ended("ada")
    batch = works.upkeep.conversations_ended()
    assert batch is not None
    run(conversation_summarizer=hangs_about("ada", hanging), concurrency=1, attempts=2)
    for attempt in (1, 2):
        hanging.wait_until_asked()
        after(PATIENCE)
        eventually(lambda attempt=attempt: works.job(ada).attempts == attempt)  # type: ignore[misc]
        works.clock.move(61)
        works.upkeep.resume()
    assert (works.job(ada).state, works.job(ada).error) == ("dead", "too_slow")
    assert get_batch(works.memory.database, batch.id).failed == 1


def test_a_person_whose_model_hangs_is_given_up(
    works: Workplace, hanging: Hanging, run: Run, after: Callable[[float], None]
) -> None:
    works.say("ada", "I drink tea.")
    works.upkeep.daily()

    def hangs(_: Any) -> dict[str, Any]:
        hanging.hang()
        return {"summary": "Tea."}

    run(model=ScriptedChatModel.of(hangs), concurrency=1)
    hanging.wait_until_asked()
    after(PATIENCE)
    eventually(lambda: works.queue.waiting() == 0)
    job = job_of_person(works, "ada")
    assert (job.state, job.error, job.attempts) == ("waiting", "too_slow", 1)


def test_a_handler_that_hangs_has_the_message_again_and_then_it_is_dead(
    works: Workplace, hanging: Hanging, run: Run, after: Callable[[float], None]
) -> None:
    heard: list[Any] = []

    def handler(body: Any) -> None:
        if body["task_type"] == "HANG":
            hanging.hang()
        else:
            heard.append(body)

    works.queue.send([Message({"task_type": "HANG"}), Message({"task_type": "HELLO"})])
    run(handler=handler, concurrency=1, attempts=2)
    hanging.wait_until_asked()
    after(PATIENCE)
    eventually(lambda: heard == [{"task_type": "HELLO"}])
    assert (works.queue.waiting(), works.queue.dead()) == (1, [])
    works.clock.move(60)
    hanging.wait_until_asked()
    after(PATIENCE)
    eventually(lambda: works.queue.waiting() == 0)
    assert [(letter.reason, letter.receives) for letter in works.queue.dead()] == [("too_slow", 2)]
    hanging.let_go()
    assert [letter.receives for letter in works.queue.dead()] == [2]


def test_each_round_that_was_kept_has_its_own_time(
    works: Workplace, hanging: Hanging, run: Run, after: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graphs.recaps.TRANSCRIPT_MESSAGES", 1)
    person = works.say("ada", "One.", "Two.", "Three.", "Four.")
    works.clock.move(QUIET)
    conversation = conversation_id(person)
    works.queue.send([Message(batch_of([conversation]))])
    rounds: list[int] = []

    class Slow:
        def summarize(self, _: Transcript) -> Recap:
            rounds.append(1)
            if len(rounds) == 3:
                hanging.hang()
            else:
                after(PATIENCE * 0.6)
            return Recap({"summary": f"Round {len(rounds)}."})

    slow: Any = Slow()
    run(conversation_summarizer=slow)
    hanging.wait_until_asked()  # for the third round, after more seconds than one may take
    after(PATIENCE - 1)
    assert works.job(conversation).attempts == 0
    after(1)
    eventually(lambda: works.job(conversation).error == "too_slow")
    assert memory_of(works, "ada") == {"summary": "Round 2."}


def test_what_is_drained_ends_although_a_model_hangs(
    works: Workplace, hanging: Hanging, timer: Timer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graphs.work.worker.LOOK_EVERY", 0.01)
    [ada] = works.ended("ada")
    works.queue.send([Message(batch_of([ada]))])
    model = hangs_about("ada", hanging)
    worker = works.worker(conversation_summarizer=model, patience=PATIENCE, timer=timer, visibility=HELD)
    draining = threading.Thread(target=worker.drain, daemon=True)
    draining.start()
    hanging.wait_until_asked()
    works.clock.move(PATIENCE)
    timer.pass_by(PATIENCE)
    draining.join(SECONDS)
    assert not draining.is_alive()
    assert works.job(ada).error == "too_slow"
    works.clock.move(61)
    works.upkeep.resume()
    works.worker(model=ScriptedChatModel.of(RECAP)).drain()
    assert memory_of(works, "ada") == RECAP


def test_somebody_erased_while_their_model_hangs_holds_no_place(
    works: Workplace, hanging: Hanging, run: Run, after: Callable[[float], None]
) -> None:
    from storage.erase import erase

    ids = works.ended("ada", "bob")
    works.queue.send([Message(batch_of(ids))])
    run(conversation_summarizer=hangs_about("ada", hanging), concurrency=1)
    hanging.wait_until_asked()
    with works.app.of(user="ada").read() as stores:
        owner = stores.owners[0]
    erase(works.app.database, owner)
    after(PATIENCE)
    eventually(lambda: works.queue.waiting() == 0)
    assert works.job(ids[1]).outcome == "updated"


def test_a_worker_wants_some_patience(works: Workplace) -> None:
    for wrong in (0, -1):
        with pytest.raises(InvalidInput):
            works.worker(patience=wrong)


class Ended:
    """What was ended, and how."""

    def __init__(self) -> None:
        self.all: list[tuple[str, bool]] = []

    def __call__(self, delivery: Delivery, handled: bool) -> None:
        self.all.append((delivery.receipt, handled))


def test_what_may_go_on_keeps_its_place_and_counts_as_it_ends(timer: Timer, hanging: Hanging) -> None:
    ended = Ended()
    turns = Turns(1, ended, timer=timer)
    turns.take(Delivery({}, "slow", 1, None), [lambda: hanging.hang() or True])  # type: ignore[func-returns-value]
    hanging.wait_until_asked()
    timer.pass_by(PATIENCE)
    turns.give_up(PATIENCE)
    assert ended.all == []
    hanging.may_answer.set()
    assert turns.idle(SECONDS)
    assert ended.all == [("slow", True)]
    turns.stop(0)


def test_what_could_not_be_recorded_counts_as_not_handled_and_counts_once(timer: Timer, hanging: Hanging) -> None:
    def cannot() -> bool:
        raise DatabaseUnavailable

    ended, done = Ended(), threading.Event()
    turns = Turns(1, ended, timer=timer)
    slow = [lambda: hanging.hang() or True]  # type: ignore[func-returns-value]
    turns.take(Delivery({}, "slow", 1, None), slow, lambda _: cannot)
    turns.take(Delivery({}, "next", 1, None), [lambda: done.set() or True])  # type: ignore[func-returns-value]
    hanging.wait_until_asked()
    timer.pass_by(PATIENCE - 1)
    turns.give_up(PATIENCE)
    assert not done.is_set()
    timer.pass_by(1)
    turns.give_up(PATIENCE)
    assert done.wait(SECONDS)
    assert turns.idle(SECONDS)
    hanging.let_go()
    assert sorted(ended.all) == [("next", True), ("slow", False)]
    turns.stop(0)
