"""The names that `usermemory` hands on, and the two functions of seed 001."""

from collections.abc import Callable
from pathlib import Path

import pytest

import usermemory
from memory_tools.memory import Memory
from storage import errors
from storage.database import Database
from tests.contents import Contents
from usermemory import NoIdentity, NotFound, VersionConflict, reconstruct_memory, save_new_snapshot


def test_every_public_name_is_there_and_listed() -> None:
    for name in usermemory.__all__:
        assert getattr(usermemory, name).__name__ == name
    assert set(usermemory.__all__) <= set(dir(usermemory))


def test_every_error_is_public() -> None:
    defined = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.UserMemoryError)
    }
    assert defined <= set(usermemory.__all__)


def test_another_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="no attribute 'remember_everything'"):
        _ = usermemory.remember_everything


def test_the_version_is_that_of_the_distribution() -> None:
    assert usermemory.__version__[0].isdigit()


def test_the_example_of_the_design_works(tmp_path: Path) -> None:
    with usermemory.Memory.open(f"sqlite:///{tmp_path / 'memory.db'}") as memory:
        ada = memory.of(user="ada")
        ada.items.set("prefs", "tone", "warm")
        for summary in ("a", "b", "c", "d"):
            ada.document.append({"summary": summary})
        assert ada.document.as_of(3).document["summary"] == "c"


def test_a_snapshot_saved_is_the_memory_reconstructed(database: Database) -> None:
    memory = Memory(database)
    first = save_new_snapshot(memory, "ada", [{"op": "add", "path": "/summary", "value": "a"}])
    second = save_new_snapshot(memory, "ada", [{"op": "replace", "path": "/summary", "value": "b"}], expected_version=1)
    assert (first.version, second.version) == (1, 2)
    assert reconstruct_memory(memory, "ada") == {"version": 2, "last_updated_by": "user", "summary": "b"}
    assert reconstruct_memory(memory, "ada", 1)["summary"] == "a"
    assert reconstruct_memory(memory, "ada", version=0) == {}
    assert reconstruct_memory(memory, "ada", organization="clinic") == {}


def test_a_stale_snapshot_is_a_conflict(database: Database) -> None:
    memory = Memory(database)
    for value in ("a", "b"):
        save_new_snapshot(memory, "ada", [{"op": "add", "path": "/summary", "value": value}])
    with pytest.raises(VersionConflict):
        save_new_snapshot(memory, "ada", [{"op": "add", "path": "/summary", "value": "c"}], expected_version=1)


def test_the_same_idempotency_key_saves_once(database: Database) -> None:
    memory = Memory(database)
    patch = [{"op": "add", "path": "/summary", "value": "a"}]
    assert save_new_snapshot(memory, "ada", patch, idempotency_key="k") == save_new_snapshot(
        memory, "ada", patch, idempotency_key="k"
    )
    assert reconstruct_memory(memory, "ada")["version"] == 1


def test_a_user_nobody_has_met_reads_empty_and_is_not_made(
    database: Database, contents: Callable[[], Contents]
) -> None:
    before = contents()
    memory = Memory(database)
    assert reconstruct_memory(memory, "stranger") == {}
    with pytest.raises(NotFound):
        reconstruct_memory(memory, "stranger", 1)
    with pytest.raises(NoIdentity):
        reconstruct_memory(memory, None)
    assert contents() == before


def test_a_phone_alone_names_somebody_too(database: Database) -> None:
    memory = Memory(database)
    save_new_snapshot(memory, None, [{"op": "add", "path": "/summary", "value": "a"}], phone="+1234567890")
    assert reconstruct_memory(memory, None, phone="+1234567890")["summary"] == "a"
