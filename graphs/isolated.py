"""Isolated: a compiled graph that never writes a checkpoint, whatever graph it runs in."""

from collections.abc import AsyncIterator, Iterator
from typing import Any, Final, Generic

from langchain_core.runnables import RunnableConfig
from langgraph.graph.state import CompiledStateGraph
from langgraph.typing import ContextT, InputT, OutputT, StateT

_DURABILITY: Final = "__pregel_durability"
"""The key under which a graph tells those inside it when to wait for their checkpoints."""


class IsolatedGraph(CompiledStateGraph[StateT, ContextT, InputT, OutputT], Generic[StateT, ContextT, InputT, OutputT]):
    """A graph compiled with `checkpointer=False`, that also runs inside a host with `durability="sync"`.

    LangGraph (1.2) hands that mode on, waits for a checkpoint that such a graph never writes, and fails with
    AttributeError. Here the mode ends at the border.
    """

    @classmethod
    def of(cls, compiled: CompiledStateGraph[StateT, ContextT, InputT, OutputT]) -> "IsolatedGraph[Any, Any, Any, Any]":
        """Return `compiled` as an isolated graph."""
        return cls(**vars(compiled) | {"checkpointer": False})

    def stream(self, input: Any, config: RunnableConfig | None = None, **options: Any) -> Iterator[Any]:  # noqa: A002
        """Stream as every graph does."""
        return super().stream(input, _at_the_border(config), **options)

    def astream(self, input: Any, config: RunnableConfig | None = None, **options: Any) -> AsyncIterator[Any]:  # noqa: A002
        """Stream as every graph does."""
        return super().astream(input, _at_the_border(config), **options)


def _at_the_border(config: RunnableConfig | None) -> RunnableConfig:
    given = config or RunnableConfig()
    return {**given, "configurable": {**given.get("configurable", {}), _DURABILITY: "async"}}
