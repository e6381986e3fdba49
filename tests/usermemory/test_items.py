"""items and profile."""

import json
from collections.abc import Callable

import pytest

from memory_tools.memory import UserMemory
from tests.contents import Contents
from tests.usermemory.cli import Cli


def test_set_keeps_a_value_and_answers_the_whole_item(cli: Cli, person: UserMemory) -> None:
    item = cli("items", "set", "prefs", "tone", '{"warm": [1, 1.0, null]}', "--json").json
    assert item.keys() == {"namespace", "key", "value", "version", "created_at", "updated_at"}
    assert item["version"] == 1
    assert person.items.get("prefs", "tone").value == {"warm": [1, 1.0, None]}


@pytest.mark.parametrize("value", ["-5", "null", '"--json"', "[]"])
def test_every_json_value_can_be_an_argument(cli: Cli, value: str) -> None:
    assert cli("items", "set", "prefs", "x", value, "--json").json["value"] == json.loads(value)


def test_a_value_can_come_from_stdin(cli: Cli) -> None:
    assert cli("items", "set", "prefs", "x", "-", "--json", stdin='"ä"'.encode()).json["value"] == "ä"


def test_set_at_an_expected_version(cli: Cli) -> None:
    assert cli("items", "set", "prefs", "x", "1", "--expected-version", "0", "--json").json["version"] == 1
    assert cli("items", "set", "prefs", "x", "2", "--expected-version", "1", "--json").json["version"] == 2
    answer = cli("items", "set", "prefs", "x", "3", "--expected-version", "1", "--json")
    assert (answer.exit_code, answer.error["code"], answer.error["expected"]) == (4, "version_conflict", 1)


def test_push_keeps_the_newest(cli: Cli) -> None:
    for number in range(4):
        item = cli("items", "push", "suggestions", "books", str(number), "--keep", "3", "--json").json
    assert item["value"] == [1, 2, 3]


def test_get_answers_the_whole_item(cli: Cli) -> None:
    kept = cli("items", "set", "prefs", "tone", '"warm"', "--json").json
    assert cli("items", "get", "prefs", "tone", "--json").json == kept
    title, value = cli("items", "get", "prefs", "tone").lines
    assert title.startswith("prefs/tone  version 1, ")
    assert value == '  "warm"'


def test_list_is_ordered_and_comes_in_pages(cli: Cli) -> None:
    assert cli("items", "list", "prefs", "--json").json == []
    for key in ("b", "a", "c"):
        cli("items", "set", "prefs", key, f'"{key}"')
    cli("items", "set", "other", "z", "1")
    assert [item["key"] for item in cli("items", "list", "prefs", "--json").json] == ["a", "b", "c"]
    assert [item["key"] for item in cli("items", "list", "prefs", "--limit", "1", "--after", "a", "--json").json] == [
        "b"
    ]
    first = cli("items", "list", "prefs", "--limit", "2")
    assert first.lines == ['a  "a"', 'b  "b"']
    assert first.stderr == "More: --after b\n"


def test_delete_deletes_once(cli: Cli) -> None:
    cli("items", "set", "prefs", "tone", "1")
    assert cli("items", "delete", "prefs", "tone", "--json").json["status"] == "deleted"
    for command in ("get", "delete"):
        answer = cli("items", command, "prefs", "tone", "--json")
        assert (answer.exit_code, answer.error["code"]) == (3, "not_found")


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("NaN", "invalid_json"),
        ("[1e400]", "invalid_json"),
        ('"\\u0000"', "invalid_json"),
        ('{"a": 1, "a": 2}', "invalid_json"),
        ("warm", "invalid_json"),
        ("", "invalid_json"),
        ('"\\ud800"', "invalid_json"),
        ("9223372036854775808", "invalid_json"),
        ("[" * 65 + "]" * 65, "invalid_json"),
        (f'"{"x" * 10_240}"', "too_large"),
    ],
)
def test_what_is_no_json_to_keep_is_refused_and_nobody_is_made(
    cli: Cli, contents: Callable[[], Contents], value: str, code: str
) -> None:
    before = contents()
    for command in ("set", "push"):
        answer = cli("items", command, "prefs", "x", value, "--json")
        assert (answer.exit_code, answer.error["code"]) == (1, code)
    assert contents() == before


@pytest.mark.parametrize("name", ["", "x" * 257, "a\nb", "a\u202eb", " a", "e\u0301"])
def test_what_cannot_be_a_name_is_refused(cli: Cli, name: str) -> None:
    for arguments in (("set", name, "k", "1"), ("set", "n", name, "1"), ("get", "n", name), ("list", name)):
        answer = cli("items", *arguments, "--json")
        assert (answer.exit_code, answer.error["code"]) == (1, "invalid_name")


def test_numbers_beyond_any_version_are_wrong_usage(cli: Cli) -> None:
    answer = cli("items", "set", "prefs", "x", "1", "--expected-version", "99999999999999999999", "--json")
    assert (answer.exit_code, answer.error["code"]) == (2, "usage")


def test_a_misspelt_option_is_wrong_usage(cli: Cli) -> None:
    assert cli("items", "set", "prefs", "x", "1", "--expectedversion", "1").exit_code == 2


def test_a_person_nobody_has_met_has_no_items_and_is_not_made(cli: Cli, contents: Callable[[], Contents]) -> None:
    before = contents()
    assert cli("items", "list", "prefs").lines == ["Nothing is kept here."]
    assert cli("items", "get", "prefs", "x").exit_code == 3
    assert cli("items", "delete", "prefs", "x").exit_code == 3
    assert cli("profile", "get").exit_code == 3
    assert cli("profile", "delete").exit_code == 3
    assert contents() == before


def test_the_profile_is_one_text(cli: Cli) -> None:
    cli("profile", "set", "Ada likes tea.")
    assert cli("profile", "set", "Ada likes\ncoffee.").lines == ["Kept."]
    assert cli("profile", "get", "--json").json["text"] == "Ada likes\ncoffee."
    assert cli("profile", "get").lines == ["Ada likes", "coffee."]
    assert cli("profile", "delete", "--json").json == {"status": "deleted"}
    assert cli("profile", "get", "--json").error["code"] == "not_found"


def test_the_profile_can_come_from_stdin(cli: Cli) -> None:
    assert cli("profile", "set", "-", "--json", stdin="Grüße".encode()).json["text"] == "Grüße"


@pytest.mark.parametrize(("text", "code"), [(b"a\x00b", "invalid_json"), (b"\xff", "invalid_json")])
def test_a_profile_that_is_no_text_is_refused(cli: Cli, text: bytes, code: str) -> None:
    answer = cli("profile", "set", "-", "--json", stdin=text)
    assert (answer.exit_code, answer.error["code"]) == (1, code)


def test_a_profile_over_the_limit_is_refused(cli: Cli) -> None:
    answer = cli("profile", "set", "-", "--json", stdin="ä" * 131_073)
    assert (answer.exit_code, answer.error["code"]) == (1, "too_large")
