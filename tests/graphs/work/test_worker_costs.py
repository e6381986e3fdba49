"""What the worker's jobs cost is counted once, also where they fail or are given back."""

import pytest

from graphs.testing import ScriptedChatModel, said
from graphs.work.prices import Prices
from storage.errors import DatabaseUnavailable
from storage.work.batches import get_batch
from tests.graphs.workers import QUIET, Workplace, conversation_id, memory_of


def test_what_a_failure_cost_is_counted(works: Workplace) -> None:
    ids = works.ended("ada")
    batch = works.upkeep.conversations_ended()
    assert batch is not None
    works.worker(model=ScriptedChatModel.of(said("no"), said("no"), said("no")), prices=Prices(1, 1)).drain()
    assert works.job(ids[0]).error == "summarizer_failed"
    done = get_batch(works.memory.database, batch.id)
    assert (done.input_tokens, done.output_tokens, done.cost_micros) == (30, 15, 45)
    assert (done.failed, done.waiting) == (1, 0)


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
