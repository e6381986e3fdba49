"""Clients: where each keeps its file on each platform, and what stands there."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

from storage.errors import InvalidInput
from storage.identity import Identity
from usermemory.commands.clients import CLIENTS, Computer, claude_command
from usermemory.commands.launch import Launch, lasting_database, launch

HOME = Path("/people/ada")
APPDATA = {"APPDATA": "/c/Roaming", "LOCALAPPDATA": "/c/Local"}
ADA = Launch("uvx", ("usermemory", "mcp", "--user", 'Ada\'s "own" ☕'))


def file_of(client: str, platform: str, environment: Mapping[str, str], home: Path = HOME) -> Path | None:
    return CLIENTS[client].file(Computer(platform=platform, home=home, environment=environment), None)


@pytest.mark.parametrize(
    ("client", "platform", "environment", "path"),
    [
        ("claude-desktop", "darwin", {}, HOME / "Library/Application Support/Claude/claude_desktop_config.json"),
        ("claude-desktop", "win32", APPDATA, Path("/c/Roaming/Claude/claude_desktop_config.json")),
        ("claude-desktop", "win32", {}, HOME / "AppData/Roaming/Claude/claude_desktop_config.json"),
        ("claude-desktop", "linux", {}, HOME / ".config/Claude/claude_desktop_config.json"),
        ("claude-desktop", "linux", {"XDG_CONFIG_HOME": "/x"}, Path("/x/Claude/claude_desktop_config.json")),
        ("claude-code", "darwin", {}, None),
        ("cursor", "darwin", {}, HOME / ".cursor/mcp.json"),
        ("cursor", "win32", APPDATA, HOME / ".cursor/mcp.json"),
        ("cursor", "linux", {"XDG_CONFIG_HOME": "/x"}, HOME / ".cursor/mcp.json"),
        ("vscode", "darwin", {}, HOME / "Library/Application Support/Code/User/mcp.json"),
        ("vscode", "win32", APPDATA, Path("/c/Roaming/Code/User/mcp.json")),
        ("vscode", "linux", {}, HOME / ".config/Code/User/mcp.json"),
        ("codex", "linux", {}, HOME / ".codex/config.toml"),
        ("codex", "darwin", {"CODEX_HOME": "/codex"}, Path("/codex/config.toml")),
    ],
)
def test_each_client_has_its_file_where_the_platform_has_such_files(
    client: str, platform: str, environment: Mapping[str, str], path: Path | None
) -> None:
    assert file_of(client, platform, environment) == path


def test_claude_desktop_from_a_package_of_windows_reads_the_folder_of_the_package(tmp_path: Path) -> None:
    environment = {"APPDATA": str(tmp_path / "Roaming"), "LOCALAPPDATA": str(tmp_path / "Local")}
    outside = tmp_path / "Roaming" / "Claude" / "claude_desktop_config.json"
    outside.parent.mkdir(parents=True)
    outside.write_text("{}")
    assert file_of("claude-desktop", "win32", environment, tmp_path) == outside
    new, old = (tmp_path / f"Local/Packages/Claude_{name}/LocalCache/Roaming" for name in ("abc", "xyz"))
    for folder in (new, old):
        folder.mkdir(parents=True)
    (old / "Claude").mkdir()
    (old / "Claude" / outside.name).write_text("{}")
    assert file_of("claude-desktop", "win32", environment, tmp_path) == old / "Claude" / outside.name
    (old / "Claude" / outside.name).unlink()
    assert file_of("claude-desktop", "win32", environment, tmp_path) == new / "Claude" / outside.name


@pytest.mark.parametrize(
    ("client", "name"),
    [
        ("claude-desktop", None),
        ("claude-code", ".mcp.json"),
        ("cursor", ".cursor/mcp.json"),
        ("vscode", ".vscode/mcp.json"),
        ("codex", ".codex/config.toml"),
    ],
)
def test_a_project_has_a_file_of_its_own_where_the_client_knows_such(client: str, name: str | None) -> None:
    computer = Computer(platform="linux", home=HOME, environment={})
    assert CLIENTS[client].file(computer, Path("/work")) == (None if name is None else Path("/work") / name)


@pytest.mark.parametrize("client", ["claude-desktop", "claude-code", "cursor"])
def test_most_clients_keep_servers_under_one_name_and_in_one_form(client: str) -> None:
    entry = CLIENTS[client].entry(ADA)
    assert entry == {"command": "uvx", "args": ["usermemory", "mcp", "--user", 'Ada\'s "own" ☕']}
    assert json.loads(CLIENTS[client].snippet("memory", entry)) == {"mcpServers": {"memory": entry}}


def test_vs_code_has_another_name_for_them_and_wants_the_transport() -> None:
    entry = CLIENTS["vscode"].entry(ADA)
    assert entry["type"] == "stdio"
    assert json.loads(CLIENTS["vscode"].snippet("memory", entry)) == {"servers": {"memory": entry}}


def test_codex_gets_toml_that_says_the_same_and_waits_for_uvx() -> None:
    secret = Launch("uvx", ("\x7f\\ \n\"'", "☕"), {"USERMEMORY_DATABASE": "postgresql://u:p@h/memory"})
    text = CLIENTS["codex"].snippet("memory", CLIENTS["codex"].entry(secret))
    assert tomllib.loads(text)["mcp_servers"]["memory"] == {
        "command": "uvx",
        "args": ["\x7f\\ \n\"'", "☕"],
        "startup_timeout_sec": 60,
        "env": {"USERMEMORY_DATABASE": "postgresql://u:p@h/memory"},
    }


def test_the_line_for_claude_code_is_quoted_for_the_shell_of_the_platform() -> None:
    launched = Launch("uvx", ("--from", "usermemory[postgres]==1.0", "--user", "Ada L."))
    line = claude_command("memory", launched, "linux")
    assert line == "claude mcp add --scope user memory -- uvx --from 'usermemory[postgres]==1.0' --user 'Ada L.'"
    assert claude_command("memory", launched, "win32").endswith('--user "Ada L."')


def test_a_password_is_on_no_command_line() -> None:
    database = lasting_database("postgresql://ada:s3cret@db/memory?sslpassword=s3cret")
    started = launch(["uvx", "usermemory", "mcp"], Identity.of(user="ada"), database)
    assert started.arguments == ("usermemory", "mcp", "--user", "ada")
    assert started.environment["USERMEMORY_DATABASE"].count("s3cret") == 2
    assert "s3cret" not in str(started.to_show())
    with pytest.raises(InvalidInput, match="pgpass"):
        claude_command("memory", started, "linux")


def test_a_database_without_a_password_is_an_argument() -> None:
    started = launch(["uvx"], Identity.of(user="ada"), lasting_database("postgres://ada@db/memory"))
    assert started.arguments == ("--user", "ada", "--database", "postgresql://ada@db/memory")
    assert not started.holds_password


def test_a_phone_number_is_written_so_that_it_needs_no_region() -> None:
    identity = Identity.of(phone="(202) 555-0123 ext. 7", default_region="US", organization="acme")
    started = launch(["uvx"], identity, None)
    assert started.arguments == ("--phone", "+12025550123;ext=7", "--organization", "acme")
    assert Identity.of(phone=started.arguments[1], organization="acme") == identity


def test_a_file_is_named_from_the_root_whatever_its_folder_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "50% of what? #1"
    folder.mkdir()
    monkeypatch.chdir(folder)
    url = lasting_database("sqlite:///../memory.db")
    assert url.database == str(tmp_path / "memory.db")
    text = lasting_database("sqlite:///memory.db").render_as_string()
    monkeypatch.chdir("/")
    assert lasting_database(text).database == str(folder / "memory.db")


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:memory.db?uri=true"])
def test_a_database_that_the_next_start_would_not_find_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match="next start"):
        lasting_database(url)


@pytest.mark.parametrize("url", ["memory.db", "mysql://ada:s3cret@db/memory", ""])
def test_what_is_no_database_of_ours_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        lasting_database(url)
    assert "s3cret" not in str(refused.value)
