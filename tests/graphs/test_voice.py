"""Voice: a caller is remembered at the second call, and memory is never in the way of a call."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import MessagesState, StateGraph
from langgraph.runtime import Runtime
from typing_extensions import TypedDict

from graphs.testing import ScriptedChatModel
from graphs.voice import memory_load_node, memory_store_node
from memory_tools.memory import Memory
from storage.database import Database
from storage.settings import DatabaseSettings
from tests.contents import Contents
from tests.graphs.agents import Run
from tests.graphs.callers import CANARY, NUMBER, OTHER, SEED, Flow, caller, flow, in_prompt, owner_of, says


@pytest.mark.parametrize(
    "store",
    [
        {"update": "now", "model": {"summary": "The caller is called John."}},
        {"update": "now"},
        {"update": "later"},
    ],
    ids=["model", "extractive", "later"],
)
def test_john_is_remembered_at_his_second_call(memory: Memory, run: Run, store: dict[str, Any]) -> None:
    if "model" in store:
        store = {**store, "model": ScriptedChatModel.of(store["model"], {"summary": "John called again."})}
    answers = ScriptedChatModel.of("Hello! Who is calling?", "Hi John!")
    graph = flow(memory, answers=answers, store=store)

    first = run(graph, says("My name is John", call="call-1"), context=SEED)
    assert (first["memory"]["known"], first["memory"]["text"], first["stored"]) == (False, "", 2)
    assert first["memory"]["greeting"]["name"] is None
    assert "John" not in in_prompt(answers)

    second = run(graph, says("It is me again.", call="call-2"), context=SEED)
    assert second["memory"]["known"]
    assert "John" in second["memory"]["text"]
    assert "John" in in_prompt(answers)
    assert second["memory"]["greeting"]["conversations"] == second["memory"]["conversation_count"] == 1
    if "model" not in store:
        assert second["memory"]["greeting"]["name"] == "John"
    assert json.loads(json.dumps(second["memory"])) == second["memory"]
    version = caller(memory).document.current().version
    assert version == {"later": 0, "now": 2}[store["update"]]


def test_somebody_else_is_told_nothing_of_john(memory: Memory, run: Run) -> None:
    graph = flow(memory)
    run(graph, says("My name is John"), context=SEED)
    for context in (
        {**SEED, "metadata": {"phoneNumber": OTHER}},
        {**SEED, "organizationId": "org-456"},
        {**SEED, "userId": "ada"},
    ):
        there = run(graph, says("Hello?"), context=context)["memory"]
        assert (there["known"], there["text"], there["allowed"]) == (False, "", True)


def test_two_who_withhold_their_numbers_share_no_memory(memory: Memory, contents: Callable[[], Contents]) -> None:
    before = contents()
    graph = flow(memory)
    for number in ("anonymous", "+266696687"):
        for context, config in (
            ({"organizationId": "org-123", "metadata": {"phoneNumber": number}}, {}),
            (None, {"configurable": {"langgraph_auth_user_id": "telephony"}, "metadata": {"From": number}}),
        ):
            there = graph.invoke(says("My name is John"), config, context=context)
            assert (there["memory"]["reason"], there["reason"], there["stored"]) == ("no_identity", "no_identity", 0)
            assert "John" not in there["memory"]["text"]
    assert contents() == before


def test_a_caller_who_is_known_waits_for_no_writer(database: Database, database_url: str) -> None:
    caller(Memory(database)).document.append({"summary": "Tea."})
    with Memory.open(database_url, settings=DatabaseSettings(busy_timeout=0)) as impatient:
        load = memory_load_node(impatient)
        with database.begin(owner_of(database)) as stores:
            stores.items.set("prefs", "tone", "warm")
            assert "Tea." in load({}, Runtime(context=SEED), {})["memory"]["text"]
            stranger = load({}, Runtime(context={"phone": OTHER}), {})["memory"]["reason"]
        assert stranger == (None if database.on_postgresql else "database_unavailable"), "somebody else was writing"


def test_a_database_that_fails_does_not_end_the_call(
    memory: Memory, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    graph = flow(memory, store={"update": "now"})
    memory.close()
    there = run(graph, says(CANARY), context=SEED)
    assert (there["memory"]["reason"], there["reason"]) == ("database_unavailable", "database_unavailable")
    assert there["messages"][-1].text == "Goodbye."
    assert "database_unavailable" in caplog.text
    assert NUMBER not in caplog.text
    assert CANARY not in caplog.text


def test_an_update_that_fails_does_not_end_the_call_and_loses_nothing(
    memory: Memory, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    model = ScriptedChatModel.of(RuntimeError(CANARY), {"summary": "John."})
    graph = flow(memory, store={"update": "now", "model": model})
    there = run(graph, says("My name is John"), context=SEED)
    assert (there["stored"], there["reason"], there["messages"][-1].text) == (2, None, "Goodbye.")
    assert "update failed" in caplog.text
    assert CANARY not in caplog.text
    run(graph, says("Hello", call="call-2"), context=SEED)
    assert caller(memory).document.current().document["summary"] == "John."


@pytest.mark.parametrize("state", [Flow, MessagesState])
@pytest.mark.parametrize("durability", ["sync", "exit"])
def test_no_checkpoint_holds_what_was_remembered(memory: Memory, run: Run, state: Any, durability: Any) -> None:
    caller(memory).document.append({"summary": CANARY})
    saver = InMemorySaver()
    answers = ScriptedChatModel.of("Goodbye.")
    graph = flow(memory, answers=answers, state=state, saver=saver, store={"update": "now"})
    given = {"messages": [HumanMessage("I like sailing.")]}
    run(graph, given, {"configurable": {"thread_id": "t"}}, context=SEED, durability=durability)
    written = repr((saver.storage, saver.writes, saver.blobs))
    assert "sailing" in written, "the host's own state must be there, or nothing was searched"
    assert CANARY not in written
    assert caller(memory).document.current().version == 2
    if state is Flow:
        assert CANARY in in_prompt(answers)


def test_a_thread_that_goes_on_remembers_anew(memory: Memory, run: Run) -> None:
    graph = flow(memory, saver=InMemorySaver())
    config = {"configurable": {"thread_id": "t"}}
    assert run(graph, {"messages": [HumanMessage("Hello")]}, config, context=SEED)["stored"] == 2
    caller(memory).document.append({"summary": CANARY})
    there = run(graph, {"messages": [HumanMessage("I like sailing.")]}, config, context=SEED)
    assert CANARY in there["memory"]["text"]
    assert there["stored"] == 2


def test_a_host_whose_own_channel_would_keep_memory_is_refused(memory: Memory) -> None:
    class Keeping(TypedDict):
        memory: dict[str, Any]

    with pytest.raises(ValueError, match="memory"):
        StateGraph(Keeping).add_node(memory_load_node(memory))


def test_nodes_of_other_names_stand_in_one_flow(memory: Memory) -> None:
    builder = StateGraph(Flow)
    builder.add_node(memory_load_node(memory, name="greet"))
    builder.add_node(memory_store_node(memory, name="keep"))
    assert set(builder.nodes) == {"greet", "keep"}
