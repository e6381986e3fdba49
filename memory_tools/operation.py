"""Operations: one thing that may be asked of memory, declared once, offered through every door."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, Generic, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue, SkipJsonSchema
from pydantic_core import CoreSchema

from memory_tools.memory import UserMemory
from storage.limits import PAGE_LIMIT

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


class _Unsaid:
    """Leaves bounds out of a JSON schema: they hold, but a model need not read them, and pays for what it reads."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {name: said for name, said in handler(core).items() if name not in _BOUNDS}


UNSAID = _Unsaid()
"""Beside the bounds of a type: `Annotated[int, Field(ge=1), UNSAID]`."""

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
