import pytest

from memory_tools.memory import Memory, UserMemory
from storage.database import Database


@pytest.fixture
def memory(database: Database) -> Memory:
    return Memory(database)


@pytest.fixture
def person(memory: Memory) -> UserMemory:
    return memory.of(user="ada")
