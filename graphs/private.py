"""Private: what the nodes of a graph hand on, and nothing that writes a state down gets to see.

An `UntrackedValue` is in no checkpoint. But a LangGraph server also keeps what a run streams last as the values of the
thread, a `debug` or `updates` stream shows every channel, and a tracer writes down what a node was given: they all
serialize. To a serializer, what stands here is empty.
"""

from typing import Any, Generic, Self, TypeVar

Value = TypeVar("Value")


class Private(Generic[Value]):
    """Holds one value for the nodes that follow; None where it came back from a serializer."""

    __slots__ = ("value",)

    def __init__(self, value: Value | None = None) -> None:
        self.value = value

    def _asdict(self) -> dict[str, Any]:
        """Return what is written of it: LangGraph's own serializer and its server's JSON ask for this name."""
        return {}

    def __reduce__(self) -> Any:
        return Private, ()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __repr__(self) -> str:
        return "Private()"
