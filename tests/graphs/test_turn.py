"""Turns: what of a thread is kept after a run, whole and once."""

from typing import Any
from uuid import uuid4

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import PIIMiddleware, SummarizationMiddleware
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    ChatMessage,
    HumanMessage,
    HumanMessageChunk,
)
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command

from graphs.middleware import UserMemoryMiddleware
from graphs.testing import ScriptedChatModel, calls, said
from graphs.transcript import transcript
from memory_tools.context import MemoryContext
from memory_tools.memory import Memory, UserMemory
from tests.graphs.agents import ADA, Run, asked, in_thread, kept, paying, prompt_of


def test_the_turn_is_kept_where_that_was_said_aloud(memory: Memory, ada: UserMemory, run: Run) -> None:
    @tool
    def weather(city: str) -> str:
        """Tell the weather."""
        return "Sunny."

    model = ScriptedChatModel.of(
        calls("weather", {"city": "Oslo"}), said("Sunny in Oslo.", input_tokens=20, output_tokens=3)
    )
    agent = create_agent(
        model, [weather], middleware=[UserMemoryMiddleware(memory, auto_store=True)], context_schema=MemoryContext
    )
    run(agent, asked("I am in Oslo. Weather?"), in_thread(), context=ADA)
    assert kept(ada) == [("user", "I am in Oslo. Weather?"), ("tool", "Sunny."), ("assistant", "Sunny in Oslo.")]
    totals = ada.conversations.totals()
    assert totals.conversations == 1
    assert totals.tokens >= 23
    assert totals.last_interaction_at is not None


def test_by_default_nothing_is_kept(memory: Memory, ada: UserMemory, run: Run) -> None:
    agent = create_agent(
        ScriptedChatModel.of("Hi"), middleware=[UserMemoryMiddleware(memory)], context_schema=MemoryContext
    )
    run(agent, asked("I live in Oslo."), in_thread(), context=ADA)
    assert ada.conversations.all().entries == ()


def test_a_host_that_sends_the_whole_thread_each_time_has_each_turn_kept_once(memory: Memory, ada: UserMemory) -> None:
    agent = create_agent(
        ScriptedChatModel.of("one", "two"),
        middleware=[UserMemoryMiddleware(memory, auto_store=True)],
        context_schema=MemoryContext,
    )
    agent.invoke(asked("first"), in_thread(), context=ADA)
    whole = [HumanMessage("first"), AIMessage("one"), HumanMessage("second")]
    agent.invoke({"messages": whole}, in_thread(), context=ADA)
    assert kept(ada) == [("user", "first"), ("assistant", "one"), ("user", "second"), ("assistant", "two")]


def test_a_question_whose_run_failed_is_kept_with_the_next_turn(memory: Memory, ada: UserMemory) -> None:
    agent = create_agent(
        ScriptedChatModel.of(TimeoutError("provider"), "Hi"),
        middleware=[UserMemoryMiddleware(memory, auto_store=True)],
        context_schema=MemoryContext,
        checkpointer=InMemorySaver(),
    )
    with pytest.raises(TimeoutError):
        agent.invoke(asked("My name is John."), in_thread(), context=ADA)
    agent.invoke(asked("Hello?"), in_thread(), context=ADA)
    assert kept(ada) == [("user", "My name is John."), ("user", "Hello?"), ("assistant", "Hi")]


def test_a_run_that_waited_for_a_human_goes_on_with_memory_and_is_kept_whole(
    memory: Memory, ada: UserMemory, run: Run
) -> None:
    model = ScriptedChatModel.of(calls("pay", {"amount": 3}), "Paid.")
    agent = paying(memory, model)
    run(agent, asked("Pay three"), in_thread(), context=ADA)
    run(agent, Command(resume={"decisions": [{"type": "approve"}]}), in_thread(), context=ADA)
    assert "Ada plays chess." in prompt_of(model, 0)
    assert "Ada plays chess." in prompt_of(model, 1)
    assert kept(ada) == [("user", "Pay three"), ("tool", "paid"), ("assistant", "Paid.")]


def test_summaries_of_the_thread_are_no_words_of_the_person(memory: Memory, ada: UserMemory) -> None:
    shortener = ScriptedChatModel.of("SUMMARY OF ALL")
    agent = create_agent(
        ScriptedChatModel.of("one", "two"),
        middleware=[
            UserMemoryMiddleware(memory, auto_store=True),
            SummarizationMiddleware(shortener, trigger=("messages", 3), keep=("messages", 1)),
        ],
        context_schema=MemoryContext,
        checkpointer=InMemorySaver(),
    )
    agent.invoke(asked("first"), in_thread(), context=ADA)
    agent.invoke(asked("second"), in_thread(), context=ADA)
    assert shortener.left == 0
    assert kept(ada) == [("user", "first"), ("assistant", "one"), ("user", "second"), ("assistant", "two")]


def test_what_memory_tools_answered_is_never_learnt_again(memory: Memory, ada: UserMemory) -> None:
    agent = create_agent(
        ScriptedChatModel.of(calls("get_user_memory", {}), "You play chess."),
        middleware=[UserMemoryMiddleware(memory, auto_store=True, tools=True)],
        context_schema=MemoryContext,
    )
    agent.invoke(asked("What do I play?"), in_thread(), context=ADA)
    messages = ada.conversations.messages("t-1").entries
    assert [(each.role, each.metadata.get("recalled", False)) for each in messages] == [
        ("user", False),
        ("tool", True),
        ("assistant", False),
    ]


def test_a_message_that_cannot_be_kept_whole_takes_nothing_else_with_it(memory: Memory, ada: UserMemory) -> None:
    @tool
    def read(name: str) -> str:
        """Read."""
        return "x" * 200_000

    picture = [
        {"type": "text", "text": "This is me"},
        {"type": "image", "base64": "A" * 100_000, "mime_type": "image/png"},
    ]
    agent = create_agent(
        ScriptedChatModel.of(calls("read", {"name": "a"}), "broken \ud800 \x00 text"),
        [read],
        middleware=[UserMemoryMiddleware(memory, auto_store=True)],
        context_schema=MemoryContext,
    )
    agent.invoke({"messages": [HumanMessage(picture)]}, in_thread(), context=ADA)  # type: ignore[arg-type]
    question, page, answer = ada.conversations.messages("t-1").entries
    assert question.content == "This is me\n[image]"
    assert len(page.content) > 60_000
    assert page.metadata["shortened"] is True
    assert answer.content == "broken   text"


def test_what_another_middleware_blacked_out_is_blacked_out_in_memory_too(memory: Memory, ada: UserMemory) -> None:
    for order in (0, 1):
        both = [UserMemoryMiddleware(memory, auto_store=True), PIIMiddleware("email", strategy="redact")]
        agent = create_agent(
            ScriptedChatModel.of("Done"), middleware=both[:: -1 if order else 1], context_schema=MemoryContext
        )
        agent.invoke(asked("Mail me at ada@secret.org"), in_thread(f"t-{order}"), context=ADA)
        assert kept(ada, f"t-{order}") == [("user", "Mail me at [REDACTED_EMAIL]"), ("assistant", "Done")]


@tool
def fails() -> str:
    """Fail."""
    raise RuntimeError("down")


def test_a_question_whose_run_broke_at_a_tool_is_kept_with_the_next_turn(memory: Memory, ada: UserMemory) -> None:
    agent = create_agent(
        ScriptedChatModel.of(calls("fails", {}), "Here I am."),
        [fails],
        middleware=[UserMemoryMiddleware(memory, auto_store=True)],
        context_schema=MemoryContext,
        checkpointer=InMemorySaver(),
    )
    with pytest.raises(RuntimeError):
        agent.invoke(asked("I am allergic to nuts."), in_thread(), context=ADA)
    agent.invoke(asked("Are you there?"), in_thread(), context=ADA)
    assert [text for role, text in kept(ada) if role == "user"] == ["I am allergic to nuts.", "Are you there?"]


@pytest.mark.parametrize("resumed", [True, False])
def test_a_question_before_an_interrupt_is_kept_however_the_thread_goes_on(
    memory: Memory, ada: UserMemory, resumed: bool
) -> None:
    agent = paying(memory, ScriptedChatModel.of(calls("pay", {"amount": 3}), "Fine."))
    agent.invoke(asked("I am allergic to nuts. Pay three."), in_thread(), context=ADA)
    more = asked("And bring wine.")
    further: Any = Command(resume={"decisions": [{"type": "approve"}]}, update=more) if resumed else more
    agent.invoke(further, in_thread(), context=ADA)
    said_by_ada = [text for role, text in kept(ada) if role == "user"]
    assert said_by_ada == ["I am allergic to nuts. Pay three.", "And bring wine."]


@pytest.mark.parametrize("thread", [uuid4(), 7, "x" * 300, "tab\there"])
def test_every_thread_has_a_conversation_of_its_own(memory: Memory, ada: UserMemory, thread: Any) -> None:
    agent = create_agent(
        ScriptedChatModel.of("Hi", "Hi"),
        middleware=[UserMemoryMiddleware(memory, auto_store=True)],
        context_schema=MemoryContext,
    )
    for name in (thread, "another"):
        agent.invoke(asked("Hello"), in_thread(name), context=ADA)
    assert ada.conversations.totals().conversations == 2
    assert ada.conversations.totals().messages == 4


def test_messages_of_any_kind_and_with_any_id_are_kept(memory: Memory, ada: UserMemory) -> None:
    strange: list[Any] = [
        HumanMessage("one", id="x" * 300),
        HumanMessage("two", id="tab\there"),
        ChatMessage("three", role="user"),
        ChatMessage("four", role="narrator"),
    ]
    costly = said("Hi", input_tokens=2**40, output_tokens=1)
    agent = create_agent(
        ScriptedChatModel.of(costly),
        middleware=[UserMemoryMiddleware(memory, auto_store=True)],
        context_schema=MemoryContext,
    )
    agent.invoke({"messages": strange}, in_thread(), context=ADA)
    assert kept(ada) == [("user", "one"), ("user", "two"), ("user", "three"), ("tool", "four"), ("assistant", "Hi")]


def test_words_that_another_agent_answered_first_are_kept(memory: Memory, ada: UserMemory) -> None:
    remembering = create_agent(
        ScriptedChatModel.of("Noted."),
        middleware=[UserMemoryMiddleware(memory, auto_store=True)],
        context_schema=MemoryContext,
    )
    builder: Any = StateGraph(MessagesState, MemoryContext)
    builder.add_node("triage", lambda state: {"messages": [AIMessage("One moment.")]})
    builder.add_node("agent", remembering)
    builder.add_edge(START, "triage")
    builder.add_edge("triage", "agent")
    builder.compile().invoke(asked("I am allergic to nuts."), in_thread(), context=ADA)
    assert kept(ada) == [
        ("user", "I am allergic to nuts."),
        ("assistant", "One moment."),
        ("assistant", "Noted."),
    ]


def test_runs_that_end_at_a_tool_are_kept_once_by_a_host_without_threads(memory: Memory, ada: UserMemory) -> None:
    @tool(return_direct=True)
    def answer() -> str:
        """Answer."""
        return "Forty-two."

    whole: list[Any] = []
    for question in ("one", "two", "three"):
        agent = create_agent(
            ScriptedChatModel.of(calls("answer", {})),
            [answer],
            middleware=[UserMemoryMiddleware(memory, auto_store=True)],
            context_schema=MemoryContext,
        )
        answered = agent.invoke({"messages": [*whole, HumanMessage(question)]}, context=ADA)
        whole = [each.model_copy(update={"id": None}) for each in answered["messages"]]
    assert [text for role, text in kept(ada, "default") if role == "user"] == ["one", "two", "three"]


def test_chunks_are_messages_of_whoever_said_them(memory: Memory, ada: UserMemory) -> None:
    new = transcript([HumanMessageChunk(content="one", id="1"), AIMessageChunk(content="two", id="2")], "run")
    assert [message.role for message in new] == ["user", "assistant"]
