"""Operations: one thing that may be asked of memory, declared once, offered through every door."""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Generic, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue, SkipJsonSchema
from pydantic_core import CoreSchema

from memory_tools.memory import UserMemory
from storage.limits import NAME_LIMIT, PAGE_LIMIT

Ask = TypeVar("Ask", bound="Input")
Answer = TypeVar("Answer")
Value = TypeVar("Value")


def _nothing() -> None:
    """Return None: a default that is made is not shown in a JSON schema, and LangChain's copies of a model keep it."""


Omittable = Annotated[Value | SkipJsonSchema[None], Field(default_factory=_nothing)]
"""A field that may be left out, and is None then. Its schema, which models pay for, shows neither null nor a default.

Bounds belong to the type inside: `Omittable[Annotated[int, Field(ge=1)]]`.
"""

_BOUNDS = ("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems")
_NOTES = ("description", "default", "examples")

_complete: ContextVar[bool] = ContextVar("complete", default=False)


def complete_schema(question: type[BaseModel]) -> JsonSchemaValue:
    """Return the JSON schema of a question with all that holds of it, for programs.

    Models, who pay for what they read, are shown `model_json_schema()`: without bounds, and without null.
    """
    token = _complete.set(True)
    try:
        return question.model_json_schema()
    finally:
        _complete.reset(token)


class _Unsaid:
    """Leaves bounds out of a JSON schema: they hold, but a model need not read them, and pays for what it reads."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        said = handler(core)
        return said if _complete.get() else {name: each for name, each in said.items() if name not in _BOUNDS}


UNSAID = _Unsaid()
"""Beside the bounds of a type: `Annotated[int, Field(ge=1), UNSAID]`."""


@dataclass(frozen=True)
class Told:
    """Adds to the complete schema what is checked elsewhere, with an error of its own."""

    rules: Mapping[str, Any] = field(hash=False)

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Say it."""
        said = handler(core)
        return {**said, **self.rules} if _complete.get() else said


NAMED = Told({"minLength": 1, "maxLength": NAME_LIMIT})
"""Beside the type of a name: `Annotated[str, NAMED]`. What else a name may not be, a schema cannot say."""

POINTER = Told({"pattern": "^(/([^/~]|~[01])*)*$"})
"""Beside the type of a JSON pointer (RFC 6901)."""

PageSize = Annotated[int, Field(description=f"Up to {PAGE_LIMIT}.", ge=1, le=PAGE_LIMIT), UNSAID]
"""How many entries a page may have."""


class Effect(StrEnum):
    """What an operation does to memory."""

    READ = "read"
    WRITE = "write"
    ERASE = "erase"


class Audience(StrEnum):
    """Who may ask: an agent on behalf of the person, or only an operator."""

    AGENT = "agent"
    OPERATOR = "operator"


class Input(BaseModel):
    """What an operation is asked with. Whose memory it is never stands here: the binding says so."""

    # What is wrong with an input may be shown and logged; the input itself may not.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _null_is_left_out(cls, members: Any) -> Any:
        """Drop null where it is given for a field that may be left out: models write it. Any value may be null."""
        if not isinstance(members, Mapping):
            return members
        optional = {name for name, each in cls.model_fields.items() if not each.is_required()}
        values = {name for name in optional if cls.model_fields[name].annotation is Any}
        return {name: value for name, value in members.items() if value is not None or name not in optional - values}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Say in the complete schema that null is taken for what may be left out, and nothing unknown."""
        schema = handler(core)
        if _complete.get():
            whole = handler.resolve_ref_schema(schema)
            whole["additionalProperties"] = False
            members, needed = whole.get("properties", {}), whole.get("required", [])
            members.update({name: _or_null(members[name]) for name in members if name not in needed})
        return schema


def _or_null(schema: JsonSchemaValue) -> JsonSchemaValue:
    forms, null = schema.get("anyOf", []), {"type": "null"}
    if forms and null not in forms:
        return {**schema, "anyOf": [*forms, null]}
    if not schema.keys() & {"type", "enum", "const", "$ref"}:  # any value, or several forms of which one is null
        return schema
    form = {name: each for name, each in schema.items() if name not in _NOTES}
    notes = {name: each for name, each in schema.items() if name in _NOTES}
    return {"anyOf": [form, null], **notes}


@dataclass(frozen=True)
class Operation(Generic[Ask, Answer]):
    """A typed function with what the doors need to know about it."""

    function: Callable[[UserMemory, Ask], Answer]
    effect: Effect
    route: str
    """The HTTP method and path under the person's own root."""

    audience: Audience

    example: Mapping[str, Any] = field(hash=False)
    """A question as JSON members, for documents and descriptions of an interface."""

    @property
    def name(self) -> str:
        """The name under which every door offers it."""
        return self.function.__name__

    @property
    def description(self) -> str:
        """What a model or a person reads: first what it does, then when to use it."""
        return (self.function.__doc__ or "").strip()

    @property
    def input(self) -> type[Ask]:
        """The pydantic model of the question."""
        asked: type[Ask] = _input_of(self.function)
        return asked

    def __call__(self, memory: UserMemory, ask: Ask) -> Answer:
        """Run it for one person."""
        return self.function(memory, ask)


@cache
def _input_of(function: Callable[..., Any]) -> Any:
    return get_type_hints(function)["ask"]


def operation(
    effect: Effect, route: str, audience: Audience = Audience.AGENT, *, example: Mapping[str, Any]
) -> Callable[[Callable[[UserMemory, Ask], Answer]], Operation[Ask, Answer]]:
    """Declare the function below as an operation."""

    def declare(function: Callable[[UserMemory, Ask], Answer]) -> Operation[Ask, Answer]:
        return Operation(function, effect, route, audience, example)

    return declare


def by_name(*operations: Operation[Any, Any]) -> dict[str, Operation[Any, Any]]:
    """Return the catalog: every operation listed, by its name. Raises ValueError for a name used twice."""
    catalog = {each.name: each for each in operations}
    if len(catalog) != len(operations):
        raise ValueError("two operations have the same name")
    return catalog
