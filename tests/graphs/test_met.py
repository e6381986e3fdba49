"""Met: who was erased during a call, or since the last one, does not come back with it."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import sqlalchemy as sa
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph

from graphs.testing import ScriptedChatModel
from graphs.voice import MemoryCall, memory_load_node, memory_store_node
from memory_tools.memory import Memory
from storage.database import Database
from storage.directory import find
from storage.erase import erase
from storage.identity import Identity
from storage.tables import owners
from tests.contents import Contents
from tests.graphs.agents import Run
from tests.graphs.callers import CANARY, NUMBER, SEED, caller, flow, says


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("update", ["later", "now"])
def test_who_is_erased_during_the_call_does_not_come_back(
    memory: Memory,
    run: Run,
    contents: Callable[[], Contents],
    caplog: pytest.LogCaptureFixture,
    known: bool,
    update: str,
) -> None:
    if known:
        caller(memory).document.append({"summary": "Tea."})
    left: list[Contents] = []

    def erased(_: Any) -> str:
        found = find(memory.database, caller(memory).identity)
        assert found is not None
        erase(memory.database, found.owner)
        left.append(contents())
        return "You are forgotten."

    graph = flow(memory, answers=ScriptedChatModel.of(erased), store={"update": update})
    there = run(graph, says(f"{CANARY}. Forget me."), context=SEED)
    assert (there["stored"], there["reason"]) == (0, "erased")
    assert [contents()] == left
    assert "memory_store failed (erased)" in caplog.text
    assert CANARY not in caplog.text


@pytest.mark.parametrize("known", [False, True])
def test_who_is_erased_while_a_model_writes_does_not_come_back(
    memory: Memory, contents: Callable[[], Contents], caplog: pytest.LogCaptureFixture, known: bool
) -> None:
    if known:
        caller(memory).document.append({"summary": "Tea."})
    left: list[Contents] = []

    def erased(_: Any) -> dict[str, Any]:
        found = find(memory.database, caller(memory).identity)
        assert found is not None
        erase(memory.database, found.owner)
        left.append(contents())
        return {"summary": CANARY}

    there = flow(memory, store={"update": "now", "model": ScriptedChatModel.of(erased)}).invoke(
        says("My name is John"), context=SEED
    )
    assert there["stored"] == 2, "it was kept before"
    assert [contents()] == left
    assert "update failed (erased)" in caplog.text
    assert CANARY not in caplog.text


def test_who_is_merged_during_the_call_is_the_same_person(memory: Memory, administrator: sa.Engine) -> None:
    memory.of(user="ada").document.append({"summary": "Tea."})

    def merged(_: Any) -> str:
        by_user, by_phone = (find(memory.database, each.identity) for each in (memory.of(user="ada"), caller(memory)))
        assert by_user is not None
        assert by_phone is not None
        one, other = by_user.owner, by_phone.owner
        with administrator.begin() as connection:
            connection.execute(sa.update(owners).where(owners.c.id == other).values(survivor_id=one, merged_into=one))
        return "You are one."

    graph = flow(memory, answers=ScriptedChatModel.of(merged))
    assert graph.invoke(says("Hello"), context=SEED)["reason"] is None


def test_what_a_thread_still_holds_of_somebody_erased_does_not_come_back_with_their_next_call(
    memory: Memory, operators_database: Database, contents: Callable[[], Any]
) -> None:
    flow: Any = StateGraph(CallInThread)
    flow.add_node("load", memory_load_node(memory))
    flow.add_node("talk", lambda state: {"messages": [AIMessage("Yes?")]})
    flow.add_node("store", memory_store_node(memory, update="now"))
    for step, following in pairwise([START, "load", "talk", "store", END]):
        flow.add_edge(step, following)
    graph = flow.compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "t-1"}}
    metadata = {"phoneNumber": NUMBER}
    graph.invoke({"messages": [HumanMessage("I have a SECRET illness.")], "metadata": metadata}, config)
    found = find(operators_database, Identity.of(phone=NUMBER))
    assert found is not None
    erase(operators_database, found.owner)
    graph.invoke({"messages": [HumanMessage("My name is John.")], "metadata": metadata}, config)
    assert "SECRET" not in repr(contents())
    texts = [each.content for each in memory.of(phone=NUMBER).conversations.messages("t-1").entries]
    assert texts == ["My name is John.", "Yes?"]
    graph.invoke({"messages": [HumanMessage("Still there?")], "metadata": metadata}, config)
    assert len(memory.of(phone=NUMBER).conversations.messages("t-1").entries) == 4


class CallInThread(MessagesState, MemoryCall):
    """The state of a host."""
