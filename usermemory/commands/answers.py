"""Answers: what the commands print of the values that operations return."""

from collections.abc import Iterator
from datetime import UTC, datetime

from memory_tools.answer import as_json
from memory_tools.memory import UserMemory
from memory_tools.operations.document import get_user_memory
from storage.document import strip_rendered
from storage.json_types import Document, Json, Patch
from storage.outcome import Held, Outcome, Saved
from storage.pending import PendingVersion
from storage.provenance import Provenance
from usermemory.commands.asking import ask
from usermemory.commands.changes import brief, changes, in_full
from usermemory.commands.visible import visible


def pending_as_json(pending: PendingVersion) -> Json:
    """Return one pending version as `pending list --json` shows it."""
    return {**as_json(pending), "reason": pending.reason}


def moment(time: datetime) -> str:
    """Return a time as people read it, to the second."""
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def made_by(provenance: Provenance) -> str:
    """Return who made a change, through what, and what a model took for it."""
    parts = [f"{provenance.actor.value} through {visible(provenance.through)}"]
    if provenance.model is not None:
        parts.append(visible(provenance.model))
    if provenance.tokens is not None:
        parts.append(f"{provenance.tokens.input:,} tokens in, {provenance.tokens.output:,} out")
    return ", ".join(parts)


def outcome_lines(person: UserMemory, outcome: Outcome) -> Iterator[str]:
    """Yield what became of a change, and what it changes."""
    match outcome:
        case Saved(version=version, patch=patch, merged=merged):
            yield f"Saved as version {version}" + (", merged with what others saved meanwhile." if merged else ".")
            yield from brief_lines(person, version - 1, patch)
        case Held(version=version, pending_id=pending, objections=objections, patch=patch):
            yield f"Held: version {version} stays in force, and the change waits as {pending}."
            yield from (f"  {visible(objection.message)}" for objection in objections)
            yield from brief_lines(person, version, patch)
            yield f"Decide with `usermemory pending accept {pending}` or `usermemory pending reject {pending}`."
        case _:
            yield f"Unchanged: version {outcome.version} says so already."


def brief_lines(person: UserMemory, version: int, patch: Patch) -> Iterator[str]:
    """Yield a line for each change that `patch` makes to a version."""
    yield from map(brief, changes(stored_at(person, version), patch))


def full_lines(person: UserMemory, version: int, patch: Patch) -> Iterator[str]:
    """Yield all that `patch` changes in a version."""
    for change in changes(stored_at(person, version), patch):
        yield from in_full(change)


def stored_at(person: UserMemory, version: int) -> Document:
    """Return the document of a version as it is stored: what patches are about."""
    return strip_rendered(ask(get_user_memory, person, at=version))
