"""What a stranger may rely on: where answers go, how errors look, and how a command ends."""

import io
import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from memory_tools.memory import UserMemory
from tests.usermemory.cli import Cli
from usermemory.commands.options import Number

PERSONAL = ("show", "history", "items list prefs", "items get prefs x", "profile get", "pending list", "revert 1")


@pytest.mark.parametrize("command", PERSONAL)
def test_nobody_named_is_an_error_of_its_own(on_sqlite: Cli, command: str) -> None:
    answer = Cli(on_sqlite.url)(*command.split(), "--json")
    assert (answer.exit_code, answer.error["code"]) == (2, "no_identity")


def test_a_phone_that_names_nobody_is_nobody_named(on_sqlite: Cli) -> None:
    for phone in ("anonymous", "030 1234567"):
        answer = Cli(on_sqlite.url)("show", "--phone", phone, "--json")
        assert (answer.exit_code, answer.error["code"]) == (2, "no_identity")
        assert "country code" in answer.error["message"]


def test_a_person_is_named_by_user_or_phone_in_an_organization(on_sqlite: Cli) -> None:
    cli = Cli(on_sqlite.url)
    people = (
        ("--user", "ada"),
        ("--user", "ada", "--organization", "clinic"),
        ("--phone", "+1234567890"),
        ("--phone", "+1234567890", "--organization", "clinic"),
    )
    for number, person in enumerate(people):
        cli("items", "set", *person, "prefs", "number", str(number))
    for number, person in enumerate(people):
        assert cli("items", "get", "prefs", "number", *person, "--json").json["value"] == number


def test_a_phone_beside_a_user_opens_nothing(on_sqlite: Cli) -> None:
    cli = Cli(on_sqlite.url)
    cli("items", "set", "prefs", "secret", "1", "--phone", "+15550100")
    assert cli("items", "get", "prefs", "secret", "--phone", "+15550100", "--user", "mallory").exit_code == 3


def test_a_phone_named_here_and_now_is_meant_and_not_the_user_of_the_environment(on_sqlite: Cli) -> None:
    on_sqlite("items", "set", "prefs", "whose", '"ada"')
    assert on_sqlite("items", "get", "prefs", "whose", "--phone", "+15550101").exit_code == 3
    assert on_sqlite("items", "get", "prefs", "whose", "--phone", "+15550101", "--user", "ada").exit_code == 0


def test_without_json_an_error_is_a_sentence_on_stderr(on_sqlite: Cli) -> None:
    answer = on_sqlite("items", "get", "prefs", "no\x1b[31mthing")
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert answer.stderr.startswith("Error: ")
    assert "\x1b[31m" not in answer.stderr


@pytest.mark.parametrize(
    "arguments", [("shout",), ("show", "--no-such"), ("diff", "1"), ("diff", "a", "b"), ("items",), ("items", "eat")]
)
def test_wrong_usage_ends_with_2_as_text_and_as_json(on_sqlite: Cli, arguments: tuple[str, ...]) -> None:
    answer = on_sqlite(*arguments)
    assert answer.exit_code == 2
    assert answer.stdout == ""
    assert "Usage: usermemory" in answer.stderr
    if arguments != ("items",):
        report = on_sqlite(*arguments, "--json")
        assert (report.exit_code, report.error["code"]) == (2, "usage")


def test_json_after_two_dashes_is_a_value_and_no_option(on_sqlite: Cli) -> None:
    answer = on_sqlite("items", "get", "--", "prefs", "--json")
    assert (answer.exit_code, answer.stderr[:6]) == (3, "Error:")


def test_an_answer_in_json_is_one_line_of_canonical_utf_8(on_sqlite: Cli) -> None:
    answer = on_sqlite("items", "set", "prefs", "tone", '{"b": "ä", "a": 1.0}', "--json")
    assert answer.stdout.count("\n") == 1
    assert '"value":{"a":1.0,"b":"ä"}' in answer.stdout


def test_colours_are_for_terminals_that_want_them(
    cli: Cli, person: UserMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    person.document.append({"summary": "a"})
    assert "\x1b[" in cli("diff", "0", "1", color=True).stdout
    assert "\x1b[" not in cli("diff", "0", "1").stdout
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in cli("diff", "0", "1", color=True).stdout


class Interrupted(io.RawIOBase):
    """A keyboard at which somebody presses Ctrl-C."""

    def readable(self) -> bool:
        return True

    def readinto(self, _buffer: object) -> int:
        raise KeyboardInterrupt


def test_ctrl_c_ends_without_a_traceback(on_sqlite: Cli) -> None:
    answer = on_sqlite("profile", "set", "-", stdin=io.BufferedReader(Interrupted()))
    assert answer.exit_code == 130
    assert answer.stderr.strip() == "Interrupted."
    report = on_sqlite("profile", "set", "-", "--json", stdin=io.BufferedReader(Interrupted()))
    assert json.loads(report.stderr)["error"]["code"] == "interrupted"


def test_a_reader_who_leaves_early_is_no_error(on_sqlite: Cli) -> None:
    on_sqlite("items", "set", "prefs", "tone", f'"{"x" * 9_000}"')
    for _ in range(20):
        on_sqlite("items", "push", "prefs", "list", f'"{"x" * 400}"', "--keep", "20")
    command = [sys.executable, "-m", "usermemory", "items", "list", "prefs", "--json", "--user", "ada"]
    with subprocess.Popen(
        [*command, "--database", str(on_sqlite.url)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_a_file_of_another_user_is_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    answer = Cli(user="ada")("show", "--json")
    assert (answer.exit_code, answer.error["code"]) == (1, "database_unavailable")


def test_a_fault_of_the_program_itself_is_not_hidden(on_sqlite: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(type(Number), "convert", fault)
    with pytest.raises(ZeroDivisionError):
        on_sqlite("history", "--limit", "1")
    assert isinstance(Number, click.IntRange)
