"""What the worker makes of a message about a person: their document, brought up to date or left for later."""

import pytest

from graphs.testing import ScriptedChatModel
from storage.work.batches import get_batch
from tests.graphs.workers import Workplace


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
