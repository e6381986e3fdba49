"""Somebody erased while work is found and sent keeps nobody else out of it."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime

import pytest
import sqlalchemy as sa

from memory_tools import upkeep as module
from memory_tools.memory import Memory
from memory_tools.upkeep import ACTIVE_WITHIN, Upkeep
from storage.database import Database
from storage.erase import erase
from storage.errors import Conflict, Erased
from storage.transaction import Work
from storage.work.batches import get_batch
from storage.work.eligible import ON_ITS_WAY, Subject, active_people
from storage.work.queue import Message, Queue
from storage.work.sql_queue import SqlQueue
from tests.clock import Clock
from tests.conftest import waits_for_a_lock
from tests.memory_tools.upkeeps import owner_of, taken, talk


@pytest.fixture
def memory(clocked_worker: Database) -> Memory:
    return Memory(clocked_worker)


def test_a_batch_of_the_erased_is_finished(memory: Memory, upkeep: Upkeep, clock: Clock) -> None:
    talk(memory, "ada")
    batch = upkeep.daily()
    assert batch is not None
    erase(memory.database, owner_of(memory, "ada"))
    upkeep.resume()
    ended = get_batch(memory.database, batch.id)
    assert (ended.skipped, ended.waiting, ended.finished_at) == (1, 0, clock.now)


def test_somebody_erased_at_that_very_moment_keeps_nobody_else_out(
    memory: Memory, upkeep: Upkeep, queue: Queue, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for user in ("ada", "bob"):
        talk(memory, user)
    erased = owner_of(memory, "ada")

    def find_and_lose(database: Database, *, since: datetime, organization: str | None) -> list[Subject]:
        found = active_people(database, since=since, organization=organization)
        if erased in [each.id for each in found]:
            erase(database, erased)
        return found

    monkeypatch.setattr(module, "active_people", find_and_lose)
    batch = upkeep.daily(clock.now)
    assert batch is not None
    assert batch.total == 1
    assert [body["owner_id"] for body in taken(queue)] == [str(owner_of(memory, "bob"))]
    monkeypatch.setattr(module, "active_people", lambda *_, **__: [Subject(erased, erased, "default")])
    with pytest.raises(Erased):
        upkeep.daily()


class Interrupted(SqlQueue):
    """A queue to which nothing is sent before an erasure of somebody waits for what the sender holds."""

    def __init__(self, database: Database, begin: Callable[[], object]) -> None:
        super().__init__(database)
        self._begin: Callable[[], object] | None = begin

    def send_within(self, work: Work | sa.Connection, messages: Sequence[Message]) -> None:
        """Let the erasure begin, and send."""
        begin, self._begin = self._begin, None
        if begin is not None:
            begin()
        super().send_within(work, messages)


@pytest.mark.parametrize("again", [False, True])
def test_an_erasure_and_those_who_find_work_do_not_fail_each_other(
    memory: Memory, clock: Clock, administrator: sa.Engine, again: bool
) -> None:
    for user in ("ada", "bob"):
        talk(memory, user)
    erased = owner_of(memory, "ada")
    Upkeep(memory, SqlQueue(memory.database)).daily()
    clock.move(2 * ON_ITS_WAY.total_seconds())
    with ThreadPoolExecutor() as pool:

        def begin() -> None:
            erasing.append(pool.submit(erase, memory.database, erased))
            while memory.database.on_postgresql and not erasing[0].done() and not waits_for_a_lock(administrator):
                pass

        erasing: list[Future[None]] = []
        upkeep = Upkeep(memory, Interrupted(memory.database, begin))
        if again:
            upkeep.resume()
        else:
            upkeep.daily()
        erasing[0].result()
    everyone = active_people(memory.database, since=clock.now - ACTIVE_WITHIN)
    assert [each.id for each in everyone] == [owner_of(memory, "bob")]


def test_who_finds_work_looks_again_where_the_database_preferred_somebody_else(memory: Memory, clock: Clock) -> None:
    talk(memory, "ada")

    def begin() -> None:
        raise Conflict

    batch = Upkeep(memory, Interrupted(memory.database, begin)).daily()
    assert batch is not None
    clock.move(2 * ON_ITS_WAY.total_seconds())
    assert Upkeep(memory, Interrupted(memory.database, begin)).resume() == 1
