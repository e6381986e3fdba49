"""Clients: the programs that start this server, where each keeps the list of its servers, and what stands there."""

import json
import shlex
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from storage.errors import InvalidInput
from storage.json_types import Json
from usermemory.commands.launch import Launch

START_SECONDS = 60
"""How long Codex is told to wait for the first start, in which uvx installs. By itself it waits 10 seconds."""


@dataclass(frozen=True, kw_only=True)
class Computer:
    """Where programs keep their files: on which platform (as `sys.platform` has it), for whom."""

    platform: str
    home: Path
    environment: Mapping[str, str]

    @property
    def applications(self) -> Path:
        """The folder in which each application has one for its settings."""
        if self.platform == "darwin":
            return self.home / "Library" / "Application Support"
        if self.platform == "win32":
            return Path(self.environment.get("APPDATA") or self.home / "AppData" / "Roaming")
        return Path(self.environment.get("XDG_CONFIG_HOME") or self.home / ".config")


@dataclass(frozen=True, kw_only=True)
class Client:
    """One kind of client."""

    name: str
    title: str
    own_file: Callable[[Computer], Path | None]
    """Where the list for every project is; None where the client alone may write it."""

    project_file: str | None = None
    """The list for one project, from its folder."""

    servers: str = "mcpServers"
    """The member of the file that holds the servers by name."""

    typed: bool = False
    """Whether an entry says that it is about stdio."""

    is_toml: bool = False

    def file(self, computer: Computer, project: Path | None) -> Path | None:
        """Return the path of the list, of the one for `project` where that is given; None where there is no file."""
        if project is None:
            return self.own_file(computer)
        return None if self.project_file is None else project / self.project_file

    def entry(self, launch: Launch) -> dict[str, Json]:
        """Return what stands under the name of the server."""
        typed: dict[str, Json] = {"type": "stdio"} if self.typed else {}
        timeout: dict[str, Json] = {"startup_timeout_sec": START_SECONDS} if self.is_toml else {}
        environment: dict[str, Json] = {"env": dict(launch.environment)} if launch.environment else {}
        return {**typed, "command": launch.program, "args": list(launch.arguments), **timeout, **environment}

    def snippet(self, name: str, entry: dict[str, Json]) -> str:
        """Return the text of a file that holds this entry alone."""
        if self.is_toml:
            return _toml(f"{self.servers}.{name}", entry)
        return json.dumps({self.servers: {name: entry}}, indent=2, ensure_ascii=False)


def claude_command(name: str, launch: Launch, platform: str) -> str:
    """Return the command line that adds a server to Claude Code. Raises InvalidInput where it would hold a password."""
    if launch.holds_password:
        raise InvalidInput(
            "a password does not belong on a command line: leave it out of the database URL, and keep it in "
            "PostgreSQL's password file (~/.pgpass)"
        )
    words = ["claude", "mcp", "add", "--scope", "user", name, "--", launch.program, *launch.arguments]
    return subprocess.list2cmdline(words) if platform == "win32" else shlex.join(words)


def _claude_desktop(computer: Computer) -> Path:
    """Return the file that the application reads.

    From an MSIX package, as Windows has had it since 2026, the application sees a folder of the package's own in the
    place of `%APPDATA%` (anthropics/claude-code #26073). Of several packages the one that was set up is meant.
    """
    name = Path("Claude") / "claude_desktop_config.json"
    found = [computer.applications / name]
    if computer.platform == "win32":
        local = Path(computer.environment.get("LOCALAPPDATA") or computer.home / "AppData" / "Local")
        packages = sorted((local / "Packages").glob("Claude_*/LocalCache/Roaming"))
        found = [folder / name for folder in packages] or found
    return next((path for path in found if path.exists()), found[0])


def _codex(computer: Computer) -> Path:
    return Path(computer.environment.get("CODEX_HOME") or computer.home / ".codex") / "config.toml"


def _toml(table: str, members: Mapping[str, Json]) -> str:
    """Return `members` as a table of TOML, and each object in it as a table of its own behind it."""
    lines = [f"[{table}]"]
    lines += [f"{name} = {_toml_value(value)}" for name, value in members.items() if not isinstance(value, dict)]
    inner = [_toml(f"{table}.{name}", value) for name, value in members.items() if isinstance(value, dict)]
    return "\n\n".join(["\n".join(lines), *inner])


def _toml_value(value: Json) -> str:
    """Return a string, an integer or a list of strings: JSON's form is TOML's, but for one character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


CLIENTS = {
    client.name: client
    for client in (
        Client(name="claude-desktop", title="Claude Desktop", own_file=_claude_desktop),
        Client(name="claude-code", title="Claude Code", own_file=lambda _: None, project_file=".mcp.json"),
        Client(
            name="cursor",
            title="Cursor",
            own_file=lambda computer: computer.home / ".cursor" / "mcp.json",
            project_file=".cursor/mcp.json",
        ),
        Client(
            name="vscode",
            title="VS Code",
            own_file=lambda computer: computer.applications / "Code" / "User" / "mcp.json",
            project_file=".vscode/mcp.json",
            servers="servers",
            typed=True,
        ),
        Client(
            name="codex",
            title="Codex",
            own_file=_codex,
            project_file=".codex/config.toml",
            servers="mcp_servers",
            is_toml=True,
        ),
    )
}
"""Every client by the name it has on the command line."""
