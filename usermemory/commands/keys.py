"""`usermemory keys`: API keys, by which programs ask for memory over HTTP."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

import click

from memory_tools.access import Scope
from memory_tools.answer import as_json
from memory_tools.keys import READ_AND_WRITE, ApiKeys
from memory_tools.memory import Memory
from storage.api_keys import LIFETIME_LIMIT, ApiKey
from storage.errors import NoIdentity
from usermemory.commands.answers import moment
from usermemory.commands.group import examples
from usermemory.commands.options import Number, organization_option
from usermemory.commands.screen import Screen
from usermemory.commands.visible import visible
from usermemory.commands.work import on_workers_database


@click.group(
    epilog=examples(
        "usermemory keys create --user ada --name laptop",
        "usermemory keys create --act-as --organization acme --expires 90 --name telephony",
        "usermemory keys list --organization acme",
        "usermemory keys revoke 3f9a1c0d5e7b",
    )
)
def command() -> None:
    """Make and revoke API keys for those who ask over HTTP.

    A key opens the memory of one person, or with --act-as or --operate that of whomever a request names in one
    organization. On PostgreSQL keys are made, listed and revoked with the worker's URL.
    """


@command.command(
    epilog=examples(
        "usermemory keys create --user ada --scope memory:read --name dashboard",
        "usermemory keys create --phone +12025550123 --expires 30",
        "usermemory keys create --act-as --organization acme --name telephony",
        "usermemory keys create --operate --organization acme --expires 7 --name support",
    )
)
@click.option("--user", metavar="ID", help="The user id of the person whose key it is.")
@click.option("--phone", metavar="NUMBER", help="The phone number; beside a user id it decides nothing.")
@click.option("--region", metavar="CODE", help="The country (ISO 3166) of a phone number without a country code.")
@click.option("--act-as", is_flag=True, help="Nobody's: each request names the person, in the organization.")
@click.option("--operate", is_flag=True, help="Nobody's: an operator's, for the people of the organization it names.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([str(scope) for scope in READ_AND_WRITE]),
    help="What it may be used for; may be given twice.  [default: both]",
)
@click.option(
    "--expires", type=click.IntRange(1, LIFETIME_LIMIT.days), metavar="DAYS", help="For so many days; for ever without."
)
@click.option("--name", metavar="LABEL", help="What you call it, to know it in the list.")
@organization_option
@on_workers_database
def create(
    url: str,
    screen: Screen,
    user: str | None,
    phone: str | None,
    region: str | None,
    act_as: bool,
    operate: bool,
    scopes: Sequence[str],
    expires: int | None,
    name: str | None,
    organization: str,
) -> None:
    """Make a key and print it, this once.

    Whose it is has to be said here: USERMEMORY_USER and USERMEMORY_PHONE do not count. A person nobody knows yet is
    made, and a key goes when its person is erased.
    """
    if user is None and phone is None and not act_as and not operate:
        raise NoIdentity("Nobody was named: give --user, --phone, --act-as, or --operate.")
    naming = [scope for scope, wanted in ((Scope.ACT_AS, act_as), (Scope.OPERATE, operate)) if wanted]
    with Memory.open(url, through="cli", default_region=region) as memory:
        made = ApiKeys(memory).create(
            organization=organization,
            user=user,
            phone=phone,
            scopes=(*(scopes or READ_AND_WRITE), *naming),
            expires_in=None if expires is None else timedelta(days=expires),
            name=name,
        )
    screen.answer({**_as_json(made.key), "token": made.token}, lambda: [made.token])
    screen.note(f"This is shown only once. To end it: usermemory keys revoke {made.key.id}")


@command.command("list", epilog=examples("usermemory keys list", "usermemory keys list --organization acme --limit 20"))
@click.option("--organization", metavar="ID", help="Only those of one organization.")
@click.option("--limit", type=Number, default=100, show_default=True, help="Keys at the most, up to 100.")
@click.option("--after", metavar="ID", help="Only those behind this one.")
@on_workers_database
def list_keys(url: str, screen: Screen, organization: str | None, limit: int, after: str | None) -> None:
    """List keys, oldest first.

    Those of all organizations, also what was revoked or has expired. Nothing that opens anything, nor whose they are.
    """
    with Memory.open(url, through="cli") as memory:
        page = ApiKeys(memory).all(organization, limit=limit, after=after)
        now = memory.database.clock()
    screen.answer([_as_json(key) for key in page.entries], lambda: _list_lines(page.entries, now))
    if page.next is not None:
        screen.note(f"More: --after {page.next}")


@command.command(epilog=examples("usermemory keys revoke 3f9a1c0d5e7b"))
@click.argument("key_id", metavar="ID")
@on_workers_database
def revoke(url: str, screen: Screen, key_id: str) -> None:
    """Let a key open nothing from now on."""
    with Memory.open(url, through="cli") as memory:
        ApiKeys(memory).revoke(key_id)
    screen.answer({"id": key_id, "status": "revoked"}, lambda: ["Revoked."])


def _as_json(key: ApiKey) -> dict[str, object]:
    """Return what is on record about a key, its scopes as a list."""
    return {**as_json(key), "scopes": key.scopes.split()}


def _list_lines(keys: Sequence[ApiKey], now: datetime) -> Iterator[str]:
    if not keys:
        yield "There are no keys."
    for key in keys:
        name = "" if key.name is None else f"  {visible(key.name)}"
        yield f"{click.style(key.id, bold=True)}  {_state(key, now)}{name}"
        yield f"  {visible(key.organization)}  {key.scopes}  made {moment(key.created_at)}"


def _state(key: ApiKey, now: datetime) -> str:
    if key.revoked_at is not None:
        return f"revoked {moment(key.revoked_at)}"
    if key.expires_at is None:
        return "valid"
    return f"{'valid until' if key.is_valid(now) else 'expired'} {moment(key.expires_at)}"
