"""Who is erased while a run or an update is under way does not come back with it."""

from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent

from graphs.middleware import UserMemoryMiddleware
from graphs.testing import ScriptedChatModel
from graphs.update import build_update_graph, update_memory
from memory_tools.context import MemoryContext
from memory_tools.memory import Memory
from storage.database import Database
from storage.directory import find
from storage.erase import erase
from storage.errors import Erased
from tests.graphs.agents import ADA, Run, asked, in_thread


@pytest.mark.parametrize("known", [True, False])
def test_who_is_erased_during_a_run_does_not_come_back_with_it(
    memory: Memory,
    run: Run,
    known: bool,
    operators_database: Database,
    contents: Callable[[], Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    ada = memory.of(user="ada")
    if known:
        ada.document.append({"summary": "Ada plays chess."})
    else:
        ada.items.set("prefs", "tone", "warm")

    def erases(prompt: list[Any]) -> str:
        found = find(operators_database, ada.identity)
        assert found is not None
        erase(operators_database, found.owner)
        return "You are forgotten."

    agent = create_agent(
        ScriptedChatModel.of(erases),
        middleware=[UserMemoryMiddleware(memory, auto_store=True, update="now")],
        context_schema=MemoryContext,
    )
    run(agent, asked("My name is Ada. Forget everything about me."), in_thread(), context=ADA)
    assert "erased" in caplog.text
    assert find(operators_database, ada.identity) is None
    assert "Forget everything" not in repr(contents())


@pytest.mark.parametrize("door", ["middleware", "update", "graph"])
def test_who_is_erased_while_the_first_document_is_written_does_not_come_back(
    memory: Memory, operators_database: Database, contents: Callable[[], Any], door: str
) -> None:
    ada = memory.of(user="ada")

    def erases(prompt: list[Any]) -> dict[str, Any]:
        found = find(operators_database, ada.identity)
        assert found is not None
        erase(operators_database, found.owner)
        return {"document": {"summary": "She has a SECRET."}}

    writer = ScriptedChatModel.of(erases)
    if door == "middleware":
        middleware = UserMemoryMiddleware(memory, auto_store=True, update="now", model=writer)
        agent = create_agent(ScriptedChatModel.of("Hi"), middleware=[middleware], context_schema=MemoryContext)
        agent.invoke(asked("I have a SECRET."), in_thread(), context=ADA)
    else:
        ada.conversations.append("c", [{"role": "user", "content": "I have a SECRET."}])
        graph = build_update_graph(memory, model=writer)
        doors: dict[str, Callable[[], Any]] = {
            "update": lambda: update_memory(memory.of(user="ada"), model=writer),
            "graph": lambda: graph.invoke({"messages": []}, context=ADA),
        }
        with pytest.raises(Erased):
            doors[door]()
    assert writer.left == 0
    assert "SECRET" not in repr(contents())
    assert find(operators_database, ada.identity) is None
