"""The help: what `usermemory --help` says without importing any command, and what each command says of itself."""

import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from usermemory.commands import COMMANDS, main

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


def _paths() -> Iterator[tuple[str, ...]]:
    """Every command by its path, those inside groups too."""
    for name in COMMANDS:
        command = import_module(f"usermemory.commands.{name}").command
        if isinstance(command, click.Group):
            yield from ((name, inner) for inner in command.commands)
        yield (name,)


PATHS = tuple(_paths())


def help_of(*path: str) -> str:
    result = CliRunner().invoke(main, [*path, "--help"], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_the_help_lists_every_command() -> None:
    listed = help_of()
    assert all(f"\n  {name} " in listed for name in COMMANDS)
    assert "Example" in listed


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_in_the_list_is_how_the_command_begins(name: str) -> None:
    text = inspect.cleandoc(import_module(f"usermemory.commands.{name}").command.help)
    assert " ".join(text.split("\n\n")[0].split()) == COMMANDS[name]


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_every_command_has_help_and_an_example_that_calls_it(path: tuple[str, ...]) -> None:
    text = help_of(*path)
    assert f"usermemory {' '.join(path)}" in text.partition("Example")[2]
    documented = text.partition("Options:")[2].partition("Example")[0]
    assert "--help" in documented


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_every_option_says_what_it_is_for(path: tuple[str, ...]) -> None:
    command: click.Command = import_module(f"usermemory.commands.{path[0]}").command
    if len(path) == 2:
        assert isinstance(command, click.Group)
        command = command.commands[path[1]]
    assert all(option.help for option in command.params if isinstance(option, click.Option))


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_the_operations_page_names_every_command(path: tuple[str, ...]) -> None:
    assert f"usermemory {' '.join(path)}" in OPERATIONS.read_text(encoding="utf-8")


def test_no_module_of_a_command_is_missing_in_the_list() -> None:
    folder = Path(inspect.getfile(main.__class__)).parent
    modules = {path.stem for path in folder.glob("*.py") if "\ndef command(" in path.read_text(encoding="utf-8")}
    assert modules == set(COMMANDS)
