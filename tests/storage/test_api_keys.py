import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from storage.api_keys import (
    LIFETIME_LIMIT,
    ApiKey,
    HeldKey,
    create_api_key,
    find_api_key,
    list_api_keys,
    revoke_api_key,
)
from storage.database import Database
from storage.directory import find, link, require_one_person, resolve, unlink
from storage.erase import erase
from storage.errors import (
    DatabaseError,
    DatabaseUnavailable,
    IdentityConflict,
    InvalidInput,
    InvalidName,
    NotFound,
    UnsafeRole,
)
from storage.identity import Identity
from storage.tables import owners
from tests.clock import Clock
from tests.contents import Contents

ADA, BOB = Identity.of(user="ada"), Identity.of(user="bob")

PHONE = "+12025550123"


@pytest.fixture
def operators(database: Database, database_url: str, worker_url: str, clock: Clock) -> Iterator[Database]:
    """The database as operators open it, with a clock that the test moves."""
    with Database.open(worker_url if database.on_postgresql else database_url, clock=clock) as opened:
        yield opened


def make(operators: Database, key_id: str, identity: Identity | None = ADA, **options: Any) -> ApiKey:
    """Keep a key whose digest is its id, backwards."""
    given: dict[str, Any] = {"organization": "default", "scopes": "memory:read"} | options
    return create_api_key(operators, key_id=key_id, digest=key_id[::-1], identity=identity, **given)


def opened_by(database: Database, key_id: str) -> Identity | None:
    """Return whom the key opens; it has to be valid."""
    found = find_api_key(database, key_id[::-1])
    assert found is not None
    return found.identity


def test_a_key_is_found_by_its_digest_alone(clocked: Database, operators: Database) -> None:
    make(operators, "a1", scopes="memory:read memory:write")
    ada = require_one_person(resolve(clocked, ADA))
    assert find_api_key(clocked, "1a") == HeldKey("a1", "default", "memory:read memory:write", ADA, ada)
    for other in ("a1", "1A", "1a ", "", "%", "1_", "' OR 1=1 --", "1a\n", "\u0661a"):
        assert find_api_key(clocked, other) is None


def test_a_key_of_nobody_names_nobody(clocked: Database, operators: Database) -> None:
    make(operators, "a1", None, organization="acme", scopes="memory:act-as")
    assert find_api_key(clocked, "1a") == HeldKey("a1", "acme", "memory:act-as", None, None)


def test_a_key_makes_the_person_whom_nobody_knows_yet(clocked: Database, operators: Database) -> None:
    assert find(clocked, ADA) is None
    make(operators, "a1")
    make(operators, "a2")
    assert find(clocked, ADA) is not None
    assert opened_by(clocked, "a1") == opened_by(clocked, "a2") == ADA


def test_two_who_make_the_first_keys_of_a_person_make_one_person(
    clocked: Database, operators: Database, contents: Callable[[], Contents]
) -> None:
    together = threading.Barrier(4)

    def run(number: int) -> None:
        together.wait()
        make(operators, f"a{number}")

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(contents()[table]) for table in ("owners", "api_keys")] == [1, 4]
    assert {opened_by(clocked, f"a{number}") for number in range(4)} == {ADA}


def test_it_opens_by_a_user_id_before_a_phone_number(clocked: Database, operators: Database) -> None:
    make(operators, "a1", Identity.of(phone=PHONE))
    assert opened_by(clocked, "a1") == Identity.of(phone=PHONE)
    caller = resolve(clocked, Identity.of(phone=PHONE)).owner
    link(operators, caller, "user", "ada")
    assert opened_by(clocked, "a1") == ADA


@pytest.mark.parametrize("phone", ["+1234567890", "+12025550123;ext=42", "+49 151 12345678", "+683 4000"])
def test_a_number_comes_back_as_it_was_given(clocked: Database, operators: Database, phone: str) -> None:
    make(operators, "a1", Identity.of(phone=phone))
    assert opened_by(clocked, "a1") == Identity.of(phone=phone)


def test_a_key_belongs_to_a_person_of_its_organization(clocked: Database, operators: Database) -> None:
    of_acme = Identity.of(organization="acme", user="ada")
    make(operators, "a1", of_acme, organization="acme")
    make(operators, "a2")
    assert opened_by(clocked, "a1") == of_acme
    assert opened_by(clocked, "a2") == ADA


def test_a_key_ends_at_its_time(clocked: Database, operators: Database, clock: Clock) -> None:
    made = make(operators, "a1", expires_in=timedelta(days=1))
    assert made.expires_at == clock.now + timedelta(days=1)
    clock.move(86_400 - 1e-6)
    assert made.is_valid(clock.now)
    assert opened_by(clocked, "a1") == ADA
    clock.move(1e-6)
    assert not made.is_valid(clock.now)
    assert find_api_key(clocked, "1a") is None


def test_a_revoked_key_opens_nothing_at_once_and_for_ever(clocked: Database, operators: Database, clock: Clock) -> None:
    make(operators, "a1", expires_in=timedelta(days=9))
    make(operators, "a2")
    revoked_at = clock.move(5)
    revoke_api_key(operators, "a1")
    assert find_api_key(clocked, "1a") is None
    assert opened_by(clocked, "a2") == ADA
    clock.move(5)
    revoke_api_key(operators, "a1")
    [first, second] = list_api_keys(operators).entries
    assert (first.revoked_at, second.revoked_at) == (revoked_at, None)
    assert not first.is_valid(clock.now)


@pytest.mark.parametrize("wrong", ["a2", "1a", "", "%", "a1\0", "a1 ", "\ud800", "um_a1_x", "A1", None])
def test_what_is_no_key_is_not_found_and_not_repeated(operators: Database, wrong: Any) -> None:
    make(operators, "a1")
    for act in (revoke_api_key, lambda database, key_id: list_api_keys(database, after=key_id or "")):
        with pytest.raises(NotFound) as refused:
            act(operators, wrong)
        assert str(refused.value) == "there is no such key"
    assert list_api_keys(operators).entries[0].revoked_at is None


def test_an_erased_person_has_no_key_left(
    clocked: Database, operators: Database, contents: Callable[[], Contents]
) -> None:
    make(operators, "a1")
    make(operators, "a2", None, scopes="memory:act-as")
    make(operators, "a3", BOB)
    erase(clocked, require_one_person(resolve(clocked, ADA)))
    assert find_api_key(clocked, "1a") is None
    assert [row[0] for row in contents()["api_keys"]] == ["a2", "a3"]
    assert opened_by(clocked, "a3") == BOB
    resolve(clocked, ADA)  # the name may come back, the key does not
    assert find_api_key(clocked, "1a") is None


def test_the_key_of_a_person_without_a_name_opens_nothing(clocked: Database, operators: Database) -> None:
    make(operators, "a1")
    ada = resolve(clocked, ADA).owner
    unlink(operators, "default", "user", "ada")
    assert find_api_key(clocked, "1a") is None
    stranger = resolve(clocked, ADA).owner  # who comes with the name next is somebody else
    assert stranger != ada
    assert find_api_key(clocked, "1a") is None
    link(operators, ada, "user", "augusta")
    assert opened_by(clocked, "a1") == Identity.of(user="augusta")


def merge(administrator: sa.Engine, branch: UUID, survivor: UUID) -> None:
    with administrator.begin() as connection:
        connection.execute(
            sa.update(owners).where(owners.c.id == branch).values(survivor_id=survivor, merged_into=survivor)
        )


def test_the_key_of_a_merged_branch_opens_the_survivor(
    clocked: Database, operators: Database, administrator: sa.Engine, contents: Callable[[], Contents]
) -> None:
    caller = Identity.of(phone=PHONE)
    make(operators, "a1", caller)
    branch, survivor = resolve(clocked, caller).owner, resolve(clocked, ADA).owner
    merge(administrator, branch, survivor)
    opened = opened_by(clocked, "a1")
    assert opened == ADA
    with clocked.transaction(resolve(clocked, opened).owner, writes=False) as transaction:
        assert set(transaction.owners) == {branch, survivor}
    erase(clocked, survivor)
    assert contents()["api_keys"] == []


def test_keys_are_listed_by_age_and_in_pages(operators: Database, clock: Clock) -> None:
    made = []
    for number, key_id in enumerate(("c1", "b1", "b2", "a1")):
        clock.move(number % 2)  # two of them at one moment
        made.append(make(operators, key_id, name=f"key {key_id}", expires_in=timedelta(days=1 + number)))
    assert [key.id for key in list_api_keys(operators).entries] == ["c1", "b1", "b2", "a1"]
    assert list(list_api_keys(operators).entries) == made
    for size in (1, 2, 3):
        found: list[ApiKey] = []
        after = None
        while len(found) <= len(made):
            page = list_api_keys(operators, limit=size, after=after)
            found += page.entries
            after = page.next
            if after is None:
                break
        assert found == made
    assert list_api_keys(operators, limit=4).next is None


def test_the_keys_of_one_organization_are_listed_alone(operators: Database) -> None:
    make(operators, "a1")
    make(operators, "a2", None, organization="acme")
    assert [key.id for key in list_api_keys(operators, "acme").entries] == ["a2"]
    assert [key.organization for key in list_api_keys(operators).entries] == ["default", "acme"]
    assert list_api_keys(operators, "ACME").entries == ()


@pytest.mark.parametrize("limit", [0, 101, -1])
def test_a_page_has_a_size(operators: Database, limit: int) -> None:
    with pytest.raises(InvalidInput):
        list_api_keys(operators, limit=limit)


def test_what_is_on_record_tells_neither_key_nor_person(operators: Database, contents: Callable[[], Contents]) -> None:
    make(operators, "a1", Identity.of(user="ada-lovelace"), name="laptop")
    [row] = contents()["api_keys"]
    assert "ada-lovelace" not in repr(row)
    listed = repr(list_api_keys(operators))
    assert "laptop" in listed
    assert "1a" not in listed
    assert "ada-lovelace" not in listed


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"expires_in": timedelta()}, InvalidInput),
        ({"expires_in": timedelta(days=-1)}, InvalidInput),
        ({"expires_in": LIFETIME_LIMIT + timedelta(seconds=1)}, InvalidInput),
        ({"name": ""}, InvalidName),
        ({"name": "a\0"}, InvalidName),
        ({"name": "x" * 257}, InvalidName),
        ({"name": "\ud800"}, InvalidName),
        ({"organization": ""}, InvalidName),
        ({"organization": " acme"}, InvalidName),
    ],
)
def test_what_is_refused_leaves_everything_as_it_was(
    operators: Database, contents: Callable[[], Contents], wrong: dict[str, Any], error: type[Exception]
) -> None:
    before = contents()
    with pytest.raises(error):
        make(operators, "a1", **wrong)
    assert contents() == before


def test_no_two_keys_are_the_same(operators: Database, contents: Callable[[], Contents]) -> None:
    make(operators, "a1")
    before = contents()
    with pytest.raises(DatabaseError):
        make(operators, "a1")
    with pytest.raises(DatabaseError):
        create_api_key(operators, key_id="b1", digest="1a", organization="default", scopes="memory:read", identity=BOB)
    assert contents() == before


def test_a_key_for_two_people_is_refused(
    clocked: Database, operators: Database, contents: Callable[[], Contents]
) -> None:
    resolve(clocked, ADA)
    resolve(clocked, Identity.of(user="bob", phone=PHONE, phone_verified=True))
    before = contents()
    with pytest.raises(IdentityConflict):
        make(operators, "a1", Identity.of(user="ada", phone=PHONE, phone_verified=True))
    assert contents() == before


@pytest.mark.parametrize("backend", ["postgresql"])
def test_the_applications_url_makes_lists_and_revokes_nothing(
    clocked: Database, operators: Database, contents: Callable[[], Contents]
) -> None:
    make(operators, "a1")
    before = contents()
    for act in (
        lambda: make(clocked, "a2", BOB),
        lambda: make(clocked, "a2", None),
        lambda: list_api_keys(clocked),
        lambda: revoke_api_key(clocked, "a1"),
    ):
        with pytest.raises(UnsafeRole, match="operators use the worker's URL"):
            act()
    assert contents() == before


@pytest.mark.parametrize("backend", ["postgresql"])
def test_the_workers_url_looks_nobody_up(operators: Database) -> None:
    make(operators, "a1")
    with pytest.raises(UnsafeRole):
        find_api_key(operators, "1a")


def test_a_database_in_memory_knows_keys_too() -> None:
    with Database.open("sqlite://") as database:
        make(database, "a1")
        assert opened_by(database, "a1") == ADA
        assert find_api_key(database, "2a") is None


def test_a_closed_database_is_asked_nothing(tmp_path: Path) -> None:
    with Database.open(f"sqlite:///{tmp_path / 'memory.db'}") as closed:
        pass
    acts: list[Callable[[], Any]] = [
        lambda: find_api_key(closed, "1a"),
        lambda: list_api_keys(closed),
        lambda: revoke_api_key(closed, "a1"),
        lambda: make(closed, "a1"),
    ]
    for act in acts:
        with pytest.raises(DatabaseUnavailable):
            act()
