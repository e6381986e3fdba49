"""Handler: the host's function for messages that are not ours, as `--handler` names it."""

import sys
from collections.abc import Callable
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from storage.errors import InvalidInput


def handler_option(command: Callable[..., None]) -> Callable[..., None]:
    """Add `--handler`; the command is called with a function, or None."""

    @click.option(
        "--handler",
        metavar="MODULE:FUNCTION",
        help="Your function, which gets the body of every message that is not ours; without one they are given up.",
    )
    @wraps(command)
    def run(handler: str | None, **rest: Any) -> None:
        command(handler=None if handler is None else imported(handler), **rest)

    return run


def imported(name: str) -> Callable[..., object]:
    """Return the function that `module:function` names. Raises InvalidInput saying what is missing."""
    module, _, function = name.partition(":")
    if not module or not function:
        raise InvalidInput(f"a handler is given as module:function, and {name!r} is not")
    if str(Path.cwd()) not in sys.path:  # the folder of the console script stands there instead
        sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = import_module(module)
        for member in function.split("."):
            found = getattr(found, member)
    except (ImportError, AttributeError) as error:
        raise InvalidInput(f"the handler {name!r} cannot be imported: {error}") from None
    if not callable(found):
        raise InvalidInput(f"the handler {name!r} is no function")
    handler: Callable[..., object] = found
    return handler
