"""`usermemory diff`: what changed between two versions."""

from collections.abc import Iterator

import click

from memory_tools.memory import UserMemory
from memory_tools.operations.document import compare_memory_versions
from storage.json_types import Patch
from usermemory.commands.answers import full_lines
from usermemory.commands.asking import ask
from usermemory.commands.group import examples
from usermemory.commands.options import Number, for_person
from usermemory.commands.screen import Screen


@click.command(epilog=examples("usermemory diff 1 3 --user ada", "usermemory diff 3 1 --user ada --json"))
@click.argument("before", metavar="A", type=Number)
@click.argument("after", metavar="B", type=Number)
@for_person
def command(person: UserMemory, screen: Screen, before: int, after: int) -> None:
    """Show what changed between two versions.

    From version A to version B, in either direction; 0 is the empty document. With --json it is a JSON Patch (RFC
    6902), else + stands before what was added, - before what was removed, ~ before what changed.
    """
    patch = ask(compare_memory_versions, person, before=before, after=after)
    screen.answer(patch, lambda: _lines(person, before, after, patch))


def _lines(person: UserMemory, before: int, after: int, patch: Patch) -> Iterator[str]:
    if not patch:
        yield f"Versions {before} and {after} say the same."
        return
    yield click.style(f"version {before} → {after}", bold=True)
    yield from full_lines(person, before, patch)
