from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from storage.conversation_memories import CONVERSATION_MEMORY_LIMIT, ConversationMemory
from storage.conversations import NewMessage
from storage.database import Database
from storage.erase import erase
from storage.errors import Erased, InvalidInput, InvalidJson, InvalidName, NotFound, TooLarge
from storage.provenance import Actor, Provenance, by_operator, by_user
from storage.stores import Stores
from storage.tables import conversations, owners
from tests.clock import Clock
from tests.contents import Contents

BY_A_JOB = Provenance(Actor.JOB, "worker", conversations=("call-1",), messages=(1, 2), model="m", prompt="p")


def talk(database: Database, owner: UUID, name: str = "call-1", count: int = 2) -> UUID:
    """Say something and return the id of the conversation."""
    with database.begin(owner) as stores:
        stores.conversations.append(name, [NewMessage("user", f"{name} {number}") for number in range(count)])
        return next(each.id for each in stores.conversations.all().entries if each.name == name)


def remembered_count(administrator: sa.Engine, conversation: UUID) -> int:
    with administrator.connect() as connection:
        wanted = sa.select(conversations.c.remembered_count).where(conversations.c.id == conversation)
        return int(connection.scalars(wanted).one())


def test_a_memory_comes_back_as_it_was_set(clocked: Database, ada: UUID, clock: Clock) -> None:
    conversation = talk(clocked, ada)
    data = {"summary": "Ada moved.", "numbers": [1, 1.0, 1e-05], "deep": {"a": None}}
    with clocked.begin(ada) as stores:
        kept = stores.conversation_memories.set("call-1", data, provenance=BY_A_JOB)
    assert kept == ConversationMemory(conversation, "call-1", data, 2, BY_A_JOB, clock.now, clock.now)
    with clocked.read(ada) as stores:
        assert stores.conversation_memories.get("call-1") == kept
        assert stores.conversation_memories.all().entries == (kept,)


def test_setting_again_replaces_it_and_keeps_when_it_was_created(clocked: Database, ada: UUID, clock: Clock) -> None:
    talk(clocked, ada)
    created_at = clock.now
    with clocked.begin(ada) as stores:
        stores.conversation_memories.set("call-1", {"a": 1}, provenance=by_user)
    later = clock.move(60)
    talk(clocked, ada)
    with clocked.begin(ada) as stores:
        kept = stores.conversation_memories.set("call-1", {"b": 2}, provenance=by_operator)
        assert (kept.created_at, kept.updated_at, kept.message_count) == (created_at, later, 4)
        assert stores.conversation_memories.get("call-1") == kept
        assert len(stores.conversation_memories.all().entries) == 1


def test_a_memory_covers_all_messages_unless_it_says_how_many(
    database: Database, ada: UUID, administrator: sa.Engine
) -> None:
    conversation = talk(database, ada, count=3)
    assert remembered_count(administrator, conversation) == 0
    for said, covered in ((1, 1), (None, 3), (2, 2), (3, 3)):
        with database.begin(ada) as stores:
            kept = stores.conversation_memories.set("call-1", {}, message_count=said, provenance=by_user)
        assert kept.message_count == remembered_count(administrator, conversation) == covered
    talk(database, ada, count=1)
    assert remembered_count(administrator, conversation) == 3


def test_remembering_does_not_move_a_conversation_in_the_list(clocked: Database, ada: UUID, clock: Clock) -> None:
    for name in ("call-1", "call-2"):
        talk(clocked, ada, name)
        clock.move(1)
    with clocked.begin(ada) as stores:
        stores.conversation_memories.set("call-1", {}, provenance=by_user)
        assert [each.name for each in stores.conversations.all().entries] == ["call-2", "call-1"]


def test_what_fails_later_in_the_transaction_leaves_neither_memory_nor_count(
    database: Database, ada: UUID, contents: Callable[[], Contents]
) -> None:
    talk(database, ada)
    before = contents()

    def set_and_fail(stores: Stores) -> None:
        stores.conversation_memories.set("call-1", {}, provenance=by_user)
        stores.conversations.messages("call-9")

    with pytest.raises(NotFound), database.begin(ada) as stores:
        set_and_fail(stores)
    assert contents() == before


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (None, InvalidJson),
        ("text", InvalidJson),
        ([{}], InvalidJson),
        ({"a": float("nan")}, InvalidJson),
        ({"a": "\ud800"}, InvalidJson),
        ({"a": "\0"}, InvalidJson),
        ({1: "a"}, InvalidJson),
        ({"a": b"x"}, InvalidJson),
        ({"a": 2**63}, InvalidJson),
        ({"a": "x" * CONVERSATION_MEMORY_LIMIT}, TooLarge),
    ],
)
def test_what_is_no_object_that_can_be_kept_changes_nothing(
    database: Database, ada: UUID, contents: Callable[[], Contents], data: Any, error: type[Exception]
) -> None:
    talk(database, ada)
    before = contents()
    with database.begin(ada) as stores, pytest.raises(error):
        stores.conversation_memories.set("call-1", data, provenance=by_user)
    assert contents() == before


def test_the_largest_memory_fits(database: Database, ada: UUID) -> None:
    talk(database, ada)
    with database.begin(ada) as stores:
        full = {"a": "x" * (CONVERSATION_MEMORY_LIMIT - len('{"a":""}'))}
        stores.conversation_memories.set("call-1", full, provenance=by_user)
        assert stores.conversation_memories.get("call-1").data == full


@pytest.mark.parametrize("count", [0, -1, 3, True, "2", 1.0, 2**70])
def test_a_memory_is_made_of_messages_that_are_there(database: Database, ada: UUID, count: Any) -> None:
    talk(database, ada)
    with database.begin(ada) as stores, pytest.raises(InvalidInput):
        stores.conversation_memories.set("call-1", {}, message_count=count, provenance=by_user)


def test_of_an_unknown_conversation_nothing_is_remembered(
    database: Database, ada: UUID, bob: UUID, contents: Callable[[], Contents]
) -> None:
    talk(database, bob, "bobs")
    before = contents()
    with database.begin(ada) as stores:
        for name in ("call-1", "bobs"):
            with pytest.raises(NotFound):
                stores.conversation_memories.set(name, {}, provenance=by_user)
            with pytest.raises(NotFound):
                stores.conversation_memories.get(name)
        for bad in ("", "\0", "x" * 257):
            with pytest.raises(InvalidName):
                stores.conversation_memories.get(bad)
            with pytest.raises(InvalidName):
                stores.conversation_memories.set(bad, {}, provenance=by_user)
    assert contents() == before


def test_another_person_sees_nothing_of_it(database: Database, ada: UUID, bob: UUID) -> None:
    for owner in (ada, bob):
        talk(database, owner)
    with database.begin(ada) as stores:
        stores.conversation_memories.set("call-1", {"secret": "ada"}, provenance=by_user)
    with database.begin(bob) as stores:
        with pytest.raises(NotFound):
            stores.conversation_memories.get("call-1")
        assert stores.conversation_memories.all().entries == ()
        stores.conversation_memories.set("call-1", {"secret": "bob"}, provenance=by_user)
    with database.read(ada) as stores:
        assert stores.conversation_memories.get("call-1").data == {"secret": "ada"}
    with database.nobody() as stores:
        assert stores.conversation_memories.all().entries == ()


def test_pages_show_every_memory_once_those_changed_last_first(clocked: Database, ada: UUID, clock: Clock) -> None:
    for number in range(5):
        talk(clocked, ada, f"call-{number}")
        with clocked.begin(ada) as stores:
            stores.conversation_memories.set(f"call-{number}", {"n": number}, provenance=by_user)
        clock.move(number % 2)  # two and two at the same moment
    seen, after = [], None
    with clocked.read(ada) as stores:
        while True:
            page = stores.conversation_memories.all(limit=2, after=after)
            seen += [each.data["n"] for each in page.entries]
            after = page.next
            if after is None:
                break
        assert seen == [4, 2, 3, 0, 1]
        for bad in ("x", "2026-11-20", "2026-11-20T09:00:00+00:00 x"):
            with pytest.raises(InvalidInput):
                stores.conversation_memories.all(after=bad)
        with pytest.raises(InvalidInput):
            stores.conversation_memories.all(limit=0)


def test_it_goes_when_the_person_does(database: Database, ada: UUID) -> None:
    talk(database, ada)
    with database.begin(ada) as stores:
        stores.conversation_memories.set("call-1", {}, provenance=by_user)
    erase(database, ada)
    with pytest.raises(Erased), database.read(ada):
        pass


def test_a_merged_branch_is_read_and_the_own_conversation_comes_first(
    database: Database, ada: UUID, bob: UUID, administrator: sa.Engine
) -> None:
    for owner, names in ((ada, ("call-1",)), (bob, ("call-1", "call-2"))):
        for name in names:
            talk(database, owner, name)
            with database.begin(owner) as stores:
                stores.conversation_memories.set(name, {"of": str(owner)}, provenance=by_user)
    with administrator.begin() as connection:
        connection.execute(sa.update(owners).where(owners.c.id == bob).values(survivor_id=ada, merged_into=ada))
    with database.begin(ada) as stores:
        assert stores.conversation_memories.get("call-1").data == {"of": str(ada)}
        assert stores.conversation_memories.get("call-2").data == {"of": str(bob)}
        assert len(stores.conversation_memories.all().entries) == 3
        with pytest.raises(NotFound):  # until it goes on with the survivor
            stores.conversation_memories.set("call-2", {}, provenance=by_user)
    talk(database, ada, "call-2", 1)
    with database.begin(ada) as stores:
        assert stores.conversation_memories.set("call-2", {"new": 1}, provenance=by_user).message_count == 1
        assert stores.conversation_memories.get("call-2").data == {"new": 1}


def test_of_many_who_set_at_once_one_is_the_last_and_all_agree(
    database: Database, ada: UUID, administrator: sa.Engine
) -> None:
    conversation = talk(database, ada, count=8)

    def set_one(number: int) -> None:
        with database.begin(ada) as stores:
            stores.conversation_memories.set("call-1", {"n": number}, message_count=number, provenance=by_user)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(set_one, range(1, 9)))
    with database.read(ada) as stores:
        kept = stores.conversation_memories.get("call-1")
    assert kept.data == {"n": kept.message_count}
    assert remembered_count(administrator, conversation) == kept.message_count


def test_a_conversation_is_found_by_its_id(database: Database, ada: UUID, bob: UUID) -> None:
    conversation = talk(database, ada)
    with database.read(ada) as stores:
        found = stores.conversations.by_id(conversation)
        assert (found.id, found.name, found.message_count) == (conversation, "call-1", 2)
    with database.read(bob) as stores, pytest.raises(NotFound):
        stores.conversations.by_id(conversation)


def test_a_conversation_knows_when_its_newest_message_was_said(clocked: Database, ada: UUID, clock: Clock) -> None:
    def after_saying(*hours: float | None) -> timedelta | None:
        new = [NewMessage("user", "x", None if ago is None else clock.now - timedelta(hours=ago)) for ago in hours]
        with clocked.begin(ada) as stores:
            stores.conversations.append("call-1", new)
            at = stores.conversations.all().entries[0].last_message_at
        return None if at is None else clock.now - at

    assert after_saying(5, 7) == timedelta(hours=5)
    assert after_saying(9) == timedelta(hours=5)
    assert after_saying(3, 4) == timedelta(hours=3)
    assert after_saying(None) == timedelta()
    clock.move(60)
    assert after_saying(-24) == timedelta()  # a time that is yet to come would keep it from ending
    clock.move(60)
    assert after_saying(1) == timedelta(seconds=60)
