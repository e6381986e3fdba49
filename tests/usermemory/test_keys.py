"""keys: API keys for those who ask over HTTP, made and revoked by operators."""

from dataclasses import replace

import pytest

from memory_tools.access import Principal, Scope
from memory_tools.keys import ApiKeys
from memory_tools.memory import Memory
from storage.database import Database
from storage.directory import find
from storage.identity import Identity
from tests.usermemory.cli import Cli


@pytest.fixture
def operator(request: pytest.FixtureRequest, database: Database, database_url: str) -> Cli:
    """The command line with the URL that an operator has, in a shell that was set up for mallory."""
    return Cli(request.getfixturevalue("worker_url") if database.on_postgresql else database_url, "mallory")


@pytest.fixture
def door(database: Database) -> ApiKeys:
    """The keys as a door asks for them."""
    return ApiKeys(Memory(database))


def test_a_key_is_alone_on_stdout_this_once(operator: Cli, door: ApiKeys) -> None:
    answer = operator("keys", "create", "--user", "ada", "--name", "laptop")
    assert answer.exit_code == 0
    token = answer.stdout.removesuffix("\n")
    principal = door.verify(token)
    assert principal is not None
    assert principal.person() == Identity.of(user="ada")
    assert "only once" in answer.stderr
    assert f"usermemory keys revoke {token.split('_')[1]}" in answer.stderr
    assert token not in answer.stderr


def test_as_json_the_key_stands_beside_what_is_on_record(operator: Cli, door: ApiKeys) -> None:
    made = operator("keys", "create", "--user", "ada", "--expires", "30", "--name", "laptop", "--json").json
    token = made.pop("token")
    assert sorted(made) == ["created_at", "expires_at", "id", "name", "organization", "revoked_at", "scopes"]
    assert made["scopes"] == ["memory:read", "memory:write"]
    assert (made["expires_at"][:10] > made["created_at"][:10]) is True
    principal = door.verify(token)
    assert principal is not None
    assert principal.owner is not None
    assert replace(principal, owner=None) == Principal(
        f"key {made['id']}", "default", frozenset({Scope.READ, Scope.WRITE}), Identity.of(user="ada")
    )
    assert operator("keys", "list", "--json").json == [made]


def test_a_key_may_be_for_less_and_for_a_number(operator: Cli, door: ApiKeys) -> None:
    arguments = ("--phone", "202 555 0123", "--region", "US", "--organization", "acme", "--scope", "memory:read")
    principal = door.verify(operator("keys", "create", *arguments, "--json").json["token"])
    assert principal is not None
    assert principal.scopes == frozenset({Scope.READ})
    assert principal.person() == Identity.of(organization="acme", phone="+12025550123")


def test_a_gateways_key_is_nobodys(operator: Cli, door: ApiKeys, database: Database) -> None:
    made = operator("keys", "create", "--act-as", "--organization", "acme", "--scope", "memory:write", "--json").json
    assert made["scopes"] == ["memory:write", "memory:act-as"]
    assert door.verify(made["token"]) == Principal(
        f"key {made['id']}", "acme", frozenset({Scope.WRITE, Scope.ACT_AS}), None
    )
    assert find(database, Identity.of(organization="acme", user="mallory")) is None


@pytest.mark.parametrize(
    ("arguments", "exit_code", "code"),
    [
        ((), 2, "no_identity"),
        (("--phone", "anonymous"), 2, "no_identity"),
        (("--user", ""), 1, "invalid_identity"),
        (("--user", "ada", "--organization", " "), 1, "invalid_identity"),
        (("--user", "ada", "--act-as"), 1, "invalid_input"),
        (("--phone", "+12025550123", "--act-as"), 1, "invalid_input"),
        (("--user", "ada", "--name", ""), 1, "invalid_name"),
        (("--act-as", "--organization", " "), 1, "invalid_name"),
        (("--user", "ada", "--scope", "memory:act-as"), 2, "usage"),
        (("--user", "ada", "--scope", "memory:everything"), 2, "usage"),
        (("--user", "ada", "--expires", "0"), 2, "usage"),
        (("--user", "ada", "--expires", "36501"), 2, "usage"),
        (("--user", "ada", "--expires", "soon"), 2, "usage"),
    ],
)
def test_what_is_refused_makes_no_key(operator: Cli, arguments: tuple[str, ...], exit_code: int, code: str) -> None:
    answer = operator("keys", "create", *arguments, "--json")
    assert (answer.exit_code, answer.error["code"]) == (exit_code, code)
    assert operator("keys", "list", "--json").json == []


def test_the_list_shows_what_became_of_each_key_and_never_its_secret(operator: Cli) -> None:
    made = [
        operator("keys", "create", *arguments, "--json").json
        for arguments in (
            ("--user", "lovelace", "--name", "laptop"),
            ("--act-as",),
            ("--user", "bob", "--expires", "1"),
        )
    ]
    operator("keys", "revoke", made[1]["id"])
    answer = operator("keys", "list")
    lines = answer.lines
    assert lines[0] == f"{made[0]['id']}  valid  laptop"
    assert lines[1].split()[:3] == ["default", "memory:read", "memory:write"]
    assert lines[2].startswith(f"{made[1]['id']}  revoked ")
    assert lines[4].startswith(f"{made[2]['id']}  valid until ")
    for each in made:
        assert each["token"].split("_", 2)[2] not in answer.stdout
    assert "lovelace" not in answer.stdout


def test_a_name_cannot_play_tricks_on_a_terminal(operator: Cli) -> None:
    answer = operator("keys", "create", "--user", "ada", "--name", "a\x1b[31mb", "--json")
    assert answer.error["code"] == "invalid_name"


def test_the_list_goes_on_behind_a_key_and_keeps_to_an_organization(operator: Cli) -> None:
    first, second, third = (
        operator("keys", "create", "--act-as", "--organization", each, "--json").json["id"]
        for each in ("acme", "zeta", "acme")
    )
    page = operator("keys", "list", "--limit", "2")
    assert page.stderr == f"More: --after {second}\n"
    rest = operator("keys", "list", "--after", second, "--json").json
    assert [key["id"] for key in rest] == [third]
    of_acme = operator("keys", "list", "--organization", "acme", "--json").json
    assert [key["id"] for key in of_acme] == [first, third]
    assert operator("keys", "list", "--organization", "none").lines == ["There are no keys."]
    assert operator("keys", "list", "--after", "0" * 12).exit_code == 3


def test_a_revoked_key_opens_nothing(operator: Cli, door: ApiKeys) -> None:
    made = operator("keys", "create", "--user", "ada", "--json").json
    assert door.verify(made["token"]) is not None
    assert operator("keys", "revoke", made["id"], "--json").json == {"id": made["id"], "status": "revoked"}
    assert door.verify(made["token"]) is None
    assert operator("keys", "revoke", made["id"]).lines == ["Revoked."]


def test_what_is_no_id_of_a_key_is_not_found(operator: Cli) -> None:
    token = operator("keys", "create", "--user", "ada", "--json").json["token"]
    answer = operator("keys", "revoke", token, "--json")
    assert (answer.exit_code, answer.error["code"]) == (3, "not_found")
    assert token not in answer.error["message"]


@pytest.mark.parametrize("backend", ["postgresql"])
def test_the_workers_url_goes_before_the_applications(
    database_url: str, worker_url: str, door: ApiKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USERMEMORY_WORKER_DATABASE", worker_url)
    shell = Cli(database_url)
    made = shell("keys", "create", "--user", "ada", "--json").json
    assert [key["id"] for key in shell("keys", "list", "--json").json] == [made["id"]]
    assert shell("keys", "revoke", made["id"]).exit_code == 0
    assert door.verify(made["token"]) is None


@pytest.mark.parametrize("backend", ["postgresql"])
def test_the_applications_url_is_not_enough(database_url: str, operator: Cli) -> None:
    key_id = operator("keys", "create", "--user", "ada", "--json").json["id"]
    application = Cli(database_url)
    for arguments in (("create", "--user", "bob"), ("create", "--act-as"), ("list",), ("revoke", key_id)):
        answer = application("keys", *arguments, "--json")
        assert (answer.exit_code, answer.error["code"]) == (1, "unsafe_role")
        assert "worker's URL" in answer.error["message"]
    assert [key["revoked_at"] for key in operator("keys", "list", "--json").json] == [None]
