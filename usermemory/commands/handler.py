"""Handler: the host's function for messages that are not ours, as `--handler` names it."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from usermemory.commands.functions import imported


def handler_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add `--handler`; the command is called with a function, or None."""

    @click.option(
        "--handler",
        metavar="MODULE:FUNCTION",
        help="Your function, which gets the body of every message that is not ours; without one they are given up.",
    )
    @wraps(command)
    def run(handler: str | None, **rest: Any) -> None:
        command(handler=None if handler is None else imported("handler", handler), **rest)

    return run
