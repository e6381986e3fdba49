"""Operations on the document: read it, change it, its versions and what changed."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from memory_tools.memory import UserMemory
from memory_tools.operation import (
    POINTER,
    UNSAID,
    Audience,
    Effect,
    Input,
    Omittable,
    PageSize,
    Told,
    operation,
)
from storage.edits import Edit, NewValue, Removal, named
from storage.json_types import Json, Patch
from storage.limits import VERSION_LIMIT
from storage.outcome import Outcome
from storage.page import Page
from storage.provenance import WHY_LIMIT
from storage.snapshots import HistoryEntry

CHANGES_LIMIT = 100
"""Changes of the document in one question."""

Number = Annotated[int, Field(ge=0, le=VERSION_LIMIT), UNSAID]
"""The number of a version; a model need not read how large it may be."""


def _no_timestamp(value: Any) -> Any:
    """Take digits for a version, and refuse other numbers: pydantic would count them as seconds since 1970."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 10:
        return int(value)
    if isinstance(value, bool | float) or (isinstance(value, str) and value.strip("+-0123456789._ ") == ""):
        raise ValueError("a version is a whole number, and a time is written as 2026-11-20T09:00+00:00")
    return value


Moment = Annotated[
    int | datetime,
    BeforeValidator(_no_timestamp),
    WithJsonSchema({"type": ["integer", "string"]}),
    Told({"minimum": 0, "maximum": VERSION_LIMIT, "format": "date-time"}),
]
"""The number of a version, or a time."""

Reason = Annotated[str, Field(max_length=WHY_LIMIT), UNSAID]
"""Why a change is made."""

Version = Annotated[Number, Field(description="A version number; 0 is the empty document.")]


class DocumentWanted(Input):
    """A document, or one place in it."""

    at: Annotated[Omittable[Moment], Field(description="A past version or time.")]
    pointer: Annotated[Omittable[Annotated[str, POINTER]], Field(description="JSON pointer, as /goals/g-7.")]


def _unsaid(schema: dict[str, Any]) -> None:
    """Drop what a model learns from the members themselves, and would pay for twice."""
    del schema["additionalProperties"], schema["description"]


class Change(Input):
    """A value for a place, or its removal."""

    model_config = ConfigDict(json_schema_extra=_unsaid)

    pointer: Annotated[
        str,
        Field(description="JSON pointer, as /goals/g-7/status. List entries by id or text, not index; /- adds."),
        POINTER,
    ]
    value: Annotated[Any, Field(description="New value.", default_factory=lambda: None)]
    remove: Annotated[Omittable[bool], Field(description="True: nothing stays there.")]

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if self.remove and self.value is not None:
            raise ValueError("give a value, or remove: not both")
        if not self.remove and "value" not in self.model_fields_set:
            raise ValueError("give a value, which may be null, or remove: true")
        return self

    def as_edit(self) -> Edit:
        """Return the edit that the change asks for. Raises InvalidPatch for a pointer that is no place."""
        return Removal(self.pointer) if self.remove else NewValue(self.pointer, self.value)


_ONE_OF_BOTH = Told(
    {
        "anyOf": [
            {"properties": {"remove": {"enum": [False, None]}}, "required": ["value"]},
            {"properties": {"remove": {"const": True}, "value": {"type": "null"}}, "required": ["remove"]},
        ]
    }
)


class DocumentChanges(Input):
    """Changes that are made together or not at all."""

    changes: Annotated[
        list[Annotated[Change, _ONE_OF_BOTH]],
        Field(description="Made together or not at all.", min_length=1, max_length=CHANGES_LIMIT),
        UNSAID,
    ]
    expected_version: Annotated[Omittable[Number], Field(description="The version you read.")]
    why: Annotated[Omittable[Reason], Field(description="The reason.")]


class HistoryWanted(Input):
    """One page of versions, newest first."""

    limit: Annotated[PageSize, Field(default_factory=lambda: 20)]
    before: Annotated[Omittable[Number], Field(description="Versions below this.")]


class TwoVersions(Input):
    """Two versions to compare."""

    before: Version
    after: Version


class OlderVersion(Input):
    """A version to go back to."""

    version: Version


@operation(Effect.READ, "GET /document", example={"pointer": "/summary"})
def get_user_memory(memory: UserMemory, ask: DocumentWanted) -> Json:
    """Read what is known about the person. Use it first; single values are in list_memory_items."""
    snapshot = memory.document.current() if ask.at is None else memory.document.as_of(ask.at)
    return named(snapshot.document, ask.pointer or "")


@operation(
    Effect.WRITE,
    "PATCH /document",
    example={
        "changes": [
            {"pointer": "/summary", "value": "Ada sings in a choir."},
            {"pointer": "/triggers_and_goals/-", "value": {"id": "g-7", "trigger": "deadlines"}},
        ],
        "why": "She said so.",
    },
)
def update_user_memory(memory: UserMemory, ask: DocumentChanges) -> Outcome:
    """Change what is known. Use it when you learn something lasting."""
    by = replace(memory.provenance, why=ask.why) if ask.why else memory.provenance
    edits = [change.as_edit() for change in ask.changes]
    return memory.document.edit(edits, expected_version=ask.expected_version, provenance=by)


@operation(Effect.READ, "GET /document/history", example={"limit": 5})
def get_memory_history(memory: UserMemory, ask: HistoryWanted) -> Page[HistoryEntry, int]:
    """List past versions. Use it to see what changed and why."""
    return memory.document.history(limit=ask.limit, before=ask.before)


@operation(Effect.READ, "GET /document/difference", Audience.OPERATOR, example={"before": 1, "after": 3})
def compare_memory_versions(memory: UserMemory, ask: TwoVersions) -> Patch:
    """Return the JSON Patch that turns one version of the document into another. Use it to see what is new."""
    return memory.document.diff(ask.before, ask.after)


@operation(Effect.WRITE, "POST /document/revert", Audience.OPERATOR, example={"version": 3})
def revert_user_memory(memory: UserMemory, ask: OlderVersion) -> Outcome:
    """Save the document of an older version as the newest one. Use it to undo; the history stays."""
    return memory.document.revert(ask.version, provenance=memory.memory.by_operator)
