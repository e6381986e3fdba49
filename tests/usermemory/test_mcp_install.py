"""mcp install: what is printed for each client, and when a file is written."""

import asyncio
import json
import os
import re
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from mcp import Client, StdioServerParameters

from tests.usermemory.cli import Answer
from usermemory.commands import main

UVX = ["--from", f"usermemory=={version('usermemory')}", "usermemory", "mcp"]
PAGE = Path(__file__).parents[2] / "docs" / "desktop.md"
SECRET = "postgresql://ada:s3cret@db/memory"

Install = Callable[..., Answer]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def install(home: Path) -> Install:
    """The command for a client, in a home of its own."""

    def run(client: str, *arguments: str, stdin: str | None = None, user: str | None = "ada", **more: str) -> Answer:
        environment = {"HOME": str(home), "XDG_CONFIG_HOME": None, "CODEX_HOME": None, "USERMEMORY_USER": user, **more}
        runner = CliRunner(env=environment)
        call = ["mcp", "install", "--client", client, *arguments]
        result = runner.invoke(main, call, input=stdin, catch_exceptions=False)
        return Answer(result.exit_code, result.stdout, result.stderr)

    return run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "mcp.json"


def test_what_to_paste_goes_to_stdout_and_where_to_stderr(install: Install, home: Path) -> None:
    answer = install("cursor")
    entry = {"command": "uvx", "args": [*UVX, "--user", "ada"]}
    assert json.loads(answer.stdout) == {"mcpServers": {"memory": entry}}
    assert str(home / ".cursor" / "mcp.json") in answer.stderr
    assert list(home.iterdir()) == []


def test_claude_code_and_codex_get_what_they_understand(install: Install) -> None:
    [line] = install("claude-code").lines
    assert line == f"claude mcp add --scope user memory -- uvx {' '.join(UVX)} --user ada"
    printed = tomllib.loads(install("codex", "--name", "mine").stdout)
    assert printed["mcp_servers"]["mine"]["args"] == [*UVX, "--user", "ada"]


def test_programs_get_the_same_as_json(install: Install, home: Path) -> None:
    answer = install("vscode", "--json").json
    path = home / ("Library/Application Support" if sys.platform == "darwin" else ".config") / "Code/User/mcp.json"
    assert (answer["client"], answer["name"], answer["path"]) == ("vscode", "memory", str(path))
    assert answer["entry"] == {"type": "stdio", "command": "uvx", "args": [*UVX, "--user", "ada"]}
    assert json.loads(answer["snippet"]) == {"servers": {"memory": answer["entry"]}}
    assert (answer["written"], answer["backup"]) == (False, None)


def test_who_is_named_and_where_memory_is_kept_stand_in_the_entry(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ("--phone", "2025550123", "--region", "US", "--organization", "acme", "--database", "sqlite:///m.db")
    entry = install("cursor", *arguments, "--json").json["entry"]
    expected = ["--phone", "+12025550123", "--organization", "acme", "--database", f"sqlite:///{tmp_path}/m.db"]
    assert entry["args"] == [*UVX, *expected]


def test_the_environment_of_this_shell_counts_as_the_client_will_not_have_it(install: Install) -> None:
    more = {"USERMEMORY_ORGANIZATION": "acme", "USERMEMORY_DATABASE": "postgresql://ada@db/memory"}
    entry = install("cursor", "--json", **more).json["entry"]
    postgres = ["--from", f"usermemory[postgres]=={version('usermemory')}", "usermemory", "mcp"]
    whose = ["--user", "ada", "--organization", "acme"]
    assert entry["args"] == [*postgres, *whose, "--database", "postgresql://ada@db/memory"]


def test_nobody_named_is_refused_before_anything_is_written(install: Install, path: Path) -> None:
    answer = install("cursor", "--path", str(path), "--write", "--yes", "--json", user=None)
    assert (answer.exit_code, answer.error["code"]) == (2, "no_identity")
    assert "--user" in answer.error["message"]
    assert not path.exists()
    assert install("cursor", "--phone", "anonymous", "--json", user=None).error["code"] == "no_identity"


def test_a_checkout_is_started_with_its_own_python(install: Install) -> None:
    entry = install("cursor", "--local", "--json").json["entry"]
    assert entry == {"command": sys.executable, "args": ["-P", "-m", "usermemory", "mcp", "--user", "ada"]}


def test_uvx_can_be_named_for_clients_that_do_not_find_it(install: Install) -> None:
    answer = install("cursor", "--uvx", "/opt/uv/uvx")
    assert json.loads(answer.stdout)["mcpServers"]["memory"]["command"] == "/opt/uv/uvx"
    assert "/opt/uv/uvx was not found here" in answer.stderr


def test_nothing_is_written_before_the_question_is_answered(install: Install, path: Path) -> None:
    for said, status in (("n\n", 1), ("", 130)):
        answer = install("cursor", "--path", str(path), "--write", stdin=said)
        assert answer.exit_code == status
        assert answer.stdout == ""
        assert str(path) in answer.stderr
        assert '"--user"' in answer.stderr
        assert not path.exists()
    assert install("cursor", "--path", str(path), "--write", stdin="y\n").lines == [f"Written: {path}"]
    assert json.loads(path.read_text())["mcpServers"]["memory"]["command"] == "uvx"


def test_scripts_say_yes_beforehand(install: Install, path: Path) -> None:
    path.write_text('{"theme": "dark"}')
    answer = install("cursor", "--path", str(path), "--write", "--yes", "--json").json
    assert (answer["written"], answer["path"]) == (True, str(path))
    assert Path(answer["backup"]).read_text() == '{"theme": "dark"}'
    assert json.loads(path.read_text()) == {"theme": "dark", "mcpServers": {"memory": answer["entry"]}}
    refused = install("cursor", "--path", str(path), "--write", "--json")
    assert (refused.exit_code, refused.error["code"]) == (2, "usage")


def test_writing_the_same_again_changes_nothing_and_says_so(install: Install, path: Path) -> None:
    install("cursor", "--path", str(path), "--write", "--yes")
    before = path.stat()
    again = install("cursor", "--path", str(path), "--write")
    assert again.lines == [f"Nothing to do: {path} says so already."]
    assert install("cursor", "--path", str(path), "--write", "--yes", "--json").json["written"] is False
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert list(path.parent.glob("*.backup*")) == []


def test_another_entry_of_the_name_is_replaced_only_where_that_is_said(install: Install, path: Path) -> None:
    other = {"mcpServers": {"memory": {"command": "npx", "env": {"KEY": "theirs"}}}}
    path.write_text(json.dumps(other))
    refused = install("cursor", "--path", str(path), "--write", "--yes", "--json")
    assert (refused.exit_code, refused.error["code"]) == (4, "conflict")
    assert json.loads(path.read_text()) == other
    answer = install("cursor", "--path", str(path), "--write", "--yes", "--replace")
    assert "becomes" in answer.stderr
    assert "theirs" not in answer.stderr + answer.stdout
    assert json.loads(path.read_text())["mcpServers"]["memory"]["command"] == "uvx"
    assert install("cursor", "--path", str(path), "--name", "second", "--write", "--yes").exit_code == 0
    assert list(json.loads(path.read_text())["mcpServers"]) == ["memory", "second"]


def test_a_file_with_comments_is_left_and_the_entry_printed_to_paste(install: Install, path: Path) -> None:
    path.write_text('{\n  // mine\n  "servers": {}\n}')
    answer = install("vscode", "--path", str(path), "--write", "--yes")
    assert answer.exit_code == 1
    assert "comments" in answer.stderr
    assert json.loads(answer.stdout)["servers"]["memory"]["type"] == "stdio"
    assert install("vscode", "--path", str(path), "--write", "--yes", "--json").error["code"] == "invalid_json"
    assert path.read_text() == '{\n  // mine\n  "servers": {}\n}'


def test_a_password_is_written_for_the_server_and_shown_to_nobody(install: Install, path: Path) -> None:
    for arguments in ((), ("--json",), ("--write",), ("--write", "--yes"), ("--write", "--yes", "--replace", "--json")):
        answer = install("cursor", "--path", str(path), "--database", SECRET, *arguments, stdin="n\n")
        assert "s3cret" not in answer.stdout + answer.stderr
        assert "--json" in arguments or "Nothing to do" in answer.stdout or "password" in answer.stderr
    entry = json.loads(path.read_text())["mcpServers"]["memory"]
    assert entry["env"] == {"USERMEMORY_DATABASE": SECRET}
    assert "s3cret" not in str(entry["args"])


def test_a_password_into_a_file_that_others_read_is_pointed_out(install: Install, path: Path) -> None:
    path.write_text("{}")
    path.chmod(0o644)
    assert "chmod 600" in install("cursor", "--path", str(path), "--database", SECRET, "--write", "--yes").stderr


def test_a_password_is_kept_out_of_command_lines_and_shared_files(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = install("claude-code", "--database", SECRET, "--json")
    shared = install("cursor", "--project", "--database", SECRET, "--write", "--yes", "--json")
    for answer in (line, shared):
        assert (answer.exit_code, answer.error["code"]) == (1, "invalid_input")
        assert "s3cret" not in answer.stderr
    assert not (tmp_path / ".cursor").exists()


@pytest.mark.parametrize(
    ("client", "file"), [("cursor", ".cursor/mcp.json"), ("vscode", ".vscode/mcp.json"), ("claude-code", ".mcp.json")]
)
def test_a_project_gets_its_own_file(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client: str, file: str
) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    answer = install(client, "--project", "--write", "--yes", "--json").json
    assert answer["path"] == str(folder / file)
    [servers] = json.loads((folder / file).read_text()).values()
    assert servers == {"memory": answer["entry"]}


@pytest.mark.parametrize(
    "arguments",
    [
        ("claude-code", "--write", "--yes"),
        ("codex", "--write", "--yes"),
        ("claude-desktop", "--project"),
        ("cursor", "--project", "--path", "mcp.json"),
        ("cursor", "--local", "--uvx", "uvx"),
        ("cursor", "--name", "my memory"),
        ("emacs",),
    ],
)
def test_what_cannot_be_meant_is_wrong_usage(install: Install, home: Path, arguments: tuple[str, ...]) -> None:
    answer = install(*arguments, "--json")
    assert (answer.exit_code, answer.error["code"]) == (2, "usage")
    assert list(home.iterdir()) == []


def test_a_link_of_somebody_who_keeps_such_files_elsewhere_is_said_to_be_one(install: Install, tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    os.symlink(tmp_path / "real.json", link)
    answer = install("cursor", "--path", str(link), "--write", "--yes")
    assert f"a link to {tmp_path / 'real.json'}" in answer.stderr
    assert link.is_symlink()
    assert (tmp_path / "real.json").exists()


def test_a_file_that_cannot_be_read_is_named(install: Install, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answer = install("cursor", "--path", str(tmp_path / "file" / "mcp.json"), "--write", "--yes", "--json")
    assert (answer.exit_code, answer.error["code"]) == (1, "invalid_input")
    assert "cannot be read" in answer.error["message"]


async def ask(entry: dict[str, Any], tool: str, **arguments: Any) -> Any:
    """Start the server as a client does, from a folder of its own, and call one tool."""
    server = StdioServerParameters(command=entry["command"], args=entry["args"], env=entry.get("env"), cwd="/")
    async with Client(server) as client:
        answer = await client.call_tool(tool, arguments)
    assert not answer.is_error, answer.content
    return answer.structured_content


def test_the_entry_starts_a_server_that_still_knows_at_the_next_start(
    install: Install, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    install("cursor", "--path", str(path), "--local", "--database", "sqlite:///memory.db", "--write", "--yes")
    entry = json.loads(path.read_text())["mcpServers"]["memory"]
    asyncio.run(ask(entry, "set_memory_item", namespace="prefs", key="tone", value="warm"))
    item = asyncio.run(ask(entry, "get_memory_item", namespace="prefs", key="tone"))
    assert "warm" in json.dumps(item)
    assert (tmp_path / "memory.db").exists()


@pytest.mark.parametrize("client", ["claude-desktop", "claude-code", "cursor", "vscode", "codex"])
def test_the_page_shows_what_is_printed(install: Install, client: str) -> None:
    blocks = re.findall(r"^```\w*\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    assert install(client).stdout in blocks
