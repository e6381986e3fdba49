import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from blockbuster import blockbuster_ctx

from memory_tools.memory import Memory, UserMemory
from storage.database import Database
from tests.clock import Clock
from tests.graphs.agents import Run
from tests.graphs.workers import Workplace
from tests.statement_guard import watch


@pytest.fixture
def memory(database: Database) -> Memory:
    return Memory(database)


@pytest.fixture
def person(memory: Memory) -> UserMemory:
    return memory.of(user="ada")


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest) -> Run:
    """Invoke a graph in one way or the other; on the event loop nothing may block."""
    if request.param == "sync":
        return lambda agent, *given, **by: agent.invoke(*given, **by)

    def on_a_loop(agent: Any, *given: Any, **by: Any) -> dict[str, Any]:
        async def once() -> dict[str, Any]:
            with blockbuster_ctx():
                answered: dict[str, Any] = await agent.ainvoke(*given, **by)
                return answered

        return asyncio.run(once())

    return on_a_loop


@pytest.fixture
def ada(memory: Memory) -> UserMemory:
    """Somebody of whom a little is known."""
    person = memory.of(user="ada")
    person.document.append({"summary": "Ada plays chess.", "safety_notes": "No nuts."})
    return person


@pytest.fixture
def works(database: Database, database_url: str, clock: Clock, request: pytest.FixtureRequest) -> Iterator[Workplace]:
    """A database with everything that a worker needs, and a clock that the test moves."""
    workers_url = request.getfixturevalue("worker_url") if database.on_postgresql else database_url
    with (
        Memory.open(database_url, clock=clock) as app,
        Memory.open(workers_url, clock=clock) as memory,
        watch(app.database.engine),
        watch(memory.database.engine),
    ):
        yield Workplace(app, memory, clock)
