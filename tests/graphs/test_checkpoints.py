import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import psycopg
import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from graphs.testing import ScriptedChatModel
from graphs.update import STEPS, build_update_graph, next_round, update_nodes
from memory_tools.context import MemoryContext
from memory_tools.memory import Memory, UserMemory
from storage.conversations import NewMessage
from tests.postgres import Cluster

CANARIES = ("canary-in-the-document", "canary-in-a-message", "canary-in-the-answer")

Saver = tuple[BaseCheckpointSaver[Any], Callable[[], str]]
"""A checkpointer, and what returns everything that it has written."""


class Host(TypedDict, total=False):
    topic: str
    status: str


class HostThatKeepsPatches(Host, total=False):
    patch: list[Any]


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
def saver(request: pytest.FixtureRequest) -> Iterator[Saver]:
    if request.param == "memory":
        saver = InMemorySaver()
        yield saver, lambda: repr((saver.storage, saver.writes, saver.blobs))
    elif request.param == "sqlite":
        connection = sqlite3.connect(":memory:", check_same_thread=False)
        yield (
            SqliteSaver(connection),
            lambda: repr(
                [connection.execute(f"SELECT * FROM {table}").fetchall() for table in ("checkpoints", "writes")]
            ),
        )
        connection.close()
    else:
        cluster: Cluster = request.getfixturevalue("cluster")
        url = cluster.new_database()
        with PostgresSaver.from_conn_string(url) as in_postgres:
            in_postgres.setup()
            yield in_postgres, lambda: _rows(url)


def _rows(url: str) -> str:
    with psycopg.connect(url) as connection:
        tables = ("checkpoints", "checkpoint_blobs", "checkpoint_writes")
        return repr([connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables])  # type: ignore[call-overload]


def found(written: str) -> list[str]:
    assert "sailing" in written, "the host's own state must be there, or nothing was searched"
    return [canary for canary in CANARIES if canary in written]


@pytest.fixture
def model(person: UserMemory) -> ScriptedChatModel:
    """A memory with something to find, and a model that answers with more."""
    person.document.append({"summary": CANARIES[0]})
    person.conversations.append("call-1", [NewMessage("user", CANARIES[1])])
    return ScriptedChatModel.of(*[{"summary": CANARIES[0], "mood": CANARIES[2]}] * 3)


def host(memory: Memory, model: ScriptedChatModel, saver: Any, state: Any = Host, **options: Any) -> Any:
    builder = StateGraph(state, context_schema=MemoryContext)
    builder.add_node("remember", build_update_graph(memory, model=model))
    builder.add_edge(START, "remember")
    return builder.compile(checkpointer=saver, **options)


def host_of_nodes(memory: Memory, model: ScriptedChatModel, saver: Any, **options: Any) -> Any:
    builder = StateGraph(Host, context_schema=MemoryContext)
    for name, node in update_nodes(memory, model=model).items():
        builder.add_node(name, node)
    builder.add_edge(START, STEPS[0])
    for step, following in pairwise(STEPS):
        builder.add_edge(step, following)
    builder.add_conditional_edges("save", next_round)
    return builder.compile(checkpointer=saver, **options)


def config(thread: str = "t1") -> dict[str, Any]:
    return {"configurable": {"thread_id": thread}}


ADA = MemoryContext(user_id="ada")


@pytest.mark.parametrize("build", [host, host_of_nodes])
@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
def test_no_checkpoint_holds_memory(
    memory: Memory, person: UserMemory, model: ScriptedChatModel, saver: Saver, build: Any, durability: Any
) -> None:
    graph = build(memory, model, saver[0])
    result = graph.invoke({"topic": "sailing"}, config(), context=ADA, durability=durability)
    assert result["status"] == "saved"
    assert person.document.current().document["mood"] == CANARIES[2]
    assert found(saver[1]()) == []


def test_an_async_host_that_waits_for_its_checkpoints_works_too(memory: Memory, model: ScriptedChatModel) -> None:
    saver = InMemorySaver()
    run = host(memory, model, saver).ainvoke({"topic": "sailing"}, config(), context=ADA, durability="sync")
    assert asyncio.run(run)["status"] == "saved"
    assert found(repr((saver.storage, saver.writes, saver.blobs))) == []


def test_a_host_that_keeps_the_patch_itself_is_found_out(
    memory: Memory, model: ScriptedChatModel, saver: Saver
) -> None:
    graph = host(memory, model, saver[0], HostThatKeepsPatches)
    graph.invoke({"topic": "sailing"}, config(), context=ADA)
    assert found(saver[1]()) == [CANARIES[2]]


def test_a_server_that_puts_its_own_checkpointer_in_stores_no_memory(
    memory: Memory, model: ScriptedChatModel, saver: Saver
) -> None:
    graph = build_update_graph(memory, model=model).copy({"checkpointer": saver[0]})
    given: Any = {"conversation": "sailing"}
    assert graph.invoke(given, config(), context=ADA)["status"] == "saved"
    assert found(saver[1]()) == []


@pytest.mark.parametrize("build", [host, host_of_nodes])
def test_a_run_that_failed_inside_a_host_is_resumed_from_the_database(
    memory: Memory, person: UserMemory, build: Any
) -> None:
    person.conversations.append("call-1", [NewMessage("user", "I drink tea.")])
    model = ScriptedChatModel.of(RuntimeError("rate limit"), {"summary": "Tea."})
    graph = build(memory, model, InMemorySaver())
    with pytest.raises(RuntimeError):
        graph.invoke({"topic": "sailing"}, config(), context=ADA)
    assert graph.invoke(None, config(), context=ADA)["status"] == "saved"
    assert person.document.current().document["summary"] == "Tea."


@pytest.mark.parametrize("step", ["summarize", "diff", "guard", "save"])
def test_nodes_resumed_in_the_middle_begin_again_and_lose_nothing(
    memory: Memory, person: UserMemory, step: str
) -> None:
    person.conversations.append("call-1", [NewMessage("user", "I drink tea.")])
    model = ScriptedChatModel.of({"summary": "Tea."}, {"summary": "Tea."})
    graph = host_of_nodes(memory, model, InMemorySaver(), interrupt_before=[step])
    graph.invoke({"topic": "sailing"}, config(), context=ADA)
    graph.interrupt_before_nodes = []
    result = graph.invoke(None, config(), context=ADA)
    assert (result["status"], person.document.current().version) == ("saved", 1)
    with person.read() as stores:
        assert stores.cursors.seen("document") == 1


def test_a_thread_that_goes_on_is_updated_each_time(memory: Memory, person: UserMemory) -> None:
    model = ScriptedChatModel.of({"summary": "Tea."}, {"summary": "Tea and coffee."})
    graph = host_of_nodes(memory, model, InMemorySaver())
    for text, version in (("I drink tea.", 1), ("And coffee.", 2)):
        person.conversations.append("call-1", [NewMessage("user", text)])
        graph.invoke({"topic": "sailing"}, config(), context=ADA)
        assert person.document.current().version == version
