"""show, history, diff and revert."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from memory_tools.memory import UserMemory
from storage.patch import apply
from storage.provenance import Actor, Provenance, TokenUsage, by_operator
from tests.contents import Contents
from tests.usermemory.cli import Cli

FIRST = {"summary": "Ada likes tea.", "parts": {"critic": {"name": "Inner Critic"}}}
SECOND = {"summary": "Ada likes coffee.", "parts": {"critic": {"name": "Inner Critic"}}, "safety_notes": "No flash."}


@pytest.fixture(autouse=True)
def two_versions(person: UserMemory) -> None:
    person.document.append(FIRST)
    person.document.append(SECOND, provenance=Provenance(Actor.AGENT, "mcp", model="gpt", tokens=TokenUsage(10, 5)))


def test_show_prints_the_document_itself(cli: Cli) -> None:
    assert cli("show", "--json").json == SECOND | {"version": 2, "last_updated_by": "agent"}


def test_show_for_people_is_the_same_json_laid_out(cli: Cli) -> None:
    assert json.loads(cli("show").stdout) == cli("show", "--json").json


def test_show_reads_one_place(cli: Cli) -> None:
    assert cli("show", "/parts/critic", "--json").json == {"name": "Inner Critic"}
    assert cli("show", "/summary").stdout == "Ada likes coffee.\n"


def test_show_reads_an_older_version(cli: Cli) -> None:
    assert cli("show", "--at", "1", "/summary", "--json").json == "Ada likes tea."
    assert cli("show", "--at", "0", "--json").json == {}


def test_show_reads_what_was_in_force_at_a_time(cli: Cli, person: UserMemory) -> None:
    first, second = (entry.created_at for entry in reversed(person.document.history().entries))
    assert cli("show", "--at", second.isoformat(), "--json").json["version"] == 2
    assert cli("show", "--at", first.isoformat(), "--json").json["version"] == 1
    assert cli("show", "--at", (first - timedelta(days=1)).isoformat(), "--json").json == {}
    assert cli("show", "--at", (datetime.now(UTC) + timedelta(days=1)).isoformat(), "--json").json["version"] == 2


def test_history_is_newest_first_with_everything_about_each_version(cli: Cli) -> None:
    newest, oldest = cli("history", "--json").json
    assert (newest["version"], oldest["version"]) == (2, 1)
    assert newest["provenance"]["model"] == "gpt"
    assert newest["provenance"]["tokens"] == {"input": 10, "output": 5}
    assert apply(apply({}, oldest["patch"]), newest["patch"]) == SECOND
    assert datetime.fromisoformat(newest["created_at"]).tzinfo is not None
    assert newest["patch_bytes"] > 0
    assert newest["checkpoint_bytes"] is None
    assert oldest["checkpoint_bytes"] > 0


def test_history_comes_in_pages(cli: Cli) -> None:
    first = cli("history", "--limit", "1")
    assert first.lines[0].startswith("version 2")
    assert "--before 2" in first.stderr
    [rest] = cli("history", "--limit", "1", "--before", "2", "--json").json
    assert rest["version"] == 1


def test_history_for_people_shows_each_change_in_a_line(cli: Cli) -> None:
    lines = cli("history").lines
    assert "agent through mcp, gpt, 10 tokens in, 5 out" in lines[0]
    assert "  ~ /summary  [- tea.-]{+ coffee.+}" in lines
    assert '  + /safety_notes  "No flash."' in lines


def test_diff_is_the_patch_between_two_versions_in_either_direction(cli: Cli) -> None:
    assert apply(FIRST, cli("diff", "1", "2", "--json").json) == SECOND
    assert apply(SECOND, cli("diff", "2", "1", "--json").json) == FIRST
    assert cli("diff", "2", "2", "--json").json == []


def test_diff_for_people_shows_old_and_new_by_place(cli: Cli) -> None:
    title, *lines = cli("diff", "1", "2").lines
    assert title == "version 1 → 2"
    assert sorted(lines) == ['  + /safety_notes  "No flash."', "  ~ /summary  Ada likes[- tea.-]{+ coffee.+}"]
    assert sorted(cli("diff", "2", "0").lines[1:]) == [
        '  - /parts  {"critic": {"name": "Inner Critic"}}',
        '  - /safety_notes  "No flash."',
        '  - /summary  "Ada likes coffee."',
    ]


def test_revert_saves_an_older_version_as_the_newest_although_the_guard_would_hold_it(cli: Cli) -> None:
    answer = cli("revert", "1", "--json").json
    assert (answer["status"], answer["version"]) == ("saved", 3)
    assert cli("show", "--json").json == FIRST | {"version": 3, "last_updated_by": "operator"}


def test_revert_to_what_is_in_force_changes_nothing(cli: Cli) -> None:
    assert cli("revert", "2", "--json").json == {"status": "unchanged", "version": 2}
    assert cli("revert", "2").lines == ["Unchanged: version 2 says so already."]


def test_a_version_that_was_never_saved_is_not_found(cli: Cli) -> None:
    for arguments in (("show", "--at", "9"), ("diff", "1", "9"), ("revert", "9")):
        answer = cli(*arguments, "--json")
        assert (answer.exit_code, answer.error["code"]) == (3, "not_found")


@pytest.mark.parametrize("pointer", ["/nothing", "/parts/critic/name/0", "/summary/-1"])
def test_a_place_that_is_not_there_is_not_found(cli: Cli, pointer: str) -> None:
    answer = cli("show", pointer, "--json")
    assert (answer.exit_code, answer.error["code"]) == (3, "not_found")


@pytest.mark.parametrize("pointer", ["summary", "/a~2b"])
def test_a_malformed_pointer_is_refused(cli: Cli, pointer: str) -> None:
    assert cli("show", pointer, "--json").exit_code == 1


@pytest.mark.parametrize("moment", ["yesterday", "-1", "1e3", "9999-12-31T23:59:59-12:00", "99999999999999999999"])
def test_what_is_neither_a_version_nor_a_time_is_wrong_usage(cli: Cli, moment: str) -> None:
    answer = cli("show", f"--at={moment}", "--json")
    assert (answer.exit_code, answer.error["code"]) == (2, "usage")


def test_a_time_without_zone_is_refused(cli: Cli) -> None:
    answer = cli("show", "--at", "2026-11-20T09:00", "--json")
    assert (answer.exit_code, answer.error["code"]) == (1, "invalid_input")


@pytest.mark.parametrize("limit", ["0", "101"])
def test_a_page_of_another_size_than_1_to_100_is_refused(cli: Cli, limit: str) -> None:
    answer = cli("history", "--limit", limit, "--json")
    assert (answer.exit_code, answer.error["code"]) == (1, "invalid_input")
    assert "limit" in answer.error["message"]


def test_a_person_nobody_has_met_reads_empty_and_is_not_made(cli: Cli, contents: Callable[[], Contents]) -> None:
    before = contents()
    stranger = Cli(cli.url, "stranger")
    assert stranger("show", "--json").json == {}
    assert stranger("show").stdout == "{}\n"
    assert stranger("history", "--json").json == []
    assert stranger("history").lines == ["No version yet."]
    assert stranger("diff", "0", "0", "--json").json == []
    assert stranger("revert", "0", "--json").json == {"status": "unchanged", "version": 0}
    assert stranger("revert", "1", "--json").exit_code == 3
    assert stranger("show", "--at", "2026-11-20T09:00Z", "--json").json == {}
    assert contents() == before


def test_what_somebody_said_cannot_steer_the_terminal(cli: Cli, person: UserMemory) -> None:
    said = {"summary": "a\x1b[2Jb\u202ec\x9bd", "\x1b]0;title\x07": 1}
    person.document.append(said, provenance=by_operator)
    commands = (("show",), ("show", "/summary"), ("history",), ("diff", "2", "3"))
    printed = [cli(*command).stdout for command in commands]
    assert all("\x1b" not in text and "\u202e" not in text and "\x9b" not in text for text in printed)
    assert "a\\u001b[2Jb\\u202ec\\u009bd" in printed[0]
