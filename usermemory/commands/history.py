"""`usermemory history`: how the document came to be what it is."""

from collections.abc import Iterator, Sequence

import click

from memory_tools.answer import as_json
from memory_tools.memory import UserMemory
from memory_tools.operations.document import get_memory_history
from storage.json_types import Document
from storage.patch import apply_in_place
from storage.snapshots import HistoryEntry
from usermemory.commands.answers import made_by, moment, stored_at
from usermemory.commands.asking import ask
from usermemory.commands.changes import brief, changes
from usermemory.commands.group import examples
from usermemory.commands.options import Number, for_person
from usermemory.commands.screen import Screen
from usermemory.commands.visible import visible


@click.command(epilog=examples("usermemory history --user ada", "usermemory history --user ada --before 12 --limit 5"))
@click.option("--limit", type=Number, default=20, show_default=True, help="Versions at the most, up to 100.")
@click.option("--before", type=Number, metavar="VERSION", help="Only versions below this one.")
@for_person
def command(person: UserMemory, screen: Screen, limit: int, before: int | None) -> None:
    """List the versions, newest first, with what changed in each."""
    page = ask(get_memory_history, person, limit=limit, before=before)
    screen.answer([as_json(entry) for entry in page.entries], lambda: _lines(person, page.entries))
    if page.next is not None:
        screen.note(f"Older versions: --before {page.next}")


def _lines(person: UserMemory, entries: Sequence[HistoryEntry]) -> Iterator[str]:
    if not entries:
        yield "No version yet."
        return
    document = stored_at(person, entries[-1].version - 1)
    oldest_first = [_entry_lines(entry, document) for entry in reversed(entries)]
    for lines in reversed(oldest_first):
        yield from lines


def _entry_lines(entry: HistoryEntry, document: Document) -> list[str]:
    """Return the lines of one version, and bring `document` from the version before to this one."""
    title = click.style(f"version {entry.version}", bold=True)
    lines = [f"{title}  {moment(entry.created_at)}  {made_by(entry.provenance)}"]
    if entry.provenance.why is not None:
        lines.append(f"  {visible(entry.provenance.why)}")
    lines += [brief(change) for change in changes(document, entry.patch)]
    apply_in_place(document, entry.patch)
    return lines
