"""`usermemory pending`: changes that the guard held back, and what becomes of them."""

from collections.abc import Iterator

import click

from memory_tools.answer import as_json
from memory_tools.memory import UserMemory
from memory_tools.operations.pending import (
    accept_pending_version,
    get_pending_version,
    list_pending_versions,
    reject_pending_version,
)
from storage.pending import PendingVersion
from usermemory.commands.answers import brief_lines, full_lines, made_by, moment, outcome_lines, pending_as_json
from usermemory.commands.asking import ask
from usermemory.commands.group import examples
from usermemory.commands.options import Number, for_person
from usermemory.commands.screen import Screen
from usermemory.commands.visible import visible


@click.group(epilog=examples("usermemory pending list --user ada", "usermemory pending accept ID --user ada"))
def command() -> None:
    """Decide on changes that the guard held back."""


@command.command("list", epilog=examples("usermemory pending list --user ada"))
@click.option("--limit", type=Number, default=20, show_default=True, help="Entries at the most, up to 100.")
@click.option("--after", metavar="ID", help="Only those behind this one.")
@for_person
def list_waiting(person: UserMemory, screen: Screen, limit: int, after: str | None) -> None:
    """List what waits for a decision, oldest first."""
    page = ask(list_pending_versions, person, limit=limit, after=after)
    screen.answer([pending_as_json(each) for each in page.entries], lambda: _list_lines(person, page.entries))
    if page.next is not None:
        screen.note(f"More: --after {page.next}")


@command.command(epilog=examples("usermemory pending show ID --user ada"))
@click.argument("pending_id", metavar="ID")
@for_person
def show(person: UserMemory, screen: Screen, pending_id: str) -> None:
    """Show one held change: why it was held, and all that it changes."""
    pending = ask(get_pending_version, person, id=pending_id)
    screen.answer(pending_as_json(pending), lambda: _full_lines(person, pending))


@command.command(epilog=examples("usermemory pending accept ID --user ada"))
@click.argument("pending_id", metavar="ID")
@for_person
def accept(person: UserMemory, screen: Screen, pending_id: str) -> None:
    """Save a held change as the next version, merged with what was saved since."""
    outcome = ask(accept_pending_version, person, id=pending_id)
    screen.answer(as_json(outcome), lambda: outcome_lines(person, outcome))


@command.command(epilog=examples("usermemory pending reject ID --user ada"))
@click.argument("pending_id", metavar="ID")
@for_person
def reject(person: UserMemory, screen: Screen, pending_id: str) -> None:
    """Drop a held change; the memory stays as it is."""
    ask(reject_pending_version, person, id=pending_id)
    screen.answer({"id": pending_id, "status": "rejected"}, lambda: ["Rejected: the memory stays as it is."])


def _list_lines(person: UserMemory, waiting: tuple[PendingVersion, ...]) -> Iterator[str]:
    if not waiting:
        yield "Nothing waits."
    for pending in waiting:
        yield from _title(pending)
        yield from brief_lines(person, pending.base_version, pending.patch)


def _full_lines(person: UserMemory, pending: PendingVersion) -> Iterator[str]:
    yield from _title(pending)
    yield from full_lines(person, pending.base_version, pending.patch)


def _title(pending: PendingVersion) -> Iterator[str]:
    made = f"{moment(pending.created_at)}  {made_by(pending.provenance)}"
    yield f"{click.style(pending.id, bold=True)}  on version {pending.base_version}  {made}"
    yield f"  {visible(pending.reason)}"
    if pending.provenance.why is not None:
        yield f"  Why: {visible(pending.provenance.why)}"
    if pending.provenance.conversations:
        yield f"  In: {visible(', '.join(pending.provenance.conversations))}"
