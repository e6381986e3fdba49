import re
import secrets
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from memory_tools.access import TOKEN_LIMIT, Named, Principal, Scope, verified
from memory_tools.keys import ApiKeys
from memory_tools.memory import Memory
from storage.database import Database
from storage.directory import resolve, unlink
from storage.erase import erase
from storage.errors import (
    DatabaseUnavailable,
    InsufficientScope,
    InvalidIdentity,
    InvalidInput,
    InvalidName,
    NoIdentity,
    NotFound,
)
from storage.identity import Identity
from tests.contents import Contents


@pytest.fixture
def door(database: Database) -> ApiKeys:
    """The keys as a door asks for them."""
    return ApiKeys(Memory(database))


@pytest.fixture
def operator(operators_database: Database) -> ApiKeys:
    """The keys as an operator edits them."""
    return ApiKeys(Memory(operators_database, default_region="US"))


def test_a_key_opens_the_memory_of_its_person(database: Database, door: ApiKeys, operator: ApiKeys) -> None:
    memory = Memory(database)
    memory.of(user="ada").items.set("prefs", "tone", "warm")
    made = operator.create(user="ada", name="laptop")
    principal = door.verify(made.token)
    identity = Identity.of(user="ada")
    scopes, ada = frozenset({Scope.READ, Scope.WRITE}), resolve(database, identity).owner
    assert principal == Principal(f"key {made.key.id}", "default", scopes, identity, ada)
    assert memory.known(principal.person(), principal.owner).items.get("prefs", "tone").value == "warm"


def test_a_key_has_the_form_by_which_it_is_known(operator: ApiKeys) -> None:
    made = [operator.create(user="ada") for _ in range(20)]
    assert all(re.fullmatch(rf"um_{each.key.id}_[A-Za-z0-9_-]{{43}}", each.token) for each in made)
    assert len({each.token for each in made}) == len({each.key.id for each in made}) == 20


def test_the_database_has_the_digest_and_nothing_else_of_a_key(
    operator: ApiKeys, contents: Callable[[], Contents]
) -> None:
    token = operator.create(user="ada").token
    kept = repr(contents())
    assert sha256(token.encode()).hexdigest() in kept
    assert token not in kept
    assert token.split("_", 2)[2] not in kept


def test_the_secret_is_not_in_what_is_printed_of_a_new_key(operator: ApiKeys) -> None:
    made = operator.create(user="ada")
    assert made.key.id in repr(made)
    assert made.token.split("_", 2)[2] not in repr(made)


def test_a_key_that_differs_anywhere_opens_nothing(door: ApiKeys, operator: ApiKeys) -> None:
    token = operator.create(user="ada").token
    for place, character in enumerate(token):
        other = "0" if character != "0" else "1"
        assert door.verify(token[:place] + other + token[place + 1 :]) is None
    for wrong in (token + "\n", " " + token, token[:-1], token + "A", token.upper(), token.replace("um_", "", 1)):
        assert door.verify(wrong) is None
    assert door.verify(token) is not None


def test_tokens_of_another_form_are_refused_without_a_question(tmp_path: Path) -> None:
    with Memory.open(f"sqlite:///{tmp_path / 'memory.db'}") as memory:
        token = ApiKeys(memory).create(user="ada").token
    keys = ApiKeys(memory)
    others = [
        "",
        "um_",
        "a.b.c",
        "um_x_y",
        token[:-1],
        token + "x",
        "\0",
        "\ud800",
        "um_" + "é" * 56,
        "x" * TOKEN_LIMIT,
    ]
    assert verified([keys], token[:-1]) is None
    assert [keys.verify(other) for other in others] == [None] * len(others)
    with pytest.raises(DatabaseUnavailable):  # the question is asked for a key alone
        keys.verify(token)


def test_a_key_for_some_things_is_for_no_others(door: ApiKeys, operator: ApiKeys) -> None:
    principal = door.verify(operator.create(user="ada", scopes=["memory:read"]).token)
    assert principal is not None
    assert principal.scopes == frozenset({Scope.READ})
    with pytest.raises(InsufficientScope):
        principal.require(Scope.WRITE)
    with pytest.raises(InsufficientScope):
        principal.person(Named(user="bob"))


def test_a_key_that_acts_for_others_names_them_in_its_organization(door: ApiKeys, operator: ApiKeys) -> None:
    made = operator.create(organization="acme", scopes=[*Scope])
    principal = door.verify(made.token)
    assert principal == Principal(f"key {made.key.id}", "acme", frozenset(Scope), None)
    assert principal.person(Named(user="bob")) == Identity.of(organization="acme", user="bob")
    with pytest.raises(InsufficientScope):
        principal.person(Named(user="bob", organization="default"))
    with pytest.raises(NoIdentity):
        principal.person()


def test_a_key_may_belong_to_a_phone_number(door: ApiKeys, operator: ApiKeys) -> None:
    principal = door.verify(operator.create(phone="202 555 0123").token)
    assert principal is not None
    assert principal.person() == Identity.of(phone="+12025550123")


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({}, NoIdentity),
        ({"phone": "anonymous"}, NoIdentity),
        ({"user": ""}, InvalidIdentity),
        ({"user": "ada\0"}, InvalidIdentity),
        ({"user": "ada", "organization": ""}, InvalidIdentity),
        ({"user": "ada", "scopes": []}, InvalidInput),
        ({"user": "ada", "scopes": "memory:read"}, InvalidInput),
        ({"user": "ada", "scopes": ["memory:read", "memory:erase"]}, InvalidInput),
        ({"user": "ada", "scopes": ["memory:act-as"]}, InvalidInput),
        ({"phone": "+12025550123", "scopes": ["memory:act-as"]}, InvalidInput),
        ({"scopes": ["memory:act-as"], "organization": "\0"}, InvalidName),
        ({"user": "ada", "expires_in": timedelta()}, InvalidInput),
        ({"user": "ada", "name": " "}, InvalidName),
    ],
)
def test_a_key_that_nobody_could_use_is_not_made(
    operator: ApiKeys, contents: Callable[[], Contents], wrong: dict[str, Any], error: type[Exception]
) -> None:
    before = contents()
    with pytest.raises(error):
        operator.create(**wrong)
    assert contents() == before


def test_what_ends_a_key_ends_it_at_once(
    database: Database, operators_database: Database, door: ApiKeys, operator: ApiKeys
) -> None:
    revoked, erased, unlinked, other = (operator.create(user=user) for user in ("ada", "bob", "eve", "ada"))
    assert all(door.verify(each.token) for each in (revoked, erased, unlinked, other))
    operator.revoke(revoked.key.id)
    erase(database, resolve(database, Identity.of(user="bob")).owner)
    unlink(operators_database, "default", "user", "eve")
    assert [door.verify(each.token) for each in (revoked, erased, unlinked)] == [None] * 3
    assert door.verify(other.token) is not None


def test_keys_are_listed_by_page_and_organization(operator: ApiKeys) -> None:
    made = [operator.create(user="ada", organization=organization).key for organization in ("acme", "acme", "zeta")]
    page = operator.all(limit=2)
    assert [*page.entries, *operator.all(after=page.next).entries] == made
    assert operator.all("zeta").entries == (made[2],)
    operator.revoke(made[0].id)
    assert [key.revoked_at is None for key in operator.all("acme").entries] == [False, True]


def test_a_whole_key_is_no_id(operator: ApiKeys) -> None:
    token = operator.create(user="ada").token
    with pytest.raises(NotFound) as refused:
        operator.revoke(token)
    assert token not in str(refused.value)
    with pytest.raises(NotFound):
        operator.revoke(secrets.token_hex(6))
