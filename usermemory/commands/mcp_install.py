"""`usermemory mcp install`: the entry by which a client starts this server, printed or written into its file."""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import sqlalchemy as sa

import usermemory
from storage.errors import Conflict, InvalidInput, InvalidJson
from storage.identity import Identity
from storage.json_types import Json
from usermemory.commands.client_file import ClientFile
from usermemory.commands.clients import CLIENTS, Client, Computer, claude_command
from usermemory.commands.failure import REFUSED
from usermemory.commands.group import examples
from usermemory.commands.launch import Launch, lasting_database, launch
from usermemory.commands.options import database_option, json_option, naming_a_person
from usermemory.commands.screen import Screen

_ENTRY_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""What every client takes as the name of a server."""


@dataclass(frozen=True)
class Plan:
    """One entry for one client, and where it belongs."""

    client: Client
    name: str
    launch: Launch
    path: Path | None
    """None where the client alone writes its file."""

    platform: str

    @property
    def shown(self) -> dict[str, Json]:
        """The entry as anybody may see it."""
        return self.client.entry(self.launch.to_show())

    @property
    def snippet(self) -> str:
        """What people paste: a piece of the file, or the command line that writes it."""
        if self.path is None:
            return claude_command(self.name, self.launch, self.platform)
        return self.client.snippet(self.name, self.shown)

    def answer(self, *, written: bool, backup: Path | None) -> dict[str, Json]:
        """Return the answer as JSON."""
        return {
            "client": self.client.name,
            "name": self.name,
            "path": None if self.path is None else str(self.path),
            "entry": self.shown,
            "snippet": self.snippet,
            "written": written,
            "backup": None if backup is None else str(backup),
        }


def _entry_name(_context: click.Context, _option: click.Parameter, value: str) -> str:
    if not _ENTRY_NAME.fullmatch(value):
        raise click.BadParameter("up to 64 letters of ASCII, digits, - and _.")
    return value


@click.command(
    "install",
    epilog=examples(
        "usermemory mcp install --client claude-desktop --user ada",
        "usermemory mcp install --client claude-desktop --user ada --write",
        "usermemory mcp install --client cursor --user ada --project --write --yes",
    ),
)
@click.option("--client", "kind", type=click.Choice(list(CLIENTS)), required=True, help="The program to set up.")
@click.option(
    "--name",
    metavar="NAME",
    default="memory",
    callback=_entry_name,
    show_default=True,
    help="What the client calls it.",
)
@click.option(
    "--write", is_flag=True, help="Write it into the client's file, after a question; keeps a copy of the file."
)
@click.option("--yes", is_flag=True, help="Write without the question.")
@click.option("--replace", is_flag=True, help="Write over another entry of the same name.")
@click.option("--project", is_flag=True, help="For the project in this folder alone (not Claude Desktop).")
@click.option(
    "--path",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The client's file, where it is not in its usual place.",
)
@click.option("--uvx", metavar="PROGRAM", default="uvx", show_default=True, help="Where the client finds uvx.")
@click.option("--local", is_flag=True, help="Start this very installation with its Python, without uvx.")
@naming_a_person
@database_option
@json_option
@click.pass_context
def install(
    ctx: click.Context, /, kind: str, write: bool, yes: bool, replace: bool, as_json: bool, **described: Any
) -> None:
    """Print or write the entry by which a client starts this server.

    Without --write nothing is touched: what to paste goes to stdout, where to stderr. A password in the database URL is
    shown nowhere; --write puts it into the entry's environment.

    Codex keeps TOML, and Claude Code a file that it alone writes: for these it only prints, but for Claude Code's
    .mcp.json with --project or --path.
    """
    screen = Screen(as_json)
    plan = _plan(ctx, CLIENTS[kind], **described)
    if write and as_json and not yes:
        raise click.UsageError("With --json nothing is asked: give --yes, too.")
    if not described["local"] and shutil.which(plan.launch.program) is None:
        screen.note(
            f"{plan.launch.program} was not found here: install uv (https://docs.astral.sh/uv/), or give --local."
        )
    if not write:
        screen.answer(plan.answer(written=False, backup=None), lambda: [plan.snippet])
        _say_where(plan, screen)
        return
    target = _writable(plan, described["project"])
    try:
        _write(ctx, plan, target, screen, yes=yes, replace=replace)
    except InvalidJson:
        if not as_json:
            click.echo(plan.snippet)
        raise


def _plan(
    ctx: click.Context,
    client: Client,
    *,
    name: str,
    project: bool,
    path: Path | None,
    uvx: str,
    local: bool,
    database: str | None,
    region: str | None,
    **whose: Any,
) -> Plan:
    """Return what the command line asks for. Raises UsageError, InvalidInput and NoIdentity."""
    _refuse_together(ctx, "project", "path")
    _refuse_together(ctx, "uvx", "local")
    if project and client.project_file is None:
        raise click.UsageError(f"{client.title} has no file for a project: leave out --project.")
    url = None if database is None else lasting_database(database)
    # -P: the folder of somebody's project may hold modules of any name.
    python = [sys.executable, "-P", "-m", "usermemory", "mcp"]
    program = python if local else [uvx, *_package(url), "usermemory", "mcp"]
    identity = Identity.of(default_region=region, **whose)
    computer = Computer(platform=sys.platform, home=Path.home(), environment=os.environ)
    file = path.absolute() if path is not None else client.file(computer, Path.cwd() if project else None)
    return Plan(client, name, launch(program, identity, url), file, sys.platform)


def _refuse_together(ctx: click.Context, one: str, other: str) -> None:
    given = [name for name in (one, other) if ctx.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT]
    if len(given) > 1:
        raise click.UsageError(f"Give --{one} or --{other}, not both.")


def _package(database: sa.URL | None) -> list[str]:
    """Return what tells uvx which version to take: this one, with PostgreSQL's client library where it is needed."""
    extra = "[postgres]" if database is not None and database.drivername.startswith("postgresql") else ""
    return ["--from", f"usermemory{extra}=={usermemory.__version__}"]


def _say_where(plan: Plan, screen: Screen) -> None:
    if plan.path is None:
        screen.note("Run this line, then look with: claude mcp list")
        return
    screen.note(f"This belongs in {plan.path}, beside what is there.")
    if plan.launch.holds_password:
        hint = "" if plan.client.is_toml else ", or let --write do it"
        screen.note(f"The database URL contains a password, which is not shown: put it in by hand{hint}.")


def _writable(plan: Plan, project: bool) -> Path:
    """Return the file to write. Raises where no other program should write it, or not this entry."""
    if plan.path is None or plan.client.is_toml:
        hint = "" if plan.client.is_toml else ", or give --project for the .mcp.json of this folder"
        raise click.UsageError(f"{plan.client.title}'s own file is not written from here: leave out --write{hint}.")
    if project and plan.launch.holds_password:
        raise InvalidInput(
            "the file of a project is shared, and the database URL contains a password: keep that in PostgreSQL's "
            "password file (~/.pgpass), or leave out --project"
        )
    return plan.path


def _write(ctx: click.Context, plan: Plan, target: Path, screen: Screen, *, yes: bool, replace: bool) -> None:
    """Write the entry unless it is there, after the question; say no, and nothing is changed."""
    file = ClientFile.read(target)
    servers, entry = file.servers(plan.client.servers), plan.client.entry(plan.launch)
    if servers.get(plan.name) == entry:
        screen.answer(plan.answer(written=False, backup=None), lambda: [f"Nothing to do: {target} says so already."])
        return
    if plan.name in servers and not replace:
        raise Conflict(f"{target} has another entry called {plan.name}: give --replace, or another --name")
    for line in _change(plan, file, target):
        screen.note(line)
    if not (yes or click.confirm("Write it?", err=True)):
        screen.note("Nothing was changed.")
        ctx.exit(REFUSED)
    backup = file.save(plan.client.servers, plan.name, entry, now=datetime.now(UTC))
    screen.answer(plan.answer(written=True, backup=backup), lambda: _done(target, backup))
    screen.note(f"Restart {plan.client.title}, or let it read its file again.")


def _change(plan: Plan, file: ClientFile, target: Path) -> Iterator[str]:
    exists = plan.name in file.servers(plan.client.servers)
    yield f"{target}: {'a new file' if file.before is None else 'a copy of the file is kept beside it'}"
    if file.path != target:
        yield f"It is a link to {file.path}"
    yield f"{plan.client.servers}.{plan.name} {'becomes' if exists else 'is added'}:"
    yield json.dumps(plan.shown, indent=2, ensure_ascii=False)
    if plan.launch.holds_password:
        yield "The database URL contains a password, which is written and not shown."
        if file.others_read:
            yield f"Others on this computer may read it there: chmod 600 {target}"


def _done(target: Path, backup: Path | None) -> Iterator[str]:
    yield f"Written: {target}"
    if backup is not None:
        yield f"As it was: {backup}"


command = install
"""`usermemory mcp install`, under the name that every module of a command has."""
