"""What models are paid for: it is on record whatever becomes of the answer, and not bought again without limit."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import psycopg
import pytest
from tenacity import wait_none

from graphs.asking import charge, paid
from graphs.testing import Answer, ScriptedChatModel, said
from graphs.work.prices import Prices
from storage.provenance import TokenUsage
from storage.work.batches import get_batch
from storage.work.job_store import JobKind
from tests.graphs.paying import TEA, begun, disk, job, paid_for, remembered
from tests.graphs.workers import Workplace

DAY = 86_400

KEPT_IN = {"conversation": "conversation_memories", "person": "cursors"}
"""The table that an answer is kept in, or what else is written with it."""

KINDS = pytest.mark.parametrize("kind", ["conversation", "person"])


@pytest.fixture(autouse=True)
def without_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that cannot be stored is tried once."""
    monkeypatch.setattr("graphs.storing.STORING_SECONDS", 0)


@KINDS
def test_an_answer_that_cannot_be_stored_counts_as_an_attempt_and_is_on_record(works: Workplace, kind: JobKind) -> None:
    person, subject, batch = begun(works, kind)
    with disk(works, KEPT_IN[kind]) as full:
        model = ScriptedChatModel.of(full.fill, said(TEA))
        worker = works.worker(model=model, prices=Prices(1, 2))
        worker.drain()
        failed = job(works, kind, subject)
        assert (failed.state, failed.attempts, failed.error) == ("waiting", 1, "database_unavailable")
        assert failed.next_attempt_at is not None
        assert failed.next_attempt_at > works.clock.now
        assert paid_for(works, batch) == (10, 5, 20)
        works.upkeep.resume()
        worker.drain()
        assert len(model.prompts) == 1
    works.clock.move(DAY)
    works.upkeep.resume()
    worker.drain()
    assert remembered(person, kind) == "Tea."
    assert paid_for(works, batch) == (20, 10, 40)


@KINDS
def test_nothing_is_bought_while_what_was_paid_is_not_on_record(works: Workplace, kind: JobKind) -> None:
    works.say("bob", "I am Bob.", conversation="call-2")
    _, subject, batch = begun(works, kind)
    with disk(works, "jobs") as full:
        model = ScriptedChatModel.of(full.fill, *[said(TEA)] * 5)
        worker = works.worker(model=model, concurrency=1)
        for _ in range(3):
            worker.drain()
            works.clock.move(DAY)
        assert len(model.prompts) == 1
        assert paid_for(works, batch) == (0, 0, 0)
        refused = full.refused
        full.full = False
        worker.drain()
    assert refused >= 3
    first = [each for each in (job(works, kind, each) for each in _subjects(works, kind)) if each.attempts]
    assert [each.attempts for each in first] == [1]
    assert paid_for(works, batch)[0] == 20
    assert len(model.prompts) == 2
    assert subject in _subjects(works, kind)


def _subjects(works: Workplace, kind: JobKind) -> list[UUID]:
    people = [works.app.of(user=user) for user in ("ada", "bob")]
    if kind == "conversation":
        return [each.id for person in people for each in person.conversations.all().entries]
    found = []
    for person in people:
        with person.read() as stores:
            found.append(stores.owners[0])
    return found


@KINDS
def test_a_database_that_is_away_for_a_while_costs_no_second_answer(
    works: Workplace, kind: JobKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graphs.storing.STORING_SECONDS", 60)
    monkeypatch.setattr("graphs.storing.wait_random_exponential", lambda **_: wait_none())
    person, subject, batch = begun(works, kind)
    with disk(works, KEPT_IN[kind]) as full:
        full.limit = 10
        works.worker(model=ScriptedChatModel.of(full.fill)).drain()
    assert full.refused == 10
    assert remembered(person, kind) == "Tea."
    assert (job(works, kind, subject).state, job(works, kind, subject).attempts) == ("done", 0)
    assert paid_for(works, batch)[0] == 10


@KINDS
@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)  # SQLite knows no such conflicts
def test_a_transaction_in_the_way_costs_no_second_answer(
    works: Workplace, kind: JobKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graphs.storing.STORING_SECONDS", 30)
    person, subject, batch = begun(works, kind)
    with disk(works, KEPT_IN[kind]) as crowd:
        crowd.error, crowd.limit = psycopg.errors.DeadlockDetected, 2
        works.worker(model=ScriptedChatModel.of(crowd.fill)).drain()
    assert crowd.refused == 2
    assert remembered(person, kind) == "Tea."
    assert job(works, kind, subject).attempts == 0
    assert paid_for(works, batch)[0] == 10


@KINDS
def test_what_is_switched_off_while_the_model_thinks_is_not_kept_and_was_paid(works: Workplace, kind: JobKind) -> None:
    person, subject, batch = begun(works, kind)

    def switched_off(_: Any) -> Answer:
        works.memory.configurations.set({"enabled": False})
        return said(TEA)

    works.worker(model=ScriptedChatModel.of(switched_off)).drain()
    assert remembered(person, kind) is None
    ended = job(works, kind, subject)
    assert (ended.state, ended.outcome, ended.input_tokens) == ("done", "skipped", 10)
    found = get_batch(works.memory.database, batch.id)
    assert (found.skipped, found.waiting, found.input_tokens) == (1, 0, 10)
    works.memory.configurations.set({"enabled": True})
    with person.read() as stores:
        assert stores.cursors.seen("document") == 0


@KINDS
def test_no_further_round_is_asked_for_once_memory_is_switched_off(
    works: Workplace, kind: JobKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graphs.recaps.TRANSCRIPT_MESSAGES", 1)
    monkeypatch.setattr("graphs.batch.BATCH_MESSAGES", 1)
    person, subject, batch = begun(works, kind, "One.", "Two.", "Three.")
    real: Callable[..., Any] = type(works.memory.configurations).effective
    model = ScriptedChatModel.of(said(TEA), said(TEA), said(TEA))

    def off_after_one(self: Any, *given: Any, **by: Any) -> Any:
        if len(model.prompts) == 1 and remembered(person, kind) is not None:
            works.memory.configurations.set({"enabled": False})
        return real(self, *given, **by)

    monkeypatch.setattr(type(works.memory.configurations), "effective", off_after_one)
    works.worker(model=model).drain()
    assert len(model.prompts) == 1
    assert remembered(person, kind) == "Tea."
    assert job(works, kind, subject).outcome == "skipped"
    assert paid_for(works, batch)[0] == 10


@KINDS
def test_what_was_paid_before_the_model_itself_failed_is_on_record(works: Workplace, kind: JobKind) -> None:
    _, subject, batch = begun(works, kind)
    works.worker(model=ScriptedChatModel.of(said("no"), ValueError("I drink tea."))).drain()
    failed = job(works, kind, subject)
    assert (failed.attempts, failed.error, failed.input_tokens, failed.output_tokens) == (1, "value_error", 10, 5)
    assert paid_for(works, batch)[:2] == (10, 5)


def test_what_was_paid_before_the_loop_itself_tries_again_is_on_record(works: Workplace) -> None:
    person, _, batch = begun(works, "person")
    model = ScriptedChatModel.of(said("no"), ConnectionError(), said("no"), said(TEA))
    works.worker(model=model).drain()
    assert remembered(person, "person") == "Tea."
    assert paid_for(works, batch)[:2] == (30, 15)


@KINDS
def test_what_a_late_worker_paid_counts_where_the_effect_does_not(works: Workplace, kind: JobKind) -> None:
    person, subject, batch = begun(works, kind)

    def too_late(_: Any) -> Answer:
        works.clock.move(DAY)
        works.upkeep.resume()
        works.worker(model=ScriptedChatModel.of(said('{"summary": "In time."}'))).drain()
        return said('{"summary": "Late."}')

    works.worker(model=ScriptedChatModel.of(too_late), visibility=600, prices=Prices(1, 1)).drain()
    assert remembered(person, kind) == "In time."
    found = get_batch(works.memory.database, batch.id)
    assert (found.updated, found.input_tokens, found.output_tokens, found.cost_micros) == (1, 20, 10, 15)
    assert job(works, kind, subject).input_tokens == 20


def test_any_error_can_say_what_was_paid_before_it() -> None:
    class Stubborn(Exception):
        __slots__ = ()

        def __setattr__(self, name: str, value: object) -> None:
            raise TypeError("this error is frozen")

        @property
        def tokens(self) -> int:
            return 7

    for error in (Stubborn(), ValueError(), SystemExit()):
        assert paid(error) is None
        charge(error, TokenUsage(10, 5))
        assert paid(error) == TokenUsage(10, 5)
