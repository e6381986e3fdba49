"""`usermemory show`: what is known."""

from collections.abc import Iterator
from datetime import datetime

import click

from memory_tools.memory import UserMemory
from memory_tools.operations.document import get_user_memory
from storage.json_types import Json
from usermemory.commands.asking import ask
from usermemory.commands.group import examples
from usermemory.commands.layout import laid_out
from usermemory.commands.options import Moment, for_person
from usermemory.commands.screen import Screen
from usermemory.commands.visible import visible


@click.command(
    epilog=examples(
        "usermemory show --user ada",
        "usermemory show --user ada /summary",
        "usermemory show --user ada --at 3 --json",
        "usermemory show --user ada --at 2026-11-20T09:00+00:00",
    ),
)
@click.argument("pointer", default="")
@click.option("--at", type=Moment(), help="A version, or a time with its zone.  [default: now]")
@for_person
def command(person: UserMemory, screen: Screen, pointer: str, at: int | datetime | None) -> None:
    """Print what is known: the document, or one place in it.

    POINTER is a JSON pointer such as /summary or /triggers_and_goals/0. Of a person nobody has met the document is {}.
    """
    document = ask(get_user_memory, person, at=at, pointer=pointer)
    screen.answer(document, lambda: _lines(document))


def _lines(document: Json) -> Iterator[str]:
    """Yield one text as it is, line by line, and anything else as JSON."""
    if isinstance(document, str):
        yield from map(visible, document.splitlines() or [""])
    else:
        yield from laid_out(document)
