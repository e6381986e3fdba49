"""`usermemory mcp`: who is served, from which database, and what is refused before anything is served."""

import json
import os
from pathlib import Path

import pytest

from memory_tools.memory import Memory
from tests.mcp_server.wire import running
from tests.usermemory.cli import Cli

NOBODY = "Nobody was named, so there is no memory to serve. Add --user ID (or --phone NUMBER) behind `usermemory mcp`"


def test_without_a_person_it_says_what_to_add(on_sqlite: Cli) -> None:
    answer = Cli(on_sqlite.url)("mcp")
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert answer.stderr.startswith(f"Error: {NOBODY}, or set USERMEMORY_USER.")
    assert len(answer.stderr.splitlines()) == 1


def test_http_wants_a_person_or_tokens_too(on_sqlite: Cli) -> None:
    nobody = Cli(on_sqlite.url)
    answer = nobody("mcp", "--http")
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert "--issuer URL or --api-keys" in answer.stderr
    answer = nobody("mcp", "--http", "--api-keys", "--user", "ada")
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert "not both" in answer.stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--tools", "some"], 2),
        (["--max-tokens", "199"], 2),
        (["--max-tokens", "8001"], 2),
        (["--max-tokens", "many"], 2),
        (["--pace", "often"], 1),
        (["--flow", " x"], 1),
        (["--user", " ada"], 1),
        (["--user", ""], 1),
        (["--organization", "a\nb"], 1),
        (["--database", "mysql://localhost/x"], 1),
        (["--http", "--host", "0.0.0.0"], 1),
        (["--http", "--port", "65536"], 2),
        (["--http", "--path", "/health"], 1),
        (["--http", "--path", "mcp"], 1),
        (["--port", "8000"], 2),
        (["--api-keys"], 2),
        (["--unknown"], 2),
        (["nonsense"], 2),
    ],
)
def test_what_cannot_be_served_is_refused_before_anything_is(on_sqlite: Cli, arguments: list[str], code: int) -> None:
    answer = on_sqlite("mcp", *arguments)
    assert (answer.exit_code, answer.stdout) == (code, "")
    assert answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_phone_number_that_names_nobody_is_refused(on_sqlite: Cli) -> None:
    answer = Cli(on_sqlite.url)("mcp", "--phone", "12")
    assert answer.exit_code != 0
    assert answer.stdout == ""


def test_the_environment_names_the_person_and_memory_is_kept_in_the_folder_for_data(tmp_path: Path) -> None:
    here, data = tmp_path / "here", tmp_path / "data"
    here.mkdir()
    named = {"USERMEMORY_USER": "ada", "USERMEMORY_ORGANIZATION": "acme", "XDG_DATA_HOME": str(data)}
    with running("-m", "usermemory", "mcp", "--tools", "core", "--max-tokens", "200", cwd=here, **named) as wire:
        wire.begin()
        wire.ask(1, "set_memory_item", key="tone", value="warm " * 100)
        assert wire.answer()["result"]["isError"] is False
        wire.ask(2, "get_memory_item", key="tone")
        assert len(json.dumps(wire.answer())) < 1_500
        wire.ask(3, "delete_memory_item", key="tone")
        assert wire.answer()["result"]["isError"] is True
        assert wire.end() == (0, b"", b"")
    assert list(here.iterdir()) == []
    folder = data / "usermemory"
    if os.name == "posix":
        assert folder.stat().st_mode & 0o777 == 0o700
    with Memory.open(f"sqlite:///{folder / 'memory.db'}") as memory:
        assert memory.of(user="ada", organization="acme").items.get("default", "tone").version == 1
        assert memory.of(user="ada").items.in_namespace().entries == ()


def test_a_database_that_is_not_there_is_said_on_stderr(tmp_path: Path) -> None:
    answer = Cli(f"sqlite:///{tmp_path / 'none' / 'memory.db'}", "ada")("mcp")
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert answer.stderr.startswith("Error: ")
    assert "Traceback" not in answer.stderr
