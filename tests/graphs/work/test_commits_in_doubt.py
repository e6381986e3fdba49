"""Commits in doubt: one that was done and goes unanswered is neither done nor counted a second time."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import pytest

from graphs.testing import ScriptedChatModel, said
from graphs.work.conversation_job import ConversationJob
from storage.database import Database
from storage.errors import DatabaseUnavailable
from storage.transaction import Transaction
from storage.work.job_store import JobKind, JobStore
from tests.graphs.paying import TEA, begun, job, paid_for, remembered
from tests.graphs.workers import Workplace

DAY = 86_400


def leave_in_doubt(monkeypatch: pytest.MonkeyPatch, method: str) -> list[str]:
    """Let the commit go unanswered, once, of a transaction in which this method of the jobs was called."""
    called: list[str] = []
    unanswered: list[str] = []
    real, opened = getattr(JobStore, method), Database.transaction

    def noted(self: JobStore, *given: Any, **by: Any) -> Any:
        called.append(method)
        return real(self, *given, **by)

    @contextmanager
    def transaction(self: Database, owner: UUID, *, writes: bool) -> Generator[Transaction]:
        with opened(self, owner, writes=writes) as begun:
            yield begun
        if called and not unanswered:
            unanswered.append(method)
            raise DatabaseUnavailable

    monkeypatch.setattr(JobStore, method, noted)
    monkeypatch.setattr(Database, "transaction", transaction)
    return unanswered


@pytest.mark.parametrize("kind", ["conversation", "person"])
def test_a_job_that_ended_is_counted_once(works: Workplace, kind: JobKind, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphs.storing.STORING_SECONDS", 0)
    person, subject, batch = begun(works, kind)
    unanswered = leave_in_doubt(monkeypatch, "finish")
    model = ScriptedChatModel.of(said(TEA))
    works.worker(model=model).drain()
    assert unanswered == ["finish"]
    assert (job(works, kind, subject).state, remembered(person, kind)) == ("done", "Tea.")
    assert paid_for(works, batch)[:2] == (10, 5)


def test_a_round_that_was_kept_is_counted_once(works: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graphs.recaps.TRANSCRIPT_MESSAGES", 1)
    monkeypatch.setattr("graphs.storing.STORING_SECONDS", 60)
    _, subject, batch = begun(works, "conversation", "One.", "Two.")
    unanswered = leave_in_doubt(monkeypatch, "go_on")
    model = ScriptedChatModel.of(said(TEA), said(TEA))
    works.worker(model=model).drain()
    assert unanswered == ["go_on"]
    assert (len(model.prompts), job(works, "conversation", subject).state) == (2, "done")
    assert paid_for(works, batch)[:2] == (20, 10)


def test_an_answer_that_came_after_another_workers_was_paid_too(
    works: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    person, _, batch = begun(works, "conversation")
    real, away = ConversationJob._keep_once, [True]

    def keep_once(self: ConversationJob, *given: Any) -> None:
        if away.pop() if away else False:  # the database is away until the lease is over and somebody else has done it
            works.clock.move(DAY)
            works.upkeep.resume()
            works.worker(model=ScriptedChatModel.of(said('{"summary": "In time."}'))).drain()
            raise DatabaseUnavailable
        real(self, *given)

    monkeypatch.setattr(ConversationJob, "_keep_once", keep_once)
    works.worker(model=ScriptedChatModel.of(said(TEA)), visibility=600).drain()
    assert remembered(person, "conversation") == "In time."
    assert paid_for(works, batch)[:2] == (20, 10)
