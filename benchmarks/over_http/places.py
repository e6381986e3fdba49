"""Places: new databases of each kind, with people who have some items, for servers and for Python to work on."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from benchmarks.over_mcp.running import cpu_of
from memory_tools.keys import ApiKeys
from memory_tools.memory import Memory
from storage.json_types import Json
from storage.migrate import migrate
from tests.postgres import Cluster, running_cluster

PERSON: Final = "bench"
"""Whose memory is measured."""

NAMESPACE: Final = "prefs"
"""Where the items are that are read and written one by one."""

ITEMS: Final = 50
"""How many of them there are."""

LISTED: Final = "icebreakers"
"""The namespace that is listed."""

LISTED_ITEMS: Final = 5
"""How many items one list has."""

PEOPLE: Final = 20
"""People who ask at once, each with a key."""


def value_of(number: int) -> Json:
    """Return a small value, another one each time."""
    return {"tone": "warm", "language": "en", "note": "x" * 60, "number": number}


@dataclass(frozen=True, slots=True)
class Filled:
    """One database with items in it, and keys of people who have some."""

    url: str
    tokens: Sequence[str]
    """The first one is of PERSON."""


@dataclass
class Place:
    """Room for databases of one kind."""

    name: str
    folder: Path
    cluster: Cluster | None = None
    made: int = 0

    def empty(self) -> str:
        """Return the application's URL of a new database."""
        self.made += 1
        if self.cluster is not None:
            return migrate(self.cluster.new_database())
        return f"sqlite:///{self.folder / f'{self.made}.db'}"

    def workers(self, url: str) -> str:
        """Return the worker's URL of a database."""
        return url.replace("usermemory_app@", "usermemory_worker@")

    def filled(self) -> Filled:
        """Return a new database with items in it."""
        url = self.empty()
        people = [PERSON, *(f"{PERSON}-{number}" for number in range(1, PEOPLE))]
        with Memory.open(url) as memory:
            for user in people:
                with memory.of(user=user).begin() as stores:
                    for number in range(ITEMS):
                        stores.items.set(NAMESPACE, f"key-{number}", value_of(number))
                    for number in range(LISTED_ITEMS):
                        stores.items.set(LISTED, f"key-{number}", value_of(number))
        with Memory.open(self.workers(url)) as memory:
            return Filled(url, [ApiKeys(memory).create(user=user).token for user in people])

    def cpu(self) -> float:
        """Return the seconds of CPU of the database's own processes that are alive, to the nanosecond."""
        if self.cluster is None:
            return 0.0
        postmaster, total = psutil.Process(self.cluster.pid), 0.0
        for process in (postmaster, *postmaster.children(recursive=True)):
            try:
                total += cpu_of(process.pid)
            except ProcessLookupError:
                continue
        return total


@contextmanager
def places(folder: Path, *, durable: bool) -> Generator[Sequence[Place]]:
    """Yield room for SQLite files and a PostgreSQL cluster, the latter without fsync where it is not durable."""
    folder.mkdir(exist_ok=True)
    with running_cluster("" if durable else "fsync = off\n") as cluster:
        yield Place("SQLite", folder), Place("PostgreSQL", folder, cluster)
