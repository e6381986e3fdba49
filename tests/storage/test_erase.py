"""What an erasure leaves on the disk: nothing that was said, by whom or about whom."""

from pathlib import Path

import pytest

from storage.conversations import NewMessage
from storage.database import Database
from storage.directory import resolve
from storage.erase import erase
from storage.errors import Erased
from storage.identity import Identity
from storage.provenance import by_user
from storage.settings import DatabaseSettings

SECRET = "heliotrope"
"""A word that stands in everything that is kept of somebody."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for one file of SQLite and what lies beside it."""
    return tmp_path


def on_disk(folder: Path) -> int:
    """Return how often the word stands in the files, in free pages and in the log, too."""
    return sum(file.read_bytes().count(SECRET.encode()) for file in folder.iterdir())


def test_nothing_of_the_erased_stays_in_the_files_of_an_open_database(folder: Path) -> None:
    with Database.open(f"sqlite:///{folder / 'memory.db'}") as database:
        owner = resolve(database, Identity.of(user=SECRET)).owner
        with database.begin(owner) as stores:
            stores.items.set("prefs", SECRET, SECRET)
            stores.conversations.append(SECRET, [NewMessage("user", SECRET)])
            stores.conversation_memories.set(SECRET, {"summary": SECRET}, provenance=by_user)
        assert on_disk(folder)
        erase(database, owner)
        assert on_disk(folder) == 0


def test_an_erasure_waits_for_no_reader(folder: Path) -> None:
    settings = DatabaseSettings(busy_timeout=600)
    with Database.open(f"sqlite:///{folder / 'memory.db'}", settings) as database:
        owner, other = (resolve(database, Identity.of(user=user)).owner for user in (SECRET, "bob"))
        with database.read(other) as stores:
            assert stores.items.namespaces() is not None
            erase(database, owner)
        with pytest.raises(Erased), database.read(owner):
            pass
        with database.begin(other) as stores:  # the log is overwritten as soon as nobody reads it any more
            stores.items.set("prefs", "tone", "warm")
