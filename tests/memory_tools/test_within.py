from uuid import UUID, uuid4

import pytest

from memory_tools.memory import Memory
from memory_tools.within import Within
from storage.database import Database
from storage.directory import find
from storage.erase import erase
from storage.errors import Erased, IdempotencyKeyReused, NotFound
from storage.identity import Identity
from storage.json_types import Json


@pytest.fixture
def memory(database: Database) -> Memory:
    return Memory(database)


def test_what_is_done_within_a_transaction_is_kept_or_undone_with_it(memory: Memory) -> None:
    ada = memory.of(user="ada")

    def set_and_fail() -> None:
        with ada.begin() as stores:
            Within(ada, stores).items.set("prefs", "tone", "warm")
            Within(ada, stores).items.get("prefs", "mood")

    with pytest.raises(NotFound, match="mood"):
        set_and_fail()
    assert find(memory.database, Identity.of(user="ada")) is None
    with ada.begin() as stores:
        assert Within(ada, stores).items.all().entries == ()
        Within(ada, stores).items.push("tips", "recent", "tea")
        Within(ada, stores).document.append({"summary": "Drinks tea."})
    assert ada.items.get("tips", "recent").value == ["tea"]
    assert ada.document.current().document["summary"] == "Drinks tea."


def test_a_key_answers_the_same_request_once(memory: Memory) -> None:
    ada = memory.of(user="ada")

    def push(value: str) -> tuple[Json, bool]:
        with ada.begin() as stores:
            done = stores.once(
                "key-1", {"push": value}, lambda: Within(ada, stores).items.push("tips", "recent", value).value
            )
            return done.answer, done.again

    assert push("tea") == (["tea"], False)
    assert push("tea") == (["tea"], True)
    with pytest.raises(IdempotencyKeyReused):
        push("coffee")
    assert ada.items.get("tips", "recent").value == ["tea"]


class TestByOwner:
    def test_a_job_reaches_a_person_by_the_owner_alone(self, memory: Memory, ada: UUID) -> None:
        by_owner = memory.of_owner(ada, "default")
        by_owner.items.set("prefs", "tone", "warm")
        by_owner.document.append({"summary": "Drinks tea."})
        assert memory.of(user="ada").items.get("prefs", "tone").value == "warm"
        assert by_owner.document.current().version == 1

    def test_nobody_is_made_by_an_owner_who_is_not_there(self, memory: Memory, ada: UUID) -> None:
        with pytest.raises(NotFound):
            memory.of_owner(uuid4(), "default").items.set("prefs", "tone", "warm")
        erase(memory.database, ada)
        with pytest.raises(Erased):
            memory.of_owner(ada, "default").items.set("prefs", "tone", "warm")
