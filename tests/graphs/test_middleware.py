"""Memory around an agent: told before the model, kept after the run, and never in the way of the agent."""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from langchain.agents import create_agent
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph

from graphs.middleware import UserMemoryMiddleware
from graphs.testing import ScriptedChatModel, calls
from graphs.update import update_memory
from memory_tools.context import MemoryContext
from memory_tools.memory import Memory, UserMemory
from storage.configuration import MemoryConfiguration
from storage.database import Database
from storage.errors import InvalidInput
from tests.graphs.agents import ADA, Run, asked, in_thread, kept, prompt_of


def test_the_model_is_told_what_is_known_behind_the_hosts_own_prompt(memory: Memory, ada: UserMemory, run: Run) -> None:
    model = ScriptedChatModel.of("Hello Ada!")
    agent = create_agent(
        model,
        system_prompt="You are a friendly host.",
        middleware=[UserMemoryMiddleware(memory)],
        context_schema=MemoryContext,
    )
    answered = run(agent, asked("Hello"), context=ADA)
    assert list(answered) == ["messages"]
    blocks: Any = model.prompts[0][0].content
    assert blocks[0]["text"] == "You are a friendly host."
    assert "Ada plays chess." in blocks[1]["text"]
    assert "No nuts." in blocks[1]["text"]
    assert [each.type for each in answered["messages"]] == ["human", "ai"]


def test_of_a_stranger_nothing_is_said_and_nobody_is_made(
    memory: Memory, run: Run, contents: Callable[[], Any]
) -> None:
    before = contents()
    model = ScriptedChatModel.of("Hello!")
    agent = create_agent(model, middleware=[UserMemoryMiddleware(memory)], context_schema=MemoryContext)
    run(agent, asked("Hello"), context=MemoryContext(user_id="nobody"))
    assert prompt_of(model) == ""
    assert contents() == before


def test_an_update_now_reaches_the_next_run(memory: Memory, run: Run) -> None:
    model = ScriptedChatModel.of("Nice to meet you.", "You are John.")
    agent = create_agent(
        model,
        middleware=[UserMemoryMiddleware(memory, auto_store=True, update="now")],
        context_schema=MemoryContext,
    )
    run(agent, asked("My name is John."), in_thread("t-1"), context=ADA)
    assert memory.of(user="ada").document.current().version == 1
    run(agent, asked("Who am I?"), in_thread("t-2"), context=ADA)
    assert "John" in prompt_of(model)


def test_an_update_now_asks_the_model_that_was_given(memory: Memory, run: Run) -> None:
    writer = ScriptedChatModel.of({"document": {"summary": "He is called John."}})
    middleware = UserMemoryMiddleware(memory, auto_store=True, update="now", model=writer)
    agent = create_agent(ScriptedChatModel.of("Hi"), middleware=[middleware], context_schema=MemoryContext)
    run(agent, asked("My name is John."), context=ADA)
    assert memory.of(user="ada").document.current().document["summary"] == "He is called John."


def test_what_waits_for_an_update_is_told_already_but_not_in_its_own_thread(memory: Memory, run: Run) -> None:
    model = ScriptedChatModel.of("Hi", "Hi again", "Yes")
    agent = create_agent(
        model,
        middleware=[UserMemoryMiddleware(memory, auto_store=True)],
        context_schema=MemoryContext,
        checkpointer=InMemorySaver(),
    )
    run(agent, asked("My name is John."), in_thread("t-1"), context=ADA)
    run(agent, asked("Do you know me?"), in_thread("t-2"), context=ADA)
    assert "My name is John." in prompt_of(model)
    run(agent, asked("Sure?"), in_thread("t-1"), context=ADA)
    assert "My name is John." not in prompt_of(model)
    assert update_memory(memory.of(user="ada")).status == "saved"


def test_a_thread_is_told_what_changed_since_behind_the_same_prefix(memory: Memory, ada: UserMemory, run: Run) -> None:
    model = ScriptedChatModel.of("1", "2", "3", "4")
    agent = create_agent(
        model,
        system_prompt="You are a host.",
        middleware=[UserMemoryMiddleware(memory)],
        context_schema=MemoryContext,
        checkpointer=InMemorySaver(),
    )
    run(agent, asked("a"), in_thread(), context=ADA)
    run(agent, asked("b"), in_thread(), context=ADA)
    assert model.prompts[0][0].content == model.prompts[1][0].content
    ada.document.append({"summary": "Ada plays chess and go.", "safety_notes": "No nuts."})
    run(agent, asked("c"), in_thread(), context=ADA)
    first, third = list(model.prompts[0][0].content), list(model.prompts[2][0].content)
    assert third[: len(first)] == first
    assert "Ada plays chess and go." in third[-1]["text"]  # type: ignore[index]
    run(agent, asked("d"), in_thread("t-2"), context=ADA)
    assert "chess and go" in model.prompts[3][0].content[1]["text"]  # type: ignore[index]
    assert len(model.prompts[3][0].content) == len(first)


def test_a_thread_that_another_person_goes_on_with_is_told_about_that_person(memory: Memory, ada: UserMemory) -> None:
    bob = memory.of(user="bob")
    bob.document.append({"summary": "Bob sails."})
    bob.document.append({"summary": "Bob sails and rows."})
    model = ScriptedChatModel.of("1", "2")
    agent = create_agent(
        model,
        middleware=[UserMemoryMiddleware(memory)],
        context_schema=MemoryContext,
        checkpointer=InMemorySaver(),
    )
    agent.invoke(asked("a"), in_thread(), context=ADA)
    agent.invoke(asked("b"), in_thread(), context=MemoryContext(user_id="bob"))
    assert "Bob sails and rows." in prompt_of(model)
    assert "chess" not in prompt_of(model)


def test_with_a_database_that_fails_the_agent_answers_without_memory(
    database_url: str, database: Database, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Memory.open(database_url)
    broken.close()
    model = ScriptedChatModel.of("Hello!")
    agent = create_agent(
        model,
        middleware=[UserMemoryMiddleware(broken, auto_store=True, update="now", tools=True)],
        context_schema=MemoryContext,
    )
    answered = run(agent, asked("My secret is hunter2"), context=ADA)
    assert answered["messages"][-1].content == "Hello!"
    assert "database_unavailable" in caplog.text
    assert "hunter2" not in caplog.text
    assert {each.levelno for each in caplog.records} == {logging.ERROR}


def test_a_summarizer_that_fails_costs_nothing_but_the_update(
    memory: Memory, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    writer = ScriptedChatModel.of(ConnectionRefusedError("key sk-123"))
    middleware = UserMemoryMiddleware(memory, auto_store=True, update="now", model=writer)
    agent = create_agent(ScriptedChatModel.of("Hi"), middleware=[middleware], context_schema=MemoryContext)
    assert run(agent, asked("My name is John."), in_thread(), context=ADA)["messages"][-1].content == "Hi"
    assert kept(memory.of(user="ada")) == [("user", "My name is John."), ("assistant", "Hi")]
    assert "sk-123" not in caplog.text


def test_where_nobody_is_named_the_agent_goes_on_without_memory(
    memory: Memory, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    agent = create_agent(ScriptedChatModel.of("Hi"), middleware=[UserMemoryMiddleware(memory, auto_store=True)])
    assert run(agent, asked("Hello"))["messages"][-1].content == "Hi"
    assert "no_identity" in caplog.text


@pytest.mark.parametrize(
    ("schema", "context", "configurable"),
    [
        (MemoryContext, {"user_id": "ada"}, {}),
        (None, {"user_id": "ada"}, {}),
        (None, SimpleNamespace(user_id="ada", locale="en"), {}),
        (None, None, {"langgraph_auth_user": SimpleNamespace(identity="ada"), "user_id": "bob"}),
        (None, None, {"user_id": "ada"}),
    ],
)
def test_the_person_is_whom_the_run_names(
    memory: Memory, ada: UserMemory, run: Run, schema: Any, context: Any, configurable: dict[str, Any]
) -> None:
    model = ScriptedChatModel.of("Hi")
    agent = create_agent(model, middleware=[UserMemoryMiddleware(memory)], context_schema=schema)
    run(agent, asked("Hello"), {"configurable": configurable}, context=context)
    assert "Ada plays chess." in prompt_of(model)


def test_a_bound_person_needs_no_context(memory: Memory, ada: UserMemory, run: Run) -> None:
    model = ScriptedChatModel.of("Hi")
    agent = create_agent(model, middleware=[UserMemoryMiddleware(ada)])
    run(agent, asked("Hello"), context={"user_id": "bob"})
    assert "Ada plays chess." in prompt_of(model)


def test_the_tools_come_along_where_they_are_wanted(memory: Memory, ada: UserMemory, run: Run) -> None:
    model = ScriptedChatModel.of(calls("set_memory_item", {"namespace": "prefs", "key": "tone", "value": "warm"}), "Ok")
    middleware = UserMemoryMiddleware(memory, tools=["set_memory_item", "get_memory_item"])
    agent = create_agent(model, middleware=[middleware], context_schema=MemoryContext)
    run(agent, asked("Be warm"), context=ADA)
    assert ada.items.get("prefs", "tone").value == "warm"
    assert [each["function"]["name"] for each in model.bound_tools] == ["get_memory_item", "set_memory_item"]
    assert len(UserMemoryMiddleware(memory, tools=True).tools) > 2
    assert UserMemoryMiddleware(memory).tools == []


def test_an_organization_that_switched_memory_off_is_told_and_kept_nothing(
    memory: Memory, ada: UserMemory, run: Run, operators_database: Database
) -> None:
    Memory(operators_database).configurations.set({"enabled": False})
    model = ScriptedChatModel.of("Hi")
    agent = create_agent(
        model, middleware=[UserMemoryMiddleware(memory, auto_store=True, tools=True)], context_schema=MemoryContext
    )
    run(agent, asked("Hello"), in_thread(), context=ADA)
    assert prompt_of(model) == ""
    assert model.bound_tools == []
    assert ada.conversations.all().entries == ()


def test_what_operators_stored_for_the_flow_wins_over_the_organization_and_over_the_code(
    memory: Memory, ada: UserMemory, operators_database: Database
) -> None:
    stored = Memory(operators_database).configurations
    stored.set({"autoStore": False})
    stored.set({"autoStore": True}, flow="chat")

    def keeps(**options: Any) -> bool:
        before = ada.conversations.totals().messages
        agent = create_agent(
            ScriptedChatModel.of("Hi"),
            middleware=[UserMemoryMiddleware(memory, **options)],
            context_schema=MemoryContext,
        )
        agent.invoke(asked("Hello"), context=ADA)
        return ada.conversations.totals().messages > before

    assert not keeps(auto_store=True)
    assert keeps(flow="chat")
    assert keeps(flow="chat", auto_store=False)
    stored.reset()
    assert keeps(auto_store=True)
    assert keeps(configuration=MemoryConfiguration(auto_store=True))
    assert not keeps(configuration=MemoryConfiguration(auto_store=True), auto_store=False)


def test_as_a_subgraph_it_takes_the_hosts_own_context(memory: Memory, ada: UserMemory, run: Run) -> None:
    model = ScriptedChatModel.of("Hi")
    agent = create_agent(
        model, middleware=[UserMemoryMiddleware(memory, auto_store=True)], context_schema=MemoryContext
    )

    class Host(MessagesState):
        step: int

    builder: Any = StateGraph(Host)
    builder.add_node("agent", agent)
    builder.add_edge(START, "agent")
    host = builder.compile(checkpointer=InMemorySaver())
    run(host, asked("Hello"), in_thread("h-1"), context={"user_id": "ada", "theme": "dark"})
    assert "Ada plays chess." in prompt_of(model)
    assert kept(ada, "h-1") == [("user", "Hello"), ("assistant", "Hi")]


def test_only_the_agents_own_words_are_streamed(memory: Memory, ada: UserMemory) -> None:
    writer = ScriptedChatModel.of({"document": {"summary": "SECRET SUMMARY", "safety_notes": "No nuts."}})
    agent = create_agent(
        ScriptedChatModel.of("Hello Ada"),
        middleware=[UserMemoryMiddleware(memory, auto_store=True, update="now", model=writer)],
        context_schema=MemoryContext,
    )
    words = [chunk.text for chunk, _ in agent.stream(asked("Hi"), context=ADA, stream_mode="messages")]
    assert "".join(words).strip() == "Hello Ada"
    assert writer.left == 0


@contextmanager
def transactions(database: Database) -> Iterator[list[str]]:
    """Count the transactions that are begun, by what they are begun for."""
    begun: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("BEGIN"):
            begun.append(statement)

    sa.event.listen(database.engine, "before_cursor_execute", note)
    try:
        yield begun
    finally:
        sa.event.remove(database.engine, "before_cursor_execute", note)


def test_a_run_takes_one_transaction_to_read_and_one_to_write(
    memory: Memory, ada: UserMemory, database: Database
) -> None:
    agent = create_agent(
        ScriptedChatModel.of(calls("noop", {}), calls("noop", {}), "Hi"),
        [tool(noop)],
        middleware=[UserMemoryMiddleware(memory, auto_store=True)],
        context_schema=MemoryContext,
    )
    with transactions(database) as begun:
        agent.invoke(asked("Hello"), in_thread(), context=ADA)
    reading, writing = begun
    assert reading == ("BEGIN READ ONLY" if database.on_postgresql else "BEGIN")
    assert writing == ("BEGIN" if database.on_postgresql else "BEGIN IMMEDIATE")


def noop() -> str:
    """Do nothing."""
    return "done"


def test_memory_in_the_prompt_is_capped(memory: Memory) -> None:
    memory.of(user="ada").document.append({"facts": [{"id": f"f{n}", "text": "word " * 40} for n in range(200)]})
    model = ScriptedChatModel.of("Hi")
    agent = create_agent(model, middleware=[UserMemoryMiddleware(memory, budget=600)], context_schema=MemoryContext)
    agent.invoke(asked("Hello"), context=ADA)
    assert 100 < len(prompt_of(model)) <= 600 * 4


def test_two_of_them_in_one_agent_need_two_names(memory: Memory, ada: UserMemory) -> None:
    bob = memory.of(user="bob")
    bob.document.append({"summary": "Bob sails."})
    model = ScriptedChatModel.of("Hi")
    both = [UserMemoryMiddleware(ada), UserMemoryMiddleware(bob, name="the other")]
    with pytest.raises(AssertionError):
        create_agent(model, middleware=[UserMemoryMiddleware(ada), UserMemoryMiddleware(bob)])
    assert {each.name for each in both} == {"UserMemoryMiddleware", "the other"}


def test_two_of_them_keep_apart_what_they_read_and_what_they_may_keep(
    memory: Memory, ada: UserMemory, run: Run
) -> None:
    bob = memory.of(user="bob")
    bob.document.append({"summary": "Bob sails."})
    model = ScriptedChatModel.of("Hi", "Hi")
    agent = create_agent(
        model,
        middleware=[UserMemoryMiddleware(ada, auto_store=True), UserMemoryMiddleware(bob, name="the other")],
        checkpointer=InMemorySaver(),
    )
    for _ in range(2):
        run(agent, asked("Hello"), in_thread())
        assert "Ada plays chess." in prompt_of(model)
        assert "Bob sails." in prompt_of(model)
    assert (ada.conversations.totals().messages, bob.conversations.totals().messages) == (4, 0)


def test_the_tools_it_brings_obey_the_same_configuration(
    memory: Memory, ada: UserMemory, operators_database: Database
) -> None:
    Memory(operators_database).configurations.set({"enabled": False}, flow="intake")
    model = ScriptedChatModel.of(calls("set_memory_item", {"key": "k", "value": "SECRET"}), "Done")
    agent = create_agent(
        model, middleware=[UserMemoryMiddleware(memory, tools=True, flow="intake")], context_schema=MemoryContext
    )
    answered = agent.invoke(asked("Remember"), context=ADA)
    assert "memory_disabled" in answered["messages"][2].text
    assert ada.items.in_namespace().entries == ()


def test_memory_has_threads_of_its_own(memory: Memory) -> None:
    """Whoever waits for a lock there must not take the threads that the host's own work needs."""
    names: set[str] = set()

    def noting(memory: Memory, _: Any) -> UserMemory:
        names.add(threading.current_thread().name.partition("_")[0])
        return memory.of(user="ada")

    middleware = UserMemoryMiddleware(memory, auto_store=True, tools=True, identify=noting)
    agent = create_agent(ScriptedChatModel.of(calls("get_user_memory", {}), "Hi"), middleware=[middleware])
    asyncio.run(agent.ainvoke(asked("Hello")))
    assert names == {"usermemory"}


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"update": "sometimes"}, "later or now"),
        ({"model": ScriptedChatModel.of()}, "update"),
        ({"budget": 5}, "at least"),
        ({"configuration": {"autostore": True}}, "there is no member"),
        ({"tools": "get_user_memory"}, "list of names"),
        ({"tools": ["accept_pending_version"]}, "accept_pending_version"),
    ],
)
def test_what_it_cannot_be_made_of_is_refused_at_once(memory: Memory, wrong: dict[str, Any], what: str) -> None:
    with pytest.raises(InvalidInput, match=what):
        UserMemoryMiddleware(memory, **wrong)
    with pytest.raises(InvalidInput, match="open memory"):
        UserMemoryMiddleware("sqlite:///memory.db")  # type: ignore[arg-type]


def test_a_configuration_may_be_a_mapping(memory: Memory, ada: UserMemory) -> None:
    agent = create_agent(
        ScriptedChatModel.of("Hi"), middleware=[UserMemoryMiddleware(ada, configuration={"autoStore": True})]
    )
    agent.invoke(asked("Hello"), in_thread())
    assert len(kept(ada)) == 2


def test_whoever_joins_the_blocks_of_the_prompt_gets_paragraphs(memory: Memory, ada: UserMemory) -> None:
    model = ScriptedChatModel.of("Hi")
    agent = create_agent(model, system_prompt="You are a host.", middleware=[UserMemoryMiddleware(ada)])
    agent.invoke(asked("Hello"))
    assert prompt_of(model).startswith("You are a host.\n\nUser Memory:")


def test_a_memory_that_is_closed_while_others_wait_ends_no_run(database_url: str, database: Database) -> None:
    memory = Memory.open(database_url)
    begun, go_on = threading.Event(), threading.Event()

    def waits(memory: Memory, _: Any) -> UserMemory:
        begun.set()
        assert go_on.wait(10)
        return memory.of(user="ada")

    agents = [
        create_agent(ScriptedChatModel.of("Hi"), middleware=[UserMemoryMiddleware(memory, identify=waits)])
        for _ in range(memory.database.connections + 3)
    ]

    async def run() -> list[Any]:
        running = [asyncio.create_task(agent.ainvoke(asked("Hello"))) for agent in agents]
        await asyncio.to_thread(begun.wait, 10)
        memory.close()
        go_on.set()
        return await asyncio.gather(*running)

    assert {answered["messages"][-1].text for answered in asyncio.run(run())} == {"Hi"}
