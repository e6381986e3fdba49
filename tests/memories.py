"""Memories over a database that a fixture has opened, and closes."""

from collections.abc import Iterator

from memory_tools.memory import Memory
from storage.database import Database


def memory_over(database: Database, through: str) -> Iterator[Memory]:
    """Yield a memory whose threads end when the test does: `yield from` it in a fixture."""
    opened = Memory(database, through=through)
    yield opened
    opened.threads.close()
