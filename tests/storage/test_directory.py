from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from uuid_utils.compat import uuid7

from storage.conversations import NewMessage
from storage.database import Database
from storage.directory import Resolved, find, link, require_one_person, resolve, searching, unlink
from storage.erase import erase
from storage.errors import Erased, IdentityConflict, NoIdentity, NotFound
from storage.identity import Identity
from storage.provenance import by_user
from tests.contents import Contents, rows_of

PHONE = "+1234567890"  # seed 004's own example: not valid anywhere, and a caller like another


def who(database: Database, **names: Any) -> UUID:
    """Return the one person that the names stand for, made if need be."""
    return require_one_person(resolve(database, Identity.of(**names)))


def phone_holder(database: Database, has_user: bool) -> UUID:
    """Make the person behind PHONE, with a user id of their own or without."""
    return who(database, user="bob", phone=PHONE, phone_verified=True) if has_user else who(database, phone=PHONE)


@pytest.mark.parametrize("holder", ["nobody", "a caller", "a user"])
def test_a_known_user_is_that_user_whatever_number_stands_beside(database: Database, ada: UUID, holder: str) -> None:
    bob = None if holder == "nobody" else phone_holder(database, has_user=holder == "a user")
    both = Identity.of(user="ada", phone=PHONE)
    assert resolve(database, both) == find(database, both) == Resolved(ada, None)
    left_alone = find(database, Identity.of(phone=PHONE))
    assert left_alone == (None if bob is None else Resolved(bob, None))


def test_a_verified_number_that_nobody_has_joins_the_user(database: Database, ada: UUID) -> None:
    both = Identity.of(user="ada", phone=PHONE, phone_verified=True)
    assert find(database, both) == Resolved(ada, None)
    assert find(database, Identity.of(phone=PHONE)) is None  # finding links nothing
    assert resolve(database, both) == Resolved(ada, None)
    assert find(database, Identity.of(phone=PHONE)) == Resolved(ada, None)
    assert resolve(database, both) == Resolved(ada, None)


@pytest.mark.parametrize("has_user", [True, False])
def test_a_verified_number_of_somebody_else_is_a_conflict(database: Database, ada: UUID, has_user: bool) -> None:
    bob = phone_holder(database, has_user)
    both = Identity.of(user="ada", phone=PHONE, phone_verified=True)
    assert find(database, both) == resolve(database, both) == Resolved(ada, bob)
    assert find(database, Identity.of(phone=PHONE)) == Resolved(bob, None)


@pytest.mark.parametrize("has_user", [True, False])
def test_an_unknown_user_beside_somebody_elses_number_is_somebody_new(database: Database, has_user: bool) -> None:
    bob = phone_holder(database, has_user)
    both = Identity.of(user="eve", phone=PHONE)
    assert find(database, both) is None
    eve = resolve(database, both)
    assert eve.owner != bob
    assert eve.other is None
    assert find(database, both) == eve == find(database, Identity.of(user="eve"))
    assert find(database, Identity.of(phone=PHONE)) == Resolved(bob, None)


def test_a_caller_who_signs_up_with_a_verified_number_keeps_their_memory(database: Database) -> None:
    caller = phone_holder(database, has_user=False)
    both = Identity.of(user="eve", phone=PHONE, phone_verified=True)
    assert find(database, both) == Resolved(caller, None)
    assert find(database, Identity.of(user="eve")) is None  # finding links nothing
    assert resolve(database, both) == Resolved(caller, None)
    assert find(database, Identity.of(user="eve")) == Resolved(caller, None)


def test_a_recycled_number_does_not_open_the_memory_of_whoever_had_it(database: Database) -> None:
    bob = phone_holder(database, has_user=True)
    both = Identity.of(user="eve", phone=PHONE, phone_verified=True)
    assert find(database, both) is None
    eve = resolve(database, both)
    assert eve.owner != bob
    assert eve.other == bob
    assert find(database, both) == resolve(database, both) == eve
    assert find(database, Identity.of(user="eve")) == Resolved(eve.owner, None)
    assert find(database, Identity.of(phone=PHONE)) == Resolved(bob, None)


@pytest.mark.parametrize("has_user", [True, False])
def test_a_number_alone_opens_its_owners_memory(database: Database, has_user: bool) -> None:
    bob = phone_holder(database, has_user)
    for verified in (True, False):
        alone = Identity.of(phone=PHONE, phone_verified=verified)
        assert find(database, alone) == resolve(database, alone) == Resolved(bob, None)


def test_an_unknown_number_is_somebody_new(database: Database) -> None:
    alone = Identity.of(phone=PHONE)
    assert find(database, alone) is None
    assert resolve(database, alone) == find(database, alone) == resolve(database, alone)


def test_a_new_user_is_not_linked_to_a_number_that_was_not_verified(database: Database) -> None:
    eve = who(database, user="eve", phone=PHONE)
    assert find(database, Identity.of(phone=PHONE)) is None
    assert who(database, phone=PHONE) != eve
    assert who(database, user="eve", phone=PHONE) == eve


def test_a_new_user_with_a_new_verified_number_is_one_person(database: Database) -> None:
    eve = who(database, user="eve", phone=PHONE, phone_verified=True)
    assert who(database, phone=PHONE) == who(database, user="eve") == eve


@pytest.mark.parametrize("known", [True, False], ids=["who has a memory", "who is new"])
def test_a_signed_in_attacker_with_a_spoofed_number_does_not_reach_its_memory(
    database: Database, administrator: sa.Engine, known: bool
) -> None:
    victim = who(database, phone=PHONE)
    with database.begin(victim) as stores:
        stores.items.set("prefs", "secret", "hers")
        stores.snapshots.append({"summary": "hers"}, provenance=by_user)
    before = rows_of(administrator, victim)
    if known:
        who(database, user="mallory")
    for _ in range(2):
        attacker = who(database, user="mallory", phone=PHONE)
        assert attacker != victim
        with database.begin(attacker) as stores:
            with pytest.raises(NotFound):
                stores.items.get("prefs", "secret")
            assert stores.snapshots.current().document.get("summary") != "hers"
            stores.items.set("prefs", "mine", "mallory's")
    assert rows_of(administrator, victim) == before
    assert who(database, phone=PHONE) == victim
    assert who(database, user="mallory") == attacker


def test_a_conflict_names_both_people(database: Database, ada: UUID) -> None:
    bob = phone_holder(database, has_user=True)
    with pytest.raises(IdentityConflict) as refused:
        who(database, user="ada", phone=PHONE, phone_verified=True)
    assert (refused.value.owner, refused.value.other) == (str(ada), str(bob))
    assert refused.value.details == {}  # ids never leave through a door


def test_organizations_know_different_people(database: Database, contents: Callable[[], Contents]) -> None:
    people = {
        who(database, organization=organization, user="ada", phone=PHONE, phone_verified=True)
        for organization in ("default", "acme", "Acme")
    }
    assert len(people) == 3
    assert len(contents()["identities"]) == 6


def test_a_user_id_is_never_taken_for_a_number(database: Database) -> None:
    assert who(database, user=PHONE) != who(database, phone=PHONE)


def test_names_are_exact(database: Database, ada: UUID) -> None:
    for name in ("Ada", "ad%", "ad_", "ada2", "àda"):
        assert find(database, Identity.of(user=name)) is None


def test_people_behind_one_switchboard_are_different_people(database: Database) -> None:
    lines = ["+16502530000", "+1 650 253 0000 ext. 12", "+1 650 253 0000 ext. 13"]
    people = [who(database, phone=line) for line in lines]
    assert len(set(people)) == 3
    assert who(database, phone="+1 (650) 253-0000 x12") == people[1]


@pytest.mark.parametrize("phone", ["anonymous", "Restricted", "sip:ada@example.com", "", "+266696687", "unknown"])
def test_an_anonymous_caller_is_nobody_and_shares_no_memory(
    database: Database, contents: Callable[[], Contents], phone: str
) -> None:
    with pytest.raises(NoIdentity):
        Identity.of(phone=phone)
    people = {who(database, user=user, phone=phone, phone_verified=True) for user in ("eve", "mallory")}
    assert len(people) == 2
    assert {row[1] for row in contents()["identities"]} == {"user"}


def test_finding_leaves_nothing_behind(database: Database, contents: Callable[[], Contents]) -> None:
    phone_holder(database, has_user=False)
    before = contents()
    for names in (
        {"user": "eve"},
        {"phone": "+16502530000"},
        {"user": "eve", "phone": PHONE},
        {"user": "eve", "phone": PHONE, "phone_verified": True},
        {"user": "eve", "organization": "acme"},
    ):
        find(database, Identity.of(**names))
    assert contents() == before


def test_an_operator_links_a_name(database: Database, operators_database: Database, ada: UUID) -> None:
    link(operators_database, ada, "phone", PHONE)
    link(operators_database, ada, "phone", PHONE)
    link(operators_database, ada, "user", "ada@example.com")
    assert who(database, phone=PHONE) == who(database, user="ada@example.com") == ada


def test_a_name_of_somebody_else_is_not_linked(
    database: Database, operators_database: Database, ada: UUID, bob: UUID
) -> None:
    with pytest.raises(IdentityConflict) as refused:
        link(operators_database, ada, "user", "bob")
    assert (refused.value.owner, refused.value.other) == (str(ada), str(bob))
    assert who(database, user="bob") == bob


def test_an_operator_unlinks_a_name(database: Database, operators_database: Database) -> None:
    bob = phone_holder(database, has_user=True)
    unlink(operators_database, "default", "phone", PHONE)
    assert find(database, Identity.of(phone=PHONE)) is None
    eve = who(database, user="eve", phone=PHONE, phone_verified=True)
    assert eve != bob
    assert who(database, phone=PHONE) == eve
    assert who(database, user="bob") == bob


def test_a_name_is_linked_to_one_who_is_there_and_unlinked_where_it_is(
    operators_database: Database, contents: Callable[[], Contents], ada: UUID
) -> None:
    before = contents()
    with pytest.raises(NotFound):
        link(operators_database, uuid7(), "phone", PHONE)
    for organization, kind, value in [
        ("default", "phone", PHONE),
        ("acme", "user", "ada"),
        ("default", "phone", "+12025550199"),
    ]:
        with pytest.raises(NotFound):
            unlink(operators_database, organization, kind, value)
    assert contents() == before


def test_an_erased_person_leaves_an_id_and_comes_back_as_somebody_new(
    database: Database, contents: Callable[[], Contents], administrator: sa.Engine, ada: UUID, bob: UUID
) -> None:
    remember_everything(database, ada)
    remember_everything(database, bob)
    bobs = rows_of(administrator, bob)
    erase(database, ada)
    assert rows_of(administrator, bob) == bobs
    left = contents()
    assert [row[0] for row in left.pop("erasures")] == [ada]
    assert not any(ada in row for rows in left.values() for row in rows)
    for visit in (database.begin, database.read, database.single):
        with pytest.raises(Erased), visit(ada) as stores:
            stores.items.get("prefs", "tone")
    with pytest.raises(Erased):
        erase(database, ada)
    again = who(database, user="ada")
    assert again != ada
    with database.read(again) as stores:
        assert stores.snapshots.current().version == 0


def remember_everything(database: Database, owner: UUID) -> None:
    with database.begin(owner) as stores:
        stores.items.set("prefs", "tone", "warm")
        stores.profile.set("Likes tea.")
        stores.conversations.append("call-1", [NewMessage("user", "hello")])
        stores.cursors.advance("update", 1)
        stores.snapshots.append({"safety_notes": "x y z"}, provenance=by_user, idempotency_key="a")
        stores.snapshots.append({"safety_notes": "gone"}, provenance=by_user)


def test_whoever_does_not_exist_has_no_memory(database: Database) -> None:
    for visit in (database.begin, database.read, database.single):
        with pytest.raises(NotFound, match="no such owner"), visit(uuid7()) as stores:
            stores.items.get("prefs", "tone")
    for visit in (database.begin, database.single):
        with pytest.raises(NotFound, match="no such owner"), visit(uuid7()) as stores:
            stores.items.set("prefs", "tone", "warm")
        with pytest.raises(NotFound, match="no such owner"), visit(uuid7()) as stores:
            stores.snapshots.append({"n": 1}, provenance=by_user)


def test_a_new_user_with_somebodys_verified_number_can_be_looked_up_without_writing(database: Database) -> None:
    caller = who(database, phone="+12025550143")
    both = Identity.of(user="new", phone="+12025550143", phone_verified=True)
    with database.read(searching(database, both)) as stores:
        assert stores.owners == (caller,)
    assert find(database, Identity.of(user="new")) is None
