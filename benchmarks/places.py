"""Places to measure in: ours and LangGraph's store side by side, on SQLite files and on one PostgreSQL cluster."""

import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from langgraph.store.base import BaseStore
from langgraph.store.postgres import PostgresStore
from langgraph.store.sqlite import SqliteStore
from psycopg.rows import dict_row

from benchmarks.measuring import Server
from memory_tools import Memory, UserMemory
from storage.migrate import migrate
from storage.settings import DatabaseSettings
from tests.postgres import running_cluster


@dataclass
class Place:
    """One database: our memory of one person, LangGraph's store, a plain driver connection, and the server if any."""

    name: str
    memory: Memory
    person: UserMemory
    store: BaseStore
    plain: Any
    server: Server | None
    url: str


@contextmanager
def sqlite_place(*, durable: bool = False) -> Iterator[Place]:
    """Two files in WAL mode; fsync on both sides or on neither."""
    synchronous = "FULL" if durable else "OFF"
    with tempfile.TemporaryDirectory(prefix="usermemory-bench-") as folder:
        url = f"sqlite:///{Path(folder) / 'ours.db'}"
        theirs = _plain_sqlite(Path(folder) / "theirs.db", synchronous)
        store = SqliteStore(theirs)
        store.setup()
        plain = _plain_sqlite(Path(folder) / "plain.db", synchronous)
        with Memory.open(url, settings=DatabaseSettings(synchronous="FULL" if durable else "OFF")) as memory:
            yield Place("SQLite", memory, memory.of(user="ada"), store, plain, None, url)
        theirs.close()
        plain.close()


@contextmanager
def postgresql_place(*, durable: bool = False) -> Iterator[Place]:
    """Two databases of one cluster; fsync on both sides or on neither. Ours with row security, theirs without."""
    with running_cluster("" if durable else "fsync = off\n") as cluster:
        url = migrate(cluster.new_database())
        theirs = psycopg.connect(cluster.new_database(), autocommit=True, prepare_threshold=0, row_factory=dict_row)
        store = PostgresStore(theirs)
        store.setup()
        plain = psycopg.connect(cluster.new_database(), autocommit=True)
        with Memory.open(url) as memory:
            yield Place("PostgreSQL", memory, memory.of(user="ada"), store, plain, Server(cluster.pid), url)
        theirs.close()
        plain.close()


def _plain_sqlite(file: Path, synchronous: str) -> sqlite3.Connection:
    connection = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    return connection
