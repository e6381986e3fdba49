"""The group of commands: lists them without importing them, and turns every error into one message and an exit code."""

import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any, NoReturn

import click

from usermemory.commands.failure import BROKEN_PIPE, report


def examples(*lines: str) -> str:
    """Return the end of a command's help: these lines as examples, as they are."""
    title = "Examples:" if len(lines) > 1 else "Example:"
    return "\b\n" + "\n".join([title, *(f"  {line}" for line in lines)])


class LazyGroup(click.Group):
    """Commands that are modules of `package`, each with its one-line help; `command` in the module is the command."""

    def __init__(self, *, package: str, commands: Mapping[str, str], **options: Any) -> None:
        super().__init__(**options)
        self._package = package
        self._help = dict(commands)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return list(self._help)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command; None when there is no such."""
        if cmd_name not in self._help:
            return None
        command: click.Command = import_module(f"{self._package}.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands and their help without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self._help.items()))

    def main(  # type: ignore[override]  # click declares overloads
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **options: Any
    ) -> NoReturn:
        """Run and exit. Whatever goes wrong ends as one message on stderr, as JSON where `--json` was given."""
        arguments = list(sys.argv[1:] if args is None else args)
        if os.environ.get("NO_COLOR"):
            options.setdefault("color", False)
        _never_fail_to_print()
        try:
            status = super().main(arguments, prog_name or self.name, **(options | {"standalone_mode": False}))
        except (Exception, KeyboardInterrupt) as error:
            status = report(error, as_json=_wants_json(arguments))
            if status is None:  # not one of ours: a fault of this program, whose traceback is wanted
                raise
        sys.exit(status or 0)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; when nobody reads its answer any more, stop without a word."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the flush at exit fails again
            ctx.exit(BROKEN_PIPE)


def _wants_json(arguments: list[str]) -> bool:
    """Tell whether `--json` stands among the arguments: also where they are too wrong to be read."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return "--json" in arguments[:end]


def _never_fail_to_print() -> None:
    """Let a terminal that lacks a character show its number instead."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
