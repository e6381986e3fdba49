import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.graph import START, MessagesState, StateGraph

from graphs.state import UpdateOutput
from graphs.testing import ScriptedChatModel
from graphs.update import STEPS, build_update_graph, update_nodes
from memory_tools.memory import Memory, UserMemory
from storage.conversations import NewMessage
from storage.errors import NoIdentity

TEA = {"summary": "Ada drinks tea."}


@dataclass
class Caller:
    """A host's own context, which knows nothing of ours."""

    user_id: str
    locale: str = "en"


class HostState(MessagesState, UpdateOutput):
    topic: str


def chain(memory: Memory, model: ScriptedChatModel) -> Any:
    builder = StateGraph(HostState, context_schema=Caller)
    for name, node in update_nodes(memory, model=model).items():
        builder.add_node(name, node)
    builder.add_edge(START, STEPS[0])
    for step, following in pairwise(STEPS):
        builder.add_edge(step, following)
    return builder.compile()


def test_the_nodes_work_in_another_graph_with_its_messages_and_context(memory: Memory, person: UserMemory) -> None:
    graph = chain(memory, ScriptedChatModel.of(TEA))
    given = {"messages": [HumanMessage("I drink tea.", id="m1")], "topic": "tea"}
    result = graph.invoke(given, context=Caller("ada"))
    assert (result["status"], result["version"], len(result["messages"])) == ("saved", 1, 1)
    assert set(result) == {*UpdateOutput.__annotations__, "messages", "topic"}
    assert person.document.current().document["summary"] == TEA["summary"]
    assert graph.invoke(given, context=Caller("ada"))["status"] == "nothing_new"


@pytest.mark.parametrize("context", [Caller("ada"), {"user_id": "ada", "locale": "en"}])
def test_as_a_subgraph_it_takes_the_context_of_the_host_as_it_comes(
    memory: Memory, person: UserMemory, context: object
) -> None:
    builder = StateGraph(MessagesState, context_schema=None if isinstance(context, dict) else Caller)
    builder.add_node("remember", build_update_graph(memory, model=ScriptedChatModel.of(TEA)))
    builder.add_edge(START, "remember")
    builder.compile().invoke({"messages": [HumanMessage("I drink tea.", id="m1")]}, context=context)
    assert person.document.current().version == 1


def test_a_host_without_context_reaches_nobody(memory: Memory) -> None:
    with pytest.raises(NoIdentity):
        chain(memory, ScriptedChatModel.of(TEA)).invoke({"messages": [HumanMessage("I drink tea.", id="m1")]})


def test_linear_nodes_report_a_conflict_and_what_was_new_stays_new(memory: Memory, person: UserMemory) -> None:
    def quarrel(_: Any) -> dict[str, Any]:
        person.document.append({"summary": "Coffee."})
        return TEA

    graph = chain(memory, ScriptedChatModel.of(quarrel, TEA))
    person.conversations.append("call-1", [NewMessage("user", "I drink tea.")])
    result = graph.invoke({"messages": []}, context=Caller("ada"))
    assert (result["status"], result["error"], result["version"]) == ("failed", "version_conflict", 0)
    assert graph.invoke({"messages": []}, context=Caller("ada"))["status"] == "saved"


def test_the_thread_of_the_host_names_the_conversation(memory: Memory, person: UserMemory) -> None:
    graph = chain(memory, ScriptedChatModel.of(TEA))
    given = {"messages": [HumanMessage("I drink tea.", id="m1")]}
    graph.invoke(given, {"configurable": {"thread_id": "thread-7"}}, context=Caller("ada"))
    assert [conversation.name for conversation in person.conversations.all().entries] == ["thread-7"]


def test_the_result_is_json_and_small(memory: Memory, person: UserMemory) -> None:
    import json

    graph = build_update_graph(memory, model=ScriptedChatModel.of(TEA))
    given: Any = {"messages": [{"role": "user", "content": "I drink tea."}]}
    result = graph.invoke(given, context=person)
    assert set(json.loads(json.dumps(result))) == set(UpdateOutput.__annotations__)


def test_importing_the_package_loads_no_framework() -> None:
    program = (
        "import sys, graphs; heavy = {'langchain_core', 'langgraph', 'sqlalchemy'} & set(sys.modules); print(heavy);"
        "graphs.update_memory, graphs.MemoryContext; missing = [n for n in graphs.__all__ if not hasattr(graphs, n)];"
        "print(missing)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["set()", "[]"]
