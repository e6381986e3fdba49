"""Failures: how an error leaves the command line, as one message on stderr and an exit code."""

import json
import sys
from typing import Any

import click

from usermemory.commands.visible import visible

REFUSED = 1
"""Exit code: it was understood and not done."""

USAGE = 2
"""Exit code: the command line is wrong, or names nobody."""

NOT_FOUND = 3
"""Exit code: there is nothing there."""

CONFLICT = 4
"""Exit code: somebody else changed the same thing."""

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the number of SIGINT, as shells have it."""

BROKEN_PIPE = 141
"""Exit code when the reader of the answer has gone: 128 and the number of SIGPIPE."""


def report(error: BaseException, *, as_json: bool) -> int | None:
    """Say on stderr what went wrong and return the exit code; None for an error that nobody foresaw."""
    if isinstance(error, click.Abort | KeyboardInterrupt):
        return _say(INTERRUPTED, "interrupted", "Interrupted.", as_json)
    if isinstance(error, click.ClickException):
        if not as_json:
            error.show()
            return error.exit_code
        return _say(error.exit_code, "usage", error.format_message(), as_json)
    if isinstance(error, ImportError):  # a foreign package in the way, or an installation that lacks something
        return _say(REFUSED, "broken_installation", str(error), as_json)
    if "storage.errors" not in sys.modules:  # then it is none of ours
        return None
    return _report_ours(error, as_json)


def _report_ours(error: BaseException, as_json: bool) -> int | None:
    from storage.errors import Conflict, NoIdentity, NotFound, UserMemoryError  # noqa: PLC0415 - loaded already

    if not isinstance(error, UserMemoryError):
        return None
    exit_codes = {NotFound: NOT_FOUND, Conflict: CONFLICT, NoIdentity: USAGE}
    status = next((code for kind, code in exit_codes.items() if isinstance(error, kind)), REFUSED)
    return _say(status, error.code, str(error), as_json, **error.details)


def _say(status: int, code: str, message: str, as_json: bool, **details: Any) -> int:
    if as_json:
        click.echo(json.dumps({"error": {"code": code, "message": message, **details}}), err=True)
        return status
    click.secho(f"Error: {visible(message)}" if code != "interrupted" else message, err=True, fg="red")
    for conflict in details.get("conflicts", ()):
        click.echo(f"  {visible(conflict['pointer'])}", err=True)
    return status
