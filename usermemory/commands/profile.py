"""`usermemory profile`: the one text about a person."""

import sys
from collections.abc import Iterator

import click

from memory_tools.answer import as_json
from memory_tools.memory import UserMemory
from memory_tools.operations.profile import delete_profile_text, get_profile_text, set_profile_text
from storage.errors import InvalidJson
from storage.profiles import Profile
from usermemory.commands.asking import ask
from usermemory.commands.group import examples
from usermemory.commands.options import for_person
from usermemory.commands.screen import Screen
from usermemory.commands.visible import visible


@click.group(
    epilog=examples('usermemory profile set "Ada likes jazz." --user ada', "usermemory profile get --user ada")
)
def command() -> None:
    """Keep the one text about a person."""


@command.command("get", epilog=examples("usermemory profile get --user ada"))
@for_person
def get_text(person: UserMemory, screen: Screen) -> None:
    """Print the text."""
    profile = ask(get_profile_text, person)
    screen.answer(as_json(profile), lambda: _lines(profile))


@command.command(
    "set",
    epilog=examples(
        'usermemory profile set "Ada likes jazz." --user ada', "usermemory profile set - --user ada < ada.txt"
    ),
)
@click.argument("text")
@for_person
def set_text(person: UserMemory, screen: Screen, text: str) -> None:
    """Replace the text; only the newest is kept. - reads it from stdin."""
    profile = ask(set_profile_text, person, text=_from_stdin() if text == "-" else text)
    screen.answer(as_json(profile), lambda: ["Kept."])


@command.command(epilog=examples("usermemory profile delete --user ada"))
@for_person
def delete(person: UserMemory, screen: Screen) -> None:
    """Delete the text."""
    ask(delete_profile_text, person)
    screen.answer({"status": "deleted"}, lambda: ["Deleted."])


def _from_stdin() -> str:
    raw = sys.stdin.buffer.read()
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise InvalidJson(f"stdin is not UTF-8 text (byte {error.start:,}).") from None


def _lines(profile: Profile) -> Iterator[str]:
    yield from map(visible, profile.text.splitlines() or [""])
