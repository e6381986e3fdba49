"""What becomes of a job that failed: what it left behind, how often it is tried, and what the log says of it."""

import asyncio
import logging
from typing import Any
from uuid import UUID

import pytest

from graphs.recap import Recap, Transcript
from graphs.testing import Answer, ScriptedChatModel, refused, said, truncated
from graphs.update import update_memory
from memory_tools.memory import UserMemory
from storage.errors import NotFound, SummarizerFailed
from storage.limits import DOCUMENT_LIMIT
from storage.work.batches import get_batch
from storage.work.job_store import JobKind
from storage.work.jobs import Job, dead_jobs, get_job, retry
from storage.work.queue import Message
from tests.graphs.workers import QUIET, RECAP, Workplace, batch_of, conversation_id

DAY = 86_400

GARBAGE = ("no", "no", "no")
"""What a broken model says to one question."""


def owner_of(person: UserMemory) -> UUID:
    with person.read() as stores:
        return stores.owners[0]


def update(works: Workplace, *answers: Answer) -> Any:
    """Do the daily job with a model that says this, and nothing more; its batch comes back."""
    batch = works.upkeep.daily()
    assert batch is not None
    work(works, *answers)
    return get_batch(works.memory.database, batch.id)


def work(works: Workplace, *answers: Answer) -> None:
    model = ScriptedChatModel.of(*answers)
    works.worker(model=model).drain()
    assert model.left == 0


def retried(works: Workplace, kind: JobKind, subject: UUID, *answers: Answer) -> Job:
    retry(works.memory.database, kind, subject)
    works.upkeep.resume()
    work(works, *answers)
    return get_job(works.memory.database, kind, subject)


def noting(seen: list[str], answer: Answer) -> Answer:
    """Give this answer, and keep what was asked."""

    def note(prompt: object) -> Answer:
        seen.append(str(prompt))
        return answer

    return note


def dead(works: Workplace) -> list[tuple[UUID, str | None]]:
    return [(job.subject, job.error) for job in dead_jobs(works.memory.database).entries]


def summary(person: UserMemory) -> Any:
    return person.document.current().document.get("summary")


def test_what_a_broken_model_passed_over_is_learnt_by_a_retry(works: Workplace) -> None:
    person = works.say("ada", "I drink tea.")
    assert update(works, *GARBAGE).failed == 1
    owner = owner_of(person)
    assert dead(works) == [(owner, "summarizer_failed")]
    seen: list[str] = []
    job = retried(works, "person", owner, noting(seen, {"summary": "Tea."}))
    assert "I drink tea." in seen[0]
    assert (job.state, job.outcome, summary(person)) == ("done", "updated", "Tea.")
    assert dead(works) == []
    with pytest.raises(NotFound):
        retry(works.memory.database, "person", owner)


def test_what_somebody_else_went_back_to_is_not_dead_any_more(works: Workplace) -> None:
    person = works.say("ada", "I drink tea.")
    update(works, *GARBAGE)
    assert [error for _, error in dead(works)] == ["summarizer_failed"]
    person.change(lambda stores: stores.cursors.go_back())
    assert update_memory(person, model=ScriptedChatModel.of({"summary": "Tea."})).status == "saved"
    assert dead(works) == []


def test_a_good_day_with_nothing_new_does_not_hide_what_was_passed_over(works: Workplace) -> None:
    person = works.say("ada", "I drink tea.")
    update(works, *GARBAGE)
    assert update(works).unchanged == 1
    owner = owner_of(person)
    assert dead(works) == [(owner, "summarizer_failed")]
    assert retried(works, "person", owner, {"summary": "Tea."}).outcome == "updated"
    assert summary(person) == "Tea."


def test_poison_does_not_keep_what_is_said_later_from_being_learnt(works: Workplace) -> None:
    person = works.say("ada", "POISON")
    update(works, *GARBAGE)
    works.say("ada", "I drink tea.")
    seen: list[str] = []
    assert update(works, noting(seen, {"summary": "Tea."})).updated == 1
    assert "POISON" not in seen[0]
    assert retried(works, "person", owner_of(person), *GARBAGE).state == "dead"
    works.say("ada", "I live in Bonn.")
    assert update(works, {"summary": "Tea in Bonn."}).updated == 1
    assert summary(person) == "Tea in Bonn."
    assert dead(works) == [(owner_of(person), "summarizer_failed")]


def test_the_messages_behind_those_that_failed_are_read_by_the_same_retry(
    works: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    import graphs.batch

    monkeypatch.setattr(graphs.batch, "BATCH_MESSAGES", 1)
    person = works.say("ada", "One.", "Two.", "Three.")
    assert update(works, {"summary": "1"}, *GARBAGE, {"summary": "1 3"}).failed == 1
    assert summary(person) == "1 3"
    seen: list[str] = []

    def learns(prompt: Any) -> dict[str, Any]:
        seen.append(str(prompt))
        return {"summary": f"1 3 {len(seen)}"}

    retried(works, "person", owner_of(person), learns, learns)
    assert ["Two." in text for text in seen] == [True, False]
    assert summary(person) == "1 3 2"


def test_a_run_that_began_before_somebody_went_back_is_overtaken(works: Workplace) -> None:
    person = works.say("ada", "I drink tea.")
    update(works, *GARBAGE)
    owner = owner_of(person)
    works.say("ada", "I live in Bonn.")

    def goes_back(_: Any) -> dict[str, Any]:
        with works.app.database.begin(owner) as stores:
            assert stores.cursors.go_back()
        return {"summary": "Bonn."}

    update(works, goes_back)
    assert summary(person) is None
    update(works, {"summary": "Tea in Bonn."})
    assert summary(person) == "Tea in Bonn."


def test_a_garbage_answer_for_a_conversation_is_paid_three_times_and_no_more(works: Workplace) -> None:
    [ada] = works.ended("ada")
    batch = works.upkeep.conversations_ended()
    assert batch is not None
    work(works, said("no"), said("no"), said("no"))
    job = works.job(ada)
    assert (job.state, job.attempts, job.error, job.input_tokens) == ("dead", 1, "summarizer_failed", 30)
    done = get_batch(works.memory.database, batch.id)
    assert (done.failed, done.waiting, done.input_tokens, done.output_tokens) == (1, 0, 30, 15)
    works.clock.move(DAY)
    assert works.upkeep.conversations_ended() is None
    assert works.upkeep.resume() == 0
    assert retried(works, "conversation", ada, RECAP).outcome == "updated"


def test_a_new_message_has_a_conversation_tried_again_that_no_model_could_read(works: Workplace) -> None:
    [ada] = works.ended("ada")
    works.queue.send([Message(batch_of([ada]))])
    work(works, *GARBAGE)
    works.clock.move(1)
    works.say("ada", "I mean it.")
    works.clock.move(QUIET)
    assert works.upkeep.conversations_ended() is not None
    work(works, RECAP)
    assert works.job(ada).outcome == "updated"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("SECRET", "not_json"),
        ("", "empty"),
        ("[]", "not_an_object"),
        ({"summary": {"SECRET": 1}}, "does_not_fit"),
        ({"summary": "SECRET" * DOCUMENT_LIMIT}, "too_large"),
        (refused("SECRET"), "refused"),
        (truncated("SECRET"), "truncated"),
        ('```json\n{"SECRET": 1}\n```\n```json\n{}\n```', "not_one_json"),
    ],
)
@pytest.mark.parametrize("kind", ["conversation", "person"])
def test_the_log_says_why_an_answer_was_of_no_use_and_not_what_it_was(
    works: Workplace, caplog: pytest.LogCaptureFixture, kind: JobKind, answer: Answer, reason: str
) -> None:
    works.say("ada", "I drink tea.")
    works.clock.move(QUIET)
    assert (works.upkeep.daily() if kind == "person" else works.upkeep.conversations_ended()) is not None
    with caplog.at_level(logging.DEBUG):
        work(works, answer, answer, answer)
    assert f"is dead (summarizer_failed: {reason}), attempt 1" in caplog.text
    assert "SECRET" not in caplog.text
    assert [error for _, error in dead(works)] == ["summarizer_failed"]


@pytest.mark.parametrize("ends", [SystemExit, asyncio.CancelledError, GeneratorExit])
@pytest.mark.parametrize("kind", ["conversation", "person"])
def test_what_would_end_a_thread_is_a_failure_of_its_job(
    works: Workplace, kind: JobKind, ends: type[BaseException]
) -> None:
    people = [works.say(user, f"I am {user}.") for user in ("ada", "bob", "eve")]
    subjects = [owner_of(each) if kind == "person" else conversation_id(each) for each in people]
    works.clock.move(QUIET)
    assert (works.upkeep.daily() if kind == "person" else works.upkeep.conversations_ended()) is not None

    class Ends:
        def summarize(self, *_: Any) -> Any:
            raise ends()

    ending: Any = Ends()
    works.worker(summarizer=ending, conversation_summarizer=ending, concurrency=1).drain()
    for subject in subjects:
        job = get_job(works.memory.database, kind, subject)
        assert (job.state, job.attempts, job.next_attempt_at is None) == ("waiting", 1, False)
    works.clock.move(DAY)
    works.upkeep.resume()
    works.worker().drain()
    for subject in subjects:
        assert get_job(works.memory.database, kind, subject).outcome == "updated"


def test_a_summarizer_of_the_hosts_that_gives_up_is_not_asked_again(works: Workplace) -> None:
    [ada] = works.ended("ada")

    class GivesUp:
        def summarize(self, conversation: Transcript) -> Recap:
            raise SummarizerFailed(f"SECRET {conversation}")

    works.queue.send([Message(batch_of([ada]))])
    giving_up: Any = GivesUp()
    works.worker(conversation_summarizer=giving_up).drain()
    assert (works.job(ada).state, works.job(ada).attempts) == ("dead", 1)
