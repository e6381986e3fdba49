"""Documents: the shape of a person's memory, and the two members that are shown with it but never stored in it."""

from functools import cache
from typing import Annotated, ClassVar, Final

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError, with_config
from pydantic_core import ErrorDetails
from typing_extensions import TypedDict

from storage.errors import InvalidDocument
from storage.json_types import Document, Json
from storage.pointer import pointer, shown

RENDERED: Final = ("version", "last_updated_by")
"""The members that are rendered from the head when a document is read. They are never stored, diffed or merged."""

_OPEN = ConfigDict(extra="allow")

Score = Annotated[float, Field(ge=0, le=1)]
"""How recent or influential something is, from 0 to 1."""


# What is inside the document are TypedDicts: checking makes no objects of them, which halves its time.
@with_config(_OPEN)
class Goal(TypedDict, total=False):
    """What a part wants."""

    goal: str


@with_config(_OPEN)
class Part(TypedDict, total=False):
    """One part of a person, such as their inner critic. Members beside these are kept."""

    name: str
    status: str
    recency_score: Score
    influence_score: Score
    goals: list[Goal]


@with_config(_OPEN)
class TriggerAndGoal(TypedDict, total=False):
    """What sets something off, what the person wishes instead, and the ids of the parts concerned."""

    trigger: str
    desired_outcome: str
    related_parts: list[str]


class MemoryDocument(BaseModel):
    """The shape of a person's memory unless the host brings its own model. Members beside these are kept."""

    model_config = _OPEN

    members_stand_alone: ClassVar[bool] = True
    """Whether each member is right or wrong whatever the others are, so that only those that changed are checked."""

    summary: str = ""
    parts: dict[str, Part] = Field(default_factory=dict)
    triggers_and_goals: list[TriggerAndGoal] = Field(default_factory=list)
    safety_notes: str = ""


def check_document(document: Document, schema: type[BaseModel] = MemoryDocument) -> None:
    """Check that `document`, with or without its rendered members, has the shape of `schema`; change nothing.

    Types are strict as in JSON: `"0.5"` is no number, while `1` is a fine float and an ISO text a fine datetime.
    Raises InvalidDocument with the pointer of the first fault and the count of all of them.
    """
    if type(document) is not dict:
        raise InvalidDocument("The document is not a JSON object.", pointer="")
    _check_rendered(document)
    if missing := _rendered_members_that_must_be(schema):
        document = missing | document
    try:
        schema.__pydantic_validator__.validate_python(document, strict=True)
    except ValidationError:
        _check_as_json(document, schema)


def members_stand_alone(schema: type[BaseModel]) -> bool:
    """Whether `schema` says that its members, and theirs, may be checked one by one (see MemoryDocument)."""
    return bool(schema.__dict__.get("members_stand_alone", False))


def strip_rendered(document: Document) -> Document:
    """Return `document` without its rendered members: itself, where it has none, else a new object."""
    if "version" in document or "last_updated_by" in document:
        _check_rendered(document)
        return {name: value for name, value in document.items() if name not in RENDERED}
    return document


def render(document: Document, version: int, last_updated_by: str | None) -> Document:
    """Return a new object: the stored `document` as it is shown, led by its version and who saved that.

    The empty document of version 0 was saved by nobody and is shown as `{}`.
    """
    if version == 0 and not document:
        return {}
    return {"version": version, "last_updated_by": last_updated_by} | document


def _check_rendered(document: Document) -> None:
    """Raise InvalidDocument where a rendered member is something else than it would be shown as.

    It would be dropped in silence otherwise, and with it what somebody put there.
    """
    version = document.get("version", 0)
    if type(version) is not int or version < 0:
        raise InvalidDocument("The version is a whole number from 0 that the memory counts itself.", pointer="/version")
    if not isinstance(document.get("last_updated_by"), str | None):
        raise InvalidDocument("The name of who updated last is a text.", pointer="/last_updated_by")


@cache
def _rendered_members_that_must_be(schema: type[BaseModel]) -> Document:
    """Return stand-ins for the rendered members that `schema` requires: what is stored never has them."""
    stand_ins: Document = {"version": 0, "last_updated_by": ""}
    required = [field.validation_alias or name for name, field in schema.model_fields.items() if field.is_required()]
    return {name: value for name, value in stand_ins.items() if name in required}


def _check_as_json(document: Document, schema: type[BaseModel]) -> None:
    """Check the JSON of `document`: slower, but there a text may be a datetime, a UUID or a member of an enum."""
    try:
        schema.__pydantic_validator__.validate_json(orjson.dumps(document), strict=True)
    except orjson.JSONEncodeError:
        raise InvalidDocument("The document is not JSON.", pointer="") from None
    except ValidationError as invalid:
        # No input in it: what is wrong may be shown where the document itself may not.
        faults = invalid.errors(include_url=False, include_context=False, include_input=False)
        place = _place(document, faults[0])
        others = f" (faults in all: {len(faults)})" if len(faults) > 1 else ""
        raise InvalidDocument(f"{faults[0]['msg']} at {shown(place)}{others}.", pointer=place) from None


def _place(document: Document, fault: ErrorDetails) -> str:
    """Return the pointer of a fault: as far as its location leads into `document`, and the name of what is missing.

    Pydantic's locations also name the branch of a union that was tried, which is no place.
    """
    tokens: list[str | int] = []
    value: Json = document
    for token in fault["loc"]:
        try:
            value = value[token]
        except (LookupError, TypeError):
            if fault["type"] == "missing":
                tokens.append(token)
            break
        tokens.append(token)
    return pointer(tokens)
