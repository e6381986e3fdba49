from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import BaseModel

from memory_tools.memory import Memory, UserMemory
from storage.database import Database
from storage.directory import find, unlink
from storage.erase import erase
from storage.errors import (
    Erased,
    IdempotencyKeyReused,
    IdentityConflict,
    InvalidDocument,
    InvalidIdentity,
    InvalidInput,
    NoIdentity,
    NotFound,
    VersionConflict,
)
from storage.identity import Identity
from storage.outcome import Held, Saved, Unchanged
from storage.provenance import by_agent, by_operator
from storage.snapshots import Snapshot
from storage.tables import heads, snapshots
from tests.contents import Contents, canonically, proven_versions, rows_of

PHONE = "+16502530000"


@pytest.fixture
def memory(database: Database) -> Memory:
    return Memory(database, default_region="US")


READS: list[Callable[[UserMemory], Any]] = [
    lambda person: person.items.in_namespace("prefs").entries,
    lambda person: person.document.current().version,
    lambda person: person.document.as_of(0).version,
    lambda person: person.document.as_of(datetime.now(UTC)).version,
    lambda person: person.document.history().entries,
    lambda person: person.document.diff(0, 0),
    lambda person: person.document.changes_since(0).patch,
    lambda person: person.pending.waiting().entries,
    lambda person: person.conversations.all().entries,
]

FOR_SOMEBODY_KNOWN: list[Callable[[UserMemory], Any]] = [
    lambda person: person.items.get("prefs", "tone"),
    lambda person: person.items.delete("prefs", "tone"),
    lambda person: person.document.as_of(1),
    lambda person: person.document.diff(0, 1),
    lambda person: person.document.revert(1),
    lambda person: person.pending.get("0192f0c1-0000-7000-8000-000000000000"),
    lambda person: person.pending.accept("0192f0c1-0000-7000-8000-000000000000"),
    lambda person: person.pending.reject("0192f0c1-0000-7000-8000-000000000000"),
    lambda person: person.profile.get(),
    lambda person: person.profile.delete(),
    lambda person: person.conversations.messages("call-1"),
]


def test_reading_what_was_never_written_is_empty_and_makes_nobody(
    memory: Memory, contents: Callable[[], Contents]
) -> None:
    before = contents()
    for names in ({"user": "eve"}, {"phone": PHONE}, {"user": "eve", "phone": PHONE, "phone_verified": True}):
        for read in READS:
            assert not read(memory.of(**names))
        for act in FOR_SOMEBODY_KNOWN:
            with pytest.raises(NotFound):
                act(memory.of(**names))
        with memory.of(**names).read() as stores:
            assert stores.cursors.seen("update") == 0
    assert contents() == before


def test_the_first_write_makes_the_person(memory: Memory) -> None:
    person = memory.of(user="ada")
    assert person.document.current() == Snapshot(0, {})
    person.items.set("prefs", "tone", "warm")
    assert person.items.get("prefs", "tone").value == "warm"
    assert memory.of(user="ada").items.get("prefs", "tone").value == "warm"
    with pytest.raises(NotFound):
        memory.of(user="bob").items.get("prefs", "tone")


@pytest.mark.parametrize(
    "write",
    [
        lambda person: person.items.push("said", "jokes", 1),
        lambda person: person.profile.set("Likes tea."),
        lambda person: person.document.append({"summary": "Ada."}),
        lambda person: person.conversations.append("call-1", [{"role": "user", "content": "hello"}]),
    ],
    ids=["push", "profile", "document", "conversation"],
)
def test_any_first_write_makes_one_person(
    memory: Memory, contents: Callable[[], Contents], write: Callable[[UserMemory], Any]
) -> None:
    person = memory.of(user="ada")
    write(person)
    write(person)
    write(memory.of(user="ada"))
    assert len(contents()["owners"]) == 1


def test_a_refused_first_write_is_no_memory(memory: Memory) -> None:
    person = memory.of(user="ada")
    with pytest.raises(InvalidInput):
        person.items.set("prefs", "tone", float("nan"))
    assert person.items.in_namespace("prefs").entries == ()


def test_who_is_not_named_has_no_memory(memory: Memory) -> None:
    for names in ({}, {"phone": "anonymous"}, {"phone": "sip:x@y.example"}, {"organization": "acme"}):
        with pytest.raises(NoIdentity):
            memory.of(**names)  # type: ignore[arg-type]
    for wrong in ({"user": ""}, {"user": "a\0"}, {"user": "ada", "organization": ""}, {"user": 7}):
        with pytest.raises(InvalidIdentity):
            memory.of(**wrong)


def test_a_number_is_read_as_in_the_default_region(memory: Memory) -> None:
    memory.of(phone="(650) 253-0000").items.set("prefs", "tone", "warm")
    assert memory.of(phone=PHONE).items.get("prefs", "tone").value == "warm"
    with pytest.raises(NotFound):
        memory.of(phone=PHONE + " ext. 7").items.get("prefs", "tone")


def test_organizations_share_nothing(memory: Memory) -> None:
    memory.of(user="ada", organization="acme").items.set("prefs", "tone", "warm")
    for other in (memory.of(user="ada"), memory.of(user="ada", organization="acm"), memory.of(user="acme")):
        assert other.items.in_namespace("prefs").entries == ()


def test_a_spoofed_number_reaches_nobodys_memory(memory: Memory, administrator: sa.Engine) -> None:
    memory.of(phone=PHONE).items.set("prefs", "tone", "the caller's")
    found = find(memory.database, Identity.of(phone=PHONE))
    assert found is not None
    before = rows_of(administrator, found.owner)
    attacker = memory.of(user="mallory", phone=PHONE)
    assert attacker.items.in_namespace("prefs").entries == ()
    attacker.items.set("prefs", "tone", "mallory's")
    attacker.document.append({"summary": "mallory's"})
    assert memory.of(user="mallory").items.get("prefs", "tone").value == "mallory's"
    assert rows_of(administrator, found.owner) == before


def test_a_caller_who_signs_up_is_joined_by_the_first_write_and_not_by_a_read(memory: Memory) -> None:
    memory.of(phone=PHONE).items.set("prefs", "tone", "warm")
    signed_up = memory.of(user="ada", phone=PHONE, phone_verified=True)
    assert signed_up.items.get("prefs", "tone").value == "warm"
    assert memory.of(user="ada").items.in_namespace("prefs").entries == ()
    signed_up.items.set("prefs", "pace", "slow")
    assert len(memory.of(user="ada").items.in_namespace("prefs").entries) == 2


def test_two_people_under_one_verified_name_are_a_conflict(memory: Memory) -> None:
    memory.of(user="ada").items.set("prefs", "tone", "ada's")
    memory.of(user="bob", phone=PHONE, phone_verified=True).items.set("prefs", "tone", "bob's")
    both = memory.of(user="ada", phone=PHONE, phone_verified=True)
    for act in (
        lambda: both.items.get("prefs", "tone"),
        lambda: both.items.set("prefs", "tone", "whose?"),
        lambda: both.document.append({"summary": "whose?"}),
    ):
        with pytest.raises(IdentityConflict) as refused:
            act()
        assert refused.value.owner != refused.value.other
    assert memory.of(user="ada").items.get("prefs", "tone").value == "ada's"
    assert memory.of(phone=PHONE).items.get("prefs", "tone").value == "bob's"


def test_a_number_that_was_unlinked_is_nobodys(memory: Memory, operators_database: Database) -> None:
    memory.of(user="bob", phone=PHONE, phone_verified=True).items.set("prefs", "tone", "bob's")
    unlink(operators_database, "default", "phone", PHONE)
    assert memory.of(phone=PHONE).items.in_namespace("prefs").entries == ()
    memory.of(user="eve", phone=PHONE, phone_verified=True).items.set("prefs", "tone", "eve's")
    assert memory.of(phone=PHONE).items.get("prefs", "tone").value == "eve's"
    assert memory.of(user="bob").items.get("prefs", "tone").value == "bob's"


def test_who_was_erased_is_not_written_to_again(memory: Memory) -> None:
    person = memory.of(user="ada")
    person.items.set("prefs", "tone", "warm")
    found = find(memory.database, person.identity)
    assert found is not None
    erase(memory.database, found.owner)
    for act in (
        lambda: person.items.get("prefs", "tone"),
        lambda: person.items.set("prefs", "tone", "cool"),
        lambda: person.items.push("said", "jokes", 1),
        lambda: person.document.append({"summary": "back"}),
        lambda: person.profile.set("back"),
        lambda: person.conversations.append("call-1", [{"role": "user", "content": "back"}]),
    ):
        with pytest.raises(Erased):
            act()
    assert memory.of(user="ada").items.in_namespace("prefs").entries == ()


def test_the_document_of_a_person_grows_by_versions(memory: Memory) -> None:
    document = memory.of(user="ada").document
    assert document.append({"facts": []}) == Saved(1, [{"op": "add", "path": "/facts", "value": []}])
    add = [{"op": "add", "path": "/facts/-", "value": "has a cat"}]
    by_model = by_agent("loop")
    assert document.append(add, expected_version=1, provenance=by_model, idempotency_key="a").version == 2
    assert document.append(add, expected_version=1, provenance=by_model, idempotency_key="a").version == 2
    with pytest.raises(IdempotencyKeyReused):
        document.append([], idempotency_key="a")
    with pytest.raises(VersionConflict):
        document.append({"summary": "Bob."}, expected_version=3)
    assert document.current().document == {
        "version": 2,
        "last_updated_by": "agent",
        "facts": ["has a cat"],
    }
    assert document.as_of(1).document["facts"] == []
    assert document.diff(2, 1) == [{"op": "remove", "path": "/facts/0"}]
    assert document.changes_since(1).version == 2
    assert [entry.version for entry in document.history(limit=1).entries] == [2]
    assert document.revert(1, provenance=by_operator).version == 3
    assert document.revert(1, provenance=by_operator) == Unchanged(3)


def test_the_callers_objects_are_neither_kept_nor_changed(memory: Memory, administrator: sa.Engine) -> None:
    person = memory.of(user="ada")
    written = {"facts": ["a"], "parts": {"critic": {"status": "loud"}}}
    add = [{"op": "add", "path": "/new", "value": {"list": [1]}}]
    saved = [person.document.append(written), person.document.append(add)]
    written["facts"].append("never saved")  # type: ignore[attr-defined]
    add[0]["value"]["list"].append("never saved")  # type: ignore[index]
    for outcome in saved:
        assert isinstance(outcome, Saved)
        for operation in outcome.patch:
            operation["value"] = "never saved"
    person.document.current().document["facts"].append("never saved")
    person.document.append([{"op": "add", "path": "/facts/-", "value": "b"}])
    person.document.append([{"op": "add", "path": "/new/list/-", "value": 2}])
    found = find(memory.database, person.identity)
    assert found is not None
    assert proven_versions(administrator, found.owner)[-1] == canonically(
        {"facts": ["a", "b"], "parts": {"critic": {"status": "loud"}}, "new": {"list": [1, 2]}}
    )


def test_two_who_write_in_turn_build_on_each_other(memory: Memory, administrator: sa.Engine) -> None:
    one, other = memory.of(user="ada"), memory.of(user="ada")
    one.document.append({"facts": []})
    for number in range(6):
        add = [{"op": "add", "path": "/facts/-", "value": number}]
        assert (one if number % 2 else other).document.append(add).version == number + 2
    found = find(memory.database, one.identity)
    assert found is not None
    assert proven_versions(administrator, found.owner)[-1] == '{"facts":[0,1,2,3,4,5]}'


def test_what_was_undone_is_not_built_on(memory: Memory, administrator: sa.Engine) -> None:
    """The version that was undone gets another content from somebody else before its writer writes again."""
    one, other = memory.of(user="ada"), memory.of(user="ada")
    one.document.append({"facts": []})
    with pytest.raises(KeyError):
        fail_after_saving(one)
    for person, fact in ((other, "other's"), (one, "one's")):
        person.document.append([{"op": "add", "path": "/facts/-", "value": fact}])
    found = find(memory.database, one.identity)
    assert found is not None
    assert proven_versions(administrator, found.owner)[-1] == '{"facts":["other\'s","one\'s"]}'


def test_what_was_saved_through_another_connection_is_read_again(memory: Memory, administrator: sa.Engine) -> None:
    """After a failover the same version may say something else: there, a save never reached the server in force."""
    person = memory.of(user="ada")
    person.document.append({"facts": ["lost"]})
    found = find(memory.database, person.identity)
    assert found is not None
    memory.database.singles.close()
    with administrator.begin() as connection:
        for table, column in ((heads, heads.c.document), (snapshots, snapshots.c.checkpoint)):
            connection.execute(sa.update(table).values({column.name: '{"facts":["kept"]}'}))
        patch = '[{"op":"add","path":"/facts","value":["kept"]}]'
        connection.execute(sa.update(snapshots).values(patch=patch))
    person.document.append([{"op": "add", "path": "/facts/-", "value": "new"}])
    assert proven_versions(administrator, found.owner)[-1] == '{"facts":["kept","new"]}'


def fail_after_saving(person: UserMemory) -> None:
    with person.begin() as stores:
        stores.snapshots.append([{"op": "add", "path": "/facts/-", "value": "undone"}], provenance=by_operator)
        raise KeyError


def test_a_held_change_is_decided_on_by_an_operator(memory: Memory) -> None:
    person = memory.of(user="ada")
    person.document.append({"safety_notes": "Never mention the flood."})
    held = person.document.append({"safety_notes": ""}, provenance=by_agent("loop"))
    assert isinstance(held, Held)
    assert [each.id for each in person.pending.waiting().entries] == [held.pending_id]
    assert person.pending.accept(held.pending_id).version == 2
    again = person.document.append({"safety_notes": "x"}, provenance=by_operator)
    assert again.version == 3
    held = person.document.append({"safety_notes": "y"}, provenance=by_agent("loop"))
    assert isinstance(held, Held)
    person.pending.reject(held.pending_id)
    assert person.pending.waiting().entries == ()
    assert person.document.current().version == 3


def test_messages_may_be_mappings(memory: Memory) -> None:
    conversations = memory.of(user="ada").conversations
    kept = conversations.append("call-1", ({"role": role, "content": role} for role in ("user", "assistant")))
    assert conversations.messages("call-1").entries == kept
    assert conversations.append("call-1", []) == ()
    with pytest.raises(InvalidInput):
        conversations.append("call-1", [{"role": "user", "text": "hello"}])
    assert [each.name for each in conversations.all().entries] == ["call-1"]


def test_several_kinds_of_memory_change_together_or_not_at_all(
    memory: Memory, contents: Callable[[], Contents]
) -> None:
    person = memory.of(user="ada")
    with person.begin() as stores:
        stores.items.set("prefs", "tone", "warm")
    before = contents()
    with pytest.raises(InvalidDocument):
        change_both(person)
    assert contents() == before


def change_both(person: UserMemory) -> None:
    with person.begin() as stores:
        stores.items.set("prefs", "tone", "cool")
        stores.snapshots.append({"summary": 7}, provenance=by_operator)


class Preferences(BaseModel):
    tone: str


@pytest.fixture
def in_memory() -> Iterator[Memory]:
    with Memory.open("sqlite://", schema=Preferences) as memory:
        yield memory


def test_a_memory_without_a_file_serves_for_a_test(in_memory: Memory) -> None:
    ada = in_memory.of(user="ada")
    ada.items.set("prefs", "tone", "warm")
    ada.items.push("said", "jokes", 1)
    ada.profile.set("Likes tea.")
    assert ada.document.append({"tone": "warm"}).version == 1
    with pytest.raises(InvalidDocument):
        ada.document.append({"tone": 7})
    assert ada.document.current().document["tone"] == "warm"
    assert ada.items.get("prefs", "tone").value == "warm"


def test_the_host_may_bring_its_own_clock(tmp_path: Path) -> None:
    then = datetime(2020, 2, 29, tzinfo=UTC)
    with Memory.open(f"sqlite:///{tmp_path / 'a.db'}", clock=lambda: then) as memory:
        ada = memory.of(user="ada")
        assert ada.items.set("prefs", "tone", "warm").created_at == then
        ada.document.append({"summary": "Ada."})
        assert ada.document.as_of(then).version == 1
        assert ada.document.as_of(then - timedelta(microseconds=1)).version == 0
