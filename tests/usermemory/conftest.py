import os
from pathlib import Path
from shutil import copy

import pytest

from memory_tools.memory import Memory, UserMemory
from storage.database import Database
from tests.usermemory.cli import Cli


@pytest.fixture(autouse=True)
def nothing_of_the_developer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may have a memory of their own."""
    for name in [name for name in os.environ if name.startswith("USERMEMORY_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def cli(database: Database, database_url: str) -> Cli:
    """The command line for ada, on an empty database."""
    return Cli(database_url, "ada")


@pytest.fixture
def workers_url(database: Database, database_url: str, request: pytest.FixtureRequest) -> str:
    """The URL of the same database for a worker."""
    return str(request.getfixturevalue("worker_url")) if database.on_postgresql else database_url


@pytest.fixture
def operator(workers_url: str) -> Cli:
    """The command line for an operator, about nobody in particular."""
    return Cli(workers_url)


@pytest.fixture
def person(database: Database) -> UserMemory:
    """The same memory of ada, asked through Python."""
    return Memory(database).of(user="ada")


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty, migrated SQLite file to copy."""
    path = tmp_path_factory.mktemp("migrated") / "memory.db"
    Database.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def on_sqlite(migrated_file: Path, tmp_path: Path) -> Cli:
    """The command line for ada on an empty database of her own, where it does not matter which."""
    return Cli(f"sqlite:///{copy(migrated_file, tmp_path)}", "ada")
