from collections.abc import Iterator
from typing import Any

import pytest
from mcp import Client
from mcp.server import MCPServer

from mcp_server import create_server
from memory_tools.memory import Memory, UserMemory
from storage.database import Database
from tests.memories import memory_over

ERAS = ("legacy", "2026-07-28")
"""The revisions of the protocol that begin with a handshake, and the one that has none."""

UNPACED = "1000000/second"
"""For tests that are not about the pace."""


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def open_memory() -> Iterator[Memory]:
    """One memory for all tests of a module: for those that are about the app and not about what is kept."""
    with Memory.open("sqlite://", through="mcp") as opened:
        yield opened


@pytest.fixture
def memory(database: Database) -> Iterator[Memory]:
    """An open memory on an empty database, once on each."""
    yield from memory_over(database, "mcp")


@pytest.fixture
def person(memory: Memory) -> UserMemory:
    """What the server serves, asked through Python."""
    return memory.of(user="ada")


@pytest.fixture
def server(memory: Memory, person: UserMemory) -> MCPServer[Any]:
    """A server bound to ada, with all tools."""
    return create_server(memory, person=person, pace=UNPACED)


@pytest.fixture
def client(server: MCPServer[Any], era: str) -> Client:
    """A client of that server in this process, once in each era; to be entered by the test: `async with client:`."""
    return Client(server, mode=era)
