"""Crashes: writers are killed and a server is stopped in the middle; what was acknowledged is there, and there once."""

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa

from memory_tools.memory import Memory, UserMemory
from storage.database import Database
from storage.directory import find
from storage.errors import DatabaseUnavailable
from storage.identity import Identity
from storage.migrate import migrate
from tests.contents import administrators_engine, proven_versions
from tests.postgres import Cluster, running_cluster
from tests.writers import Acknowledged, Options, Writers

NAMES = ("keyed-1", "plain-1", "keyed-2", "plain-2")
"""Two writers send a fact of unknown outcome again under its key, two give it up."""

SECONDS = 60
"""A writer that nobody kills ends after so long."""


def orders(folder: Path, seconds: float = SECONDS) -> list[Options]:
    """Return what each writer is to do: to go on behind what was acknowledged before."""
    return [
        {
            "name": name,
            "keyed": (keyed := name.startswith("keyed")),
            "first": max(noted(folder, name).read(), default=0) + (1 if keyed else 2),
            "acknowledged": str(noted(folder, name).path),
            "seconds": seconds,
        }
        for name in NAMES
    ]


def noted(folder: Path, name: str) -> Acknowledged:
    return Acknowledged(folder / f"{name}.acknowledged")


def wait_for(folder: Path, names: tuple[str, ...], more: int) -> None:
    """Return when each of the writers has acknowledged so many writes more."""
    wanted = {name: len(noted(folder, name).read()) + more for name in names}
    until = time.monotonic() + SECONDS
    while any(len(noted(folder, name).read()) < count for name, count in wanted.items()):
        assert time.monotonic() < until, "the writers stand still"
        time.sleep(0.005)


def owner_of_ada(database: Database) -> UUID:
    found = find(database, Identity.of(user="ada"))
    assert found is not None
    return found.owner


def check_nothing_lost_nothing_twice(administrator: sa.Engine, owner: UUID, folder: Path) -> int:
    """Compare what was acknowledged up to now with what is there, and return how much that was."""
    acknowledged = {name: noted(folder, name).read() for name in NAMES}
    documents = [json.loads(text) for text in proven_versions(administrator, owner)]
    written = [
        (name, number)
        for before, after in pairwise(documents)
        for name, number in after.items()
        if before.get(name) != number
    ]
    assert len(written) == len(documents) - 1  # each version holds one write
    for name in NAMES:
        numbers = [number for writer, number in written if writer == name]
        assert numbers == sorted(set(numbers))  # none of them twice
        for number, version in acknowledged[name].items():
            assert written[version - 2] == (name, number)  # version 1 came before the writers
    return sum(map(len, acknowledged.values()))


def test_writers_killed_on_sqlite_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'memory.db'}"
    with Memory.open(url) as memory:
        memory.of(user="ada").document.append({"start": 0})
    chance = random.Random(7)
    kills = 0
    for _ in range(6):
        writers = Writers(url, "endure", orders(tmp_path))
        pids = dict(zip(NAMES, writers.pids, strict=True))
        left = list(NAMES)
        chance.shuffle(left)
        while left:  # two at once, while the other two go on
            wait_for(tmp_path, tuple(left), chance.randint(1, 12))
            time.sleep(chance.random() / 200)
            for name in (left.pop(), left.pop()):
                os.kill(pids[name], signal.SIGKILL)
                kills += 1
        writers.end()
        with Database.open(url) as database:
            check_nothing_lost_nothing_twice(administrators_engine(url), owner_of_ada(database), tmp_path)
    assert kills >= 20
    with Memory.open(url) as memory:  # and the file is as good as new
        version = memory.of(user="ada").document.append([{"op": "add", "path": "/end", "value": 1}]).version
        owner = owner_of_ada(memory.database)
    with administrators_engine(url).connect() as connection:
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
        assert connection.exec_driver_sql("PRAGMA foreign_key_check").all() == []
    acknowledged = check_nothing_lost_nothing_twice(administrators_engine(url), owner, tmp_path)
    assert 50 < acknowledged < version


@pytest.fixture
def durable_cluster() -> Iterator[Cluster]:
    """A server of its own that writes through to the disk."""
    with running_cluster("fsync = on\nsynchronous_commit = on\nfull_page_writes = on\n") as cluster:
        yield cluster


def test_a_server_stopped_at_once_loses_nothing_that_was_acknowledged(durable_cluster: Cluster, tmp_path: Path) -> None:
    administrators_url = durable_cluster.new_database()
    url = migrate(administrators_url)
    administrator = administrators_engine(administrators_url)
    with Memory.open(url) as memory:
        survivor = memory.of(user="ada")
        survivor.document.append({"start": 0})
        owner = owner_of_ada(memory.database)
        writers = Writers(url, "endure", orders(tmp_path))
        chance = random.Random(7)
        for _ in range(6):
            wait_for(tmp_path, NAMES, chance.randint(5, 25))
            durable_cluster.stop_at_once()
            with pytest.raises(DatabaseUnavailable):
                survivor.document.current()
            durable_cluster.start_again()
            wait_for(tmp_path, NAMES, 1)
            check_nothing_lost_nothing_twice(administrator, owner, tmp_path)
        for pid in writers.pids:
            os.kill(pid, signal.SIGKILL)
        writers.end()
        assert check_nothing_lost_nothing_twice(administrator, owner, tmp_path) > 6 * 5 * len(NAMES)
        assert read_again(survivor) > 1


def read_again(person: UserMemory) -> int:
    """Return the version in force through connections that were open when the server stopped."""
    for _ in range(50):
        try:
            return person.document.current().version
        except DatabaseUnavailable:
            continue
    raise AssertionError("the connections never came back")
