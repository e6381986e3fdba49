"""A worker that stops ends what it can in its grace and gives back the rest; what ends later does not count."""

import threading
from typing import Any

import pytest

from graphs.testing import ScriptedChatModel
from storage.errors import NotFound
from storage.work.queue import Message
from tests.graphs.summarizers import Gate
from tests.graphs.workers import QUIET, RECAP, SECONDS, Running, Workplace, batch_of, conversation_id, memory_of


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
