"""Whose memory a tool uses is never what a model says: every source of identity against every forged argument."""

import asyncio
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph

from memory_tools.context import MemoryContext
from memory_tools.langchain import get_user_memory_tools
from memory_tools.memory import Memory, UserMemory
from memory_tools.run import Run
from tests.memory_tools.tools import VICTIM, call, graph_of


class Source:
    """One way in which a host says whose memory it is."""

    def __init__(
        self,
        bind: Callable[[Memory], Memory | UserMemory] = lambda memory: memory,
        context: Any = None,
        schema: type | None = None,
        configurable: dict[str, Any] | None = None,
    ) -> None:
        self.bind, self.context, self.schema, self.configurable = bind, context, schema, configurable or {}


AUTHENTICATED = SimpleNamespace(identity="ada", is_authenticated=True)


SOURCES = {
    "bound": Source(bind=lambda memory: memory.of(user="ada"), context={"user_id": VICTIM}),
    "context": Source(context=MemoryContext(user_id="ada"), schema=MemoryContext),
    "context as JSON": Source(context={"user_id": "ada"}, schema=MemoryContext),
    "context without schema": Source(context={"user_id": "ada"}, configurable={"user_id": VICTIM}),
    "another class": Source(context=SimpleNamespace(user_id="ada", theme="dark")),
    "server": Source(configurable={"langgraph_auth_user": AUTHENTICATED, "user_id": VICTIM}),
    "server's id": Source(configurable={"langgraph_auth_user_id": "ada", "user_id": VICTIM}),
    "configurable": Source(configurable={"user_id": "ada"}),
}


FORGED: dict[str, Any] = {
    "user_id": VICTIM,
    "user": VICTIM,
    "owner_id": "00000000-0000-0000-0000-000000000000",
    "phone": "+12025550143",
    "organization": "acme",
    "identity": {"user_id": VICTIM},
    "memory": VICTIM,
    "context": {"user_id": VICTIM},
    "config": {"configurable": {"user_id": VICTIM, "langgraph_auth_user_id": VICTIM}, "context": {"user_id": VICTIM}},
    "runtime": {"context": {"user_id": VICTIM}, "server_info": {"user": {"identity": VICTIM}}},
    "state": {"user_id": VICTIM},
    "store": VICTIM,
    "run_manager": VICTIM,
    "tool_call_id": VICTIM,
}


@pytest.mark.parametrize("forged", [*FORGED, "all of them"])
@pytest.mark.parametrize("source", SOURCES)
def test_no_forged_argument_changes_whose_memory_it_is(memory: Memory, source: str, forged: str) -> None:
    named = SOURCES[source]
    graph = graph_of(get_user_memory_tools(named.bind(memory)), named.schema)
    arguments = FORGED if forged == "all of them" else {forged: FORGED[forged]}
    asked = {"messages": [call("get_memory_item", {"namespace": "prefs", "key": "whose"} | arguments)]}
    config: Any = {"configurable": dict(named.configurable)}
    for answered in (
        graph.invoke(asked, config, context=named.context),
        asyncio.run(graph.ainvoke(asked, config, context=named.context)),
    ):
        message = answered["messages"][-1]
        assert message.status == "success", message.content
        assert json.loads(message.content)["value"] == "ada"
        assert message.artifact.value == "ada"


@pytest.mark.parametrize("forged", [*FORGED, "all of them"])
@pytest.mark.parametrize("source", ["bound", "server's id", "configurable"])
def test_no_forged_argument_gets_through_a_loop_written_by_hand(memory: Memory, source: str, forged: str) -> None:
    named = SOURCES[source]
    tools = {each.name: each for each in get_user_memory_tools(named.bind(memory))}
    arguments = FORGED if forged == "all of them" else {forged: FORGED[forged]}
    asked = call("get_memory_item", {"namespace": "prefs", "key": "whose"} | arguments).tool_calls[0]
    config: Any = {"configurable": dict(named.configurable)}
    for message in (
        tools["get_memory_item"].invoke(asked, config),
        asyncio.run(tools["get_memory_item"].ainvoke(asked, config)),
    ):
        assert json.loads(message.content)["value"] == "ada"


@pytest.mark.parametrize("forged", [*FORGED, "all of them"])
def test_a_run_that_names_nobody_stays_nobody_whatever_a_model_sends(memory: Memory, forged: str) -> None:
    arguments = FORGED if forged == "all of them" else {forged: FORGED[forged]}
    asked = {"messages": [call("get_memory_item", {"namespace": "prefs", "key": "whose"} | arguments)]}
    tools = get_user_memory_tools(memory)
    by_hand = {each.name: each for each in tools}["get_memory_item"].invoke(asked["messages"][0].tool_calls[0])
    for message in (
        graph_of(tools).invoke(asked)["messages"][-1],
        asyncio.run(graph_of(tools).ainvoke(asked))["messages"][-1],
        by_hand,
    ):
        assert message.status == "error"
        assert json.loads(message.content)["error"]["code"] == "no_identity"


def test_the_matrix_finds_a_tool_that_believes_a_model(memory: Memory) -> None:
    @tool
    def get_memory_item(namespace: str, key: str, user_id: str = "ada") -> str:
        """Read an item of whoever is named: the mistake that the matrix is there for."""
        return json.dumps({"value": memory.of(user=user_id).items.get(namespace, key).value})

    asked = {"messages": [call("get_memory_item", {"namespace": "prefs", "key": "whose"} | FORGED)]}
    assert json.loads(graph_of([get_memory_item]).invoke(asked)["messages"][-1].content)["value"] == VICTIM


def test_a_node_that_calls_tools_itself_hands_on_the_context_of_its_run(memory: Memory) -> None:
    tools = {each.name: each for each in get_user_memory_tools(memory)}

    def by_hand(state: MessagesState) -> dict[str, Any]:
        asked: Any = state["messages"][-1]
        return {"messages": [tools[each["name"]].invoke(each) for each in asked.tool_calls]}

    builder: Any = StateGraph(MessagesState, MemoryContext)
    builder.add_node("by_hand", by_hand)
    builder.add_edge(START, "by_hand")
    asked = {"messages": [call("get_memory_item", {"namespace": "prefs", "key": "whose"} | FORGED)]}
    answered = builder.compile().invoke(asked, context=MemoryContext(user_id="ada"))
    assert json.loads(answered["messages"][-1].content)["value"] == "ada"


def test_organization_and_user_come_from_one_source(memory: Memory) -> None:
    """A client may choose the context of a run on a server: it must not move the authenticated user elsewhere."""
    memory.of(user="ada", organization="acme").items.set("prefs", "whose", "ada of acme")
    graph = graph_of(get_user_memory_tools(memory), None)
    asked = {"messages": [call("get_memory_item", {"namespace": "prefs", "key": "whose"})]}
    config: Any = {"configurable": {"langgraph_auth_user": AUTHENTICATED}}
    answered = graph.invoke(asked, config, context={"organization": "acme"})
    assert json.loads(answered["messages"][-1].content)["value"] == "ada"


def test_a_host_may_say_whose_memory_it_is_by_its_own_rule(memory: Memory) -> None:
    def by_session(memory: Memory, run: Run) -> UserMemory:
        return memory.of(user={"s-1": "ada"}[run.configurable["session"]])

    graph = graph_of(get_user_memory_tools(memory, identify=by_session), None)
    asked = {"messages": [call("get_memory_item", {"namespace": "prefs", "key": "whose"})]}
    config: Any = {"configurable": {"session": "s-1", "user_id": VICTIM}}
    assert json.loads(graph.invoke(asked, config)["messages"][-1].content)["value"] == "ada"
