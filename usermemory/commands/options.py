"""Options: which database, whose memory, and in which form to answer. The same for every command."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import Any

import click
from click.core import ParameterSource
from platformdirs import user_data_path

from memory_tools.memory import Memory, UserMemory
from storage.errors import DatabaseUnavailable, NoIdentity
from storage.identity import DEFAULT_ORGANIZATION
from usermemory.commands.screen import Screen

json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON; errors are JSON on stderr.")

database_option = click.option(
    "--database",
    metavar="URL",
    envvar="USERMEMORY_DATABASE",
    show_envvar=True,
    help="sqlite:///FILE or postgresql://...  [default: an SQLite file in your data folder]",
)

organization_option = click.option(
    "--organization",
    metavar="ID",
    envvar="USERMEMORY_ORGANIZATION",
    show_envvar=True,
    default=DEFAULT_ORGANIZATION,
    help=f"The organization.  [default: {DEFAULT_ORGANIZATION}]",
)

_whose = (
    click.option(
        "--user",
        metavar="ID",
        envvar="USERMEMORY_USER",
        show_envvar=True,
        help="The user id of the person.",
    ),
    click.option(
        "--phone",
        metavar="NUMBER",
        envvar="USERMEMORY_PHONE",
        show_envvar=True,
        help="The phone number; alone it names the person, beside a user id it decides nothing.",
    ),
    click.option(
        "--region",
        metavar="CODE",
        envvar="USERMEMORY_REGION",
        show_envvar=True,
        help="The country (ISO 3166, such as US) of a phone number without a country code.",
    ),
    organization_option,
)


def on_database(command: Callable[..., None]) -> Callable[..., None]:
    """Add `--database` and `--json`; the command is called with the URL and a Screen."""

    @wraps(command)
    def run(database: str | None, as_json: bool, **rest: Any) -> None:
        command(url=database or default_database(), screen=Screen(as_json), **rest)

    return database_option(json_option(run))


def perhaps_naming_a_person(command: Callable[..., None]) -> Callable[..., None]:
    """Add `--user`, `--phone`, `--region`, `--organization`; the command is called with all four.

    Who is named here and now is meant, not who the shell was set up for: `--phone` wins over a user id that stands only
    in the environment.
    """

    @wraps(command)
    def run(user: str | None, phone: str | None, **rest: Any) -> None:
        if phone is not None and _only_in_environment("user") and not _only_in_environment("phone"):
            user = None
        command(user=user, phone=phone, **rest)

    for option in reversed(_whose):
        run = option(run)
    return run


def naming_a_person(command: Callable[..., None]) -> Callable[..., None]:
    """Do the same, and raise NoIdentity where nobody is named."""

    @perhaps_naming_a_person
    @wraps(command)
    def run(user: str | None, phone: str | None, **rest: Any) -> None:
        if user is None and phone is None:
            raise NoIdentity("Nobody was named: give --user, --phone, or both.")
        command(user=user, phone=phone, **rest)

    return run


def for_person(command: Callable[..., None]) -> Callable[..., None]:
    """Add `--user`, `--phone`, `--organization`, `--database`, `--json`; the command gets a UserMemory and a Screen."""

    @naming_a_person
    @on_database
    @wraps(command)
    def run(
        url: str,
        screen: Screen,
        user: str | None,
        phone: str | None,
        region: str | None,
        organization: str,
        **rest: Any,
    ) -> None:
        with Memory.open(url, through="cli", default_region=region) as memory:
            command(person=bound(memory, user, phone, organization), screen=screen, **rest)

    return run


def bound(memory: Memory, user: str | None, phone: str | None, organization: str) -> UserMemory:
    """Return the memory of the person whom the options name. Raises NoIdentity and InvalidIdentity."""
    try:
        return memory.of(user=user, phone=phone, organization=organization)
    except NoIdentity:
        message = (
            "The phone number names nobody: write it with its country code, such as +12025550123, or give --region."
        )
        raise NoIdentity(message) from None


def _only_in_environment(name: str) -> bool:
    return click.get_current_context().get_parameter_source(name) is ParameterSource.ENVIRONMENT


def default_database() -> str:
    """Return the URL of the SQLite file in the user's data folder, which is made readable for its user alone."""
    folder = user_data_path("usermemory", appauthor=False)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise DatabaseUnavailable(f"the folder {folder} cannot be made ({error.strerror})") from error
    return f"sqlite:///{folder / 'memory.db'}"


Number = click.IntRange(0, 2**31 - 1)
"""A version or a count, as far as PostgreSQL's `integer` goes."""


class Moment(click.ParamType[int | datetime]):
    """A version number, or a time as ISO 8601 writes it."""

    name = "version|time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | datetime:
        """Return a number or a time; anything else is wrong usage."""
        if not isinstance(value, str):
            given: int | datetime = value
            return given
        if value.isascii() and value.isdigit():
            number: int = Number(value, param, ctx)
            return number
        try:
            moment = datetime.fromisoformat(value)
            return moment if moment.tzinfo is None else moment.astimezone(UTC)
        except (ValueError, OverflowError):  # the last one near the years 1 and 9999, where UTC has no such time
            self.fail(f"{value!r} is neither a version number nor a time such as 2026-11-20T09:00+00:00.", param, ctx)
