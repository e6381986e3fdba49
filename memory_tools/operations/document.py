"""Operations on the document: read it, its versions and what changed."""

from datetime import datetime
from typing import Annotated

from pydantic import Field

from memory_tools.memory import UserMemory
from memory_tools.operation import Audience, Effect, Input, operation
from storage.json_types import Json, Patch
from storage.limits import PAGE_LIMIT, VERSION_LIMIT
from storage.outcome import Outcome
from storage.page import Page
from storage.pointer import resolve
from storage.snapshots import HistoryEntry

Version = Annotated[
    int, Field(description="A version number; 0 is the empty document.", ge=0, le=VERSION_LIMIT, examples=[3])
]


class DocumentWanted(Input):
    """A document, or one place in it."""

    at: Annotated[
        int | datetime | None, Field(description="A version number, or a time with a zone; the newest by default.")
    ] = None
    pointer: Annotated[
        str, Field(description="JSON pointer of the part wanted; the whole by default.", examples=["/summary"])
    ] = ""


class HistoryWanted(Input):
    """One page of versions, newest first."""

    limit: Annotated[int, Field(description="Entries in the page.", ge=1, le=PAGE_LIMIT)] = 20
    before: Annotated[int | None, Field(description="Only versions below this one.", ge=1, le=VERSION_LIMIT)] = None


class TwoVersions(Input):
    """Two versions to compare."""

    before: Version
    after: Version


class OlderVersion(Input):
    """A version to go back to."""

    version: Version


@operation(Effect.READ, "GET /document")
def get_user_memory(memory: UserMemory, ask: DocumentWanted) -> Json:
    """Read what is known about the person, as one document. Use it at the start of a conversation."""
    snapshot = memory.document.current() if ask.at is None else memory.document.as_of(ask.at)
    return resolve(snapshot.document, ask.pointer)


@operation(Effect.READ, "GET /document/history")
def get_memory_history(memory: UserMemory, ask: HistoryWanted) -> Page[HistoryEntry, int]:
    """List the versions of the document with what changed in each, newest first. Use it to see why it says so."""
    return memory.document.history(limit=ask.limit, before=ask.before)


@operation(Effect.READ, "GET /document/difference", Audience.OPERATOR)
def compare_memory_versions(memory: UserMemory, ask: TwoVersions) -> Patch:
    """Return the JSON Patch that turns one version of the document into another. Use it to see what is new."""
    return memory.document.diff(ask.before, ask.after)


@operation(Effect.WRITE, "POST /document/revert", Audience.OPERATOR)
def revert_user_memory(memory: UserMemory, ask: OlderVersion) -> Outcome:
    """Save the document of an older version as the newest one. Use it to undo; the history stays."""
    return memory.document.revert(ask.version, provenance=memory.memory.by_operator)
