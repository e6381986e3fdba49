"""`usermemory revert`: back to an older version."""

import click

from memory_tools.answer import as_json
from memory_tools.memory import UserMemory
from memory_tools.operations.document import revert_user_memory
from usermemory.commands.answers import outcome_lines
from usermemory.commands.asking import ask
from usermemory.commands.group import examples
from usermemory.commands.options import Number, for_person
from usermemory.commands.screen import Screen


@click.command(epilog=examples("usermemory revert 3 --user ada"))
@click.argument("version", type=Number)
@for_person
def command(person: UserMemory, screen: Screen, version: int) -> None:
    """Save the document of an older version as the newest one.

    You act as an operator, so the guard does not hold it. Nothing is taken out of the history.
    """
    outcome = ask(revert_user_memory, person, version=version)
    screen.answer(as_json(outcome), lambda: outcome_lines(person, outcome))
