"""Private: no checkpoint, stream or serializer sees what a run was told."""

import copy
import pickle
from typing import Any

from langchain.agents import create_agent
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from graphs.middleware import UserMemoryMiddleware
from graphs.private import Private
from graphs.testing import ScriptedChatModel
from memory_tools.context import MemoryContext
from memory_tools.memory import Memory, UserMemory
from tests.graphs.agents import ADA, Run, asked, in_thread


def test_no_checkpoint_holds_memory(memory: Memory, ada: UserMemory, run: Run) -> None:
    saver = InMemorySaver()
    agent = create_agent(
        ScriptedChatModel.of("Hi"),
        middleware=[UserMemoryMiddleware(memory, auto_store=True, update="now")],
        context_schema=MemoryContext,
        checkpointer=saver,
    )
    run(agent, asked("Hello"), in_thread(), context=ADA)
    stored = repr((saver.storage, saver.writes, saver.blobs))
    assert "Hello" in stored
    assert "chess" not in stored
    assert "No nuts" not in stored


def test_nothing_that_writes_a_state_down_sees_memory(memory: Memory, ada: UserMemory) -> None:
    """A LangGraph server keeps what a run streams last, and shows `debug` and `updates` to clients."""
    agent = create_agent(
        ScriptedChatModel.of("Hi"),
        middleware=[UserMemoryMiddleware(memory, auto_store=True, update="now")],
        context_schema=MemoryContext,
        checkpointer=InMemorySaver(),
    )
    modes: Any = ["values", "updates", "debug", "tasks", "checkpoints", "custom"]
    streamed = list(agent.stream(asked("Hello"), in_thread(), context=ADA, stream_mode=modes, subgraphs=True))
    assert "Hello" in repr(streamed)
    assert "user_memory" in repr(streamed)
    assert "chess" not in repr(streamed)


def test_what_is_private_is_empty_to_every_serializer() -> None:
    private = Private({"summary": "SECRET"})
    assert copy.deepcopy(private).value == copy.copy(private).value == {"summary": "SECRET"}
    kind, written = JsonPlusSerializer().dumps_typed({"memory": private})
    assert b"SECRET" not in written
    read = JsonPlusSerializer(allowed_msgpack_modules=[("graphs.private", "Private")]).loads_typed((kind, written))
    assert read["memory"] is None or read["memory"].value is None
    assert pickle.loads(pickle.dumps(private)).value is None
    assert "SECRET" not in repr(private)
