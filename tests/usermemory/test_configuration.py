"""configuration: what memory may do in an organization and in its flows."""

import pytest

from memory_tools.memory import Memory
from storage.database import Database
from storage.errors import UnsafeRole
from tests.usermemory.cli import Cli


@pytest.fixture
def operator(backend: str, request: pytest.FixtureRequest, database: Database, database_url: str) -> Cli:
    """The command line with the URL that an operator has."""
    return Cli(request.getfixturevalue("worker_url") if database.on_postgresql else database_url)


def test_a_flow_stands_over_its_organization_and_that_over_the_defaults(operator: Cli) -> None:
    operator("configuration", "set", "retentionDays=90", "autoStore=true", "--organization", "acme")
    operator("configuration", "set", "autoStore=false", "--organization", "acme", "--flow", "intake")
    shown = operator("configuration", "show", "--organization", "acme", "--flow", "intake", "--json").json
    assert shown["set"] == {"autoStore": False}
    assert (shown["effective"]["retentionDays"], shown["effective"]["autoStore"]) == (90, False)
    elsewhere = operator("configuration", "show", "--json").json
    assert elsewhere["set"] == {}
    assert elsewhere["effective"]["retentionDays"] == 365


def test_setting_leaves_the_other_members_as_they_are(operator: Cli) -> None:
    operator("configuration", "set", "enabled=false")
    assert operator("configuration", "set", "retentionDays=7", "--json").json == {"enabled": False, "retentionDays": 7}
    lines = operator("configuration", "show").lines
    assert lines[0].split() == ["enabled", "false", "set", "here"]


def test_reset_lets_the_level_below_hold_again(operator: Cli) -> None:
    operator("configuration", "set", "enabled=false")
    assert operator("configuration", "reset", "--json").json == {"status": "reset"}
    assert operator("configuration", "show", "--json").json["effective"]["enabled"] is True
    assert operator("configuration", "reset", "--json").exit_code == 3


@pytest.mark.parametrize("wrong", ["enabled", "enabled=yes", 'enabled="true"', "retentionDays=0", "colour=1", "=1"])
def test_what_is_no_member_is_refused_and_nothing_is_kept(operator: Cli, wrong: str) -> None:
    answer = operator("configuration", "set", "autoStore=true", wrong, "--json")
    assert (answer.exit_code, answer.error["code"]) == (1, "invalid_input")
    assert operator("configuration", "show", "--json").json["set"] == {}


def test_the_application_may_read_and_not_edit_on_postgresql(cli: Cli, database: Database) -> None:
    assert cli("configuration", "show", "--json").json["set"] == {}
    if database.on_postgresql:
        answer = cli("configuration", "set", "enabled=false", "--json")
        assert answer.error["code"] == "unsafe_role"
        assert "worker's URL" in answer.error["message"]
        with pytest.raises(UnsafeRole):
            Memory(database).configurations.reset()
