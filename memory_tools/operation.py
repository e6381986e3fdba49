"""Operations: one thing that may be asked of memory, declared once, offered through every door."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar, get_type_hints

from pydantic import BaseModel, ConfigDict

from memory_tools.memory import UserMemory

Ask = TypeVar("Ask", bound="Input")
Answer = TypeVar("Answer")


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

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True)
class Operation(Generic[Ask, Answer]):
    """A typed function with what the doors need to know about it."""

    function: Callable[[UserMemory, Ask], Answer]
    effect: Effect
    route: str
    """The HTTP method and path under the person's own root."""

    audience: Audience

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
        hints = get_type_hints(self.function)
        asked: type[Ask] = hints["ask"]
        return asked

    def __call__(self, memory: UserMemory, ask: Ask) -> Answer:
        """Run it for one person."""
        return self.function(memory, ask)


def operation(
    effect: Effect, route: str, audience: Audience = Audience.AGENT
) -> Callable[[Callable[[UserMemory, Ask], Answer]], Operation[Ask, Answer]]:
    """Declare the function below as an operation."""

    def declare(function: Callable[[UserMemory, Ask], Answer]) -> Operation[Ask, Answer]:
        return Operation(function, effect, route, audience)

    return declare


def by_name(*operations: Operation[Any, Any]) -> dict[str, Operation[Any, Any]]:
    """Return the catalog: every operation listed, by its name. Raises ValueError for a name used twice."""
    catalog = {each.name: each for each in operations}
    if len(catalog) != len(operations):
        raise ValueError("two operations have the same name")
    return catalog
