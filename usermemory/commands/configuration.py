"""`usermemory configuration`: what memory may do in an organization and in its flows."""

import json
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import click

from memory_tools.configurations import Configurations
from memory_tools.memory import Memory
from storage.configuration import MemoryConfiguration
from storage.errors import InvalidInput
from usermemory.commands.group import examples
from usermemory.commands.options import on_database, organization_option
from usermemory.commands.screen import Screen


@click.group(
    epilog=examples(
        "usermemory configuration show --organization acme",
        "usermemory configuration set autoStore=true retentionDays=90 --organization acme --flow support-line",
    )
)
def command() -> None:
    """Say what memory may do in an organization and in its flows.

    A flow's configuration stands over its organization's, that over the defaults. On PostgreSQL it is edited with the
    worker's URL.
    """


def _for_level(run: Callable[..., None]) -> Callable[..., None]:
    """Add `--organization` and `--flow`; the command gets the configurations and a Screen."""

    @organization_option
    @click.option("--flow", metavar="NAME", help="One of its flows; the organization's own configuration by default.")
    @on_database
    @wraps(run)
    def on_level(url: str, screen: Screen, **rest: Any) -> None:
        with Memory.open(url, through="cli") as memory:
            run(configurations=memory.configurations, screen=screen, **rest)

    return on_level


@command.command(epilog=examples("usermemory configuration show --flow support-line"))
@_for_level
def show(configurations: Configurations, screen: Screen, organization: str, flow: str | None) -> None:
    """Print what holds, and which members were set at this level."""
    holds = configurations.effective(organization, flow=flow)
    own = configurations.get(organization, flow=flow)
    answer = {"effective": holds.model_dump(by_alias=True), "set": own.as_json()}
    screen.answer(answer, lambda: _lines(holds, own))


@command.command(
    "set",
    epilog=examples(
        "usermemory configuration set enabled=false --flow intake",
        "usermemory configuration set autoStore=true retentionDays=90",
    ),
)
@click.argument("members", metavar="NAME=VALUE...", nargs=-1, required=True)
@_for_level
def set_members(
    configurations: Configurations, screen: Screen, organization: str, flow: str | None, members: tuple[str, ...]
) -> None:
    """Set members; those that are not named stay as they are."""
    stored = configurations.set(dict(map(_member, members)), organization, flow=flow)
    screen.answer(stored.as_json(), lambda: ["Kept."])


@command.command(epilog=examples("usermemory configuration reset --flow intake"))
@_for_level
def reset(configurations: Configurations, screen: Screen, organization: str, flow: str | None) -> None:
    """Forget what was set at this level: the one below it holds again."""
    configurations.reset(organization, flow=flow)
    screen.answer({"status": "reset"}, lambda: ["Reset."])


def _member(text: str) -> tuple[str, Any]:
    """Return the name and the value of `autoStore=true`. Raises InvalidInput for anything else."""
    name, equals, value = text.partition("=")
    try:
        return name, json.loads(value.lower())  # True is meant, too
    except json.JSONDecodeError:
        what = "a value is true, false or a number" if equals else "write members as NAME=VALUE"
        raise InvalidInput(f"{text!r}: {what}") from None


def _lines(holds: MemoryConfiguration, own: MemoryConfiguration) -> Iterator[str]:
    was_set = own.as_json()
    for name, value in holds.model_dump(by_alias=True).items():
        here = click.style("  set here", fg="cyan") if name in was_set else ""
        yield f"{name:<20}{json.dumps(value)}{here}"
