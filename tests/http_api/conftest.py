from collections.abc import Iterator

import pytest

from memory_tools.memory import Memory
from storage.database import Database
from tests.memories import memory_over


@pytest.fixture(scope="module")
def open_memory() -> Iterator[Memory]:
    """One memory for all tests of a module: for those that are about the app and not about what is kept."""
    with Memory.open("sqlite://", through="http") as opened:
        yield opened


@pytest.fixture
def memory(database: Database) -> Iterator[Memory]:
    """An open memory on an empty database, once on each."""
    yield from memory_over(database, "http")


@pytest.fixture
def operator_memory(operators_database: Database) -> Iterator[Memory]:
    """The same memory as an operator opens it: by the worker's URL."""
    yield from memory_over(operators_database, "http")
