"""Spoken: a call is kept once, however often and in whatever form it is handed over."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from threading import Barrier
from typing import Any
from uuid import UUID

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.messages.ai import UsageMetadata
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime

from graphs.spoken import SAME_CALL
from graphs.testing import calls, said
from graphs.voice import memory_store_node
from memory_tools.memory import Memory
from storage.conversations import TOKEN_LIMIT, NewMessage, Totals
from storage.database import Database
from tests.clock import Clock
from tests.contents import Contents
from tests.graphs.callers import CANARY, NUMBER, SEED, Flow, Plain, caller, flow, says, texts


class Script:
    """A flow of the store node alone, called again and again with all messages so far."""

    def __init__(self, memory: Memory, state: Any = Flow, **options: Any) -> None:
        builder = StateGraph(state, context_schema=None)
        builder.add_node(memory_store_node(memory, **options))
        builder.add_edge(START, "memory_store")
        self.graph: Any = builder.compile()

    def __call__(self, *messages: Any, **config: Any) -> Any:
        config = {"configurable": {"thread_id": "call-1"}, **config}
        return self.graph.invoke({"messages": list(messages)}, config, context=SEED)["stored"]


YOU = {"role": "user", "content": "My name is John"}


ME = {"role": "assistant", "content": "Hi John!"}


BYE = {"role": "user", "content": "Bye"}


@pytest.mark.parametrize("state", [Flow, Plain])
@pytest.mark.parametrize(
    "make",
    [
        dict,
        lambda each: (each["role"], each["content"]),
        lambda each: {**each, "name": "x"},
        lambda each: (HumanMessage if each["role"] == "user" else AIMessage)(each["content"]),
        lambda each: (HumanMessage if each["role"] == "user" else AIMessage)(each["content"], id=each["content"]),
    ],
    ids=["mapping", "pair", "openai", "message", "message with id"],
)
def test_a_transcript_that_grows_is_kept_once(memory: Memory, state: Any, make: Callable[[Any], Any]) -> None:
    store = Script(memory, state)
    assert [store(make(YOU)), store(make(YOU), make(ME)), store(make(YOU), make(ME))] == [1, 1, 0]
    assert store(make(YOU), make(ME), make(BYE)) == 1
    assert texts(caller(memory)) == ["My name is John", "Hi John!", "Bye"]
    totals = caller(memory).conversations.totals()
    assert (totals.conversations, totals.messages) == (1, 3)


@pytest.mark.parametrize("state", [Flow, Plain])
def test_what_is_said_twice_is_kept_twice(memory: Memory, state: Any) -> None:
    store = Script(memory, state)
    assert [store(BYE), store(BYE, BYE), store(BYE, BYE), store(BYE, BYE, BYE)] == [1, 1, 0, 1]


def test_a_long_call_is_kept_once(memory: Memory) -> None:
    store = Script(memory)
    said = [{"role": "user", "content": f"Sentence {number}"} for number in range(205)]
    assert [store(*said[:150]), store(*said[:201]), store(*said), store(*said)] == [150, 51, 4, 0]


def test_a_call_that_is_stored_by_many_at_once_is_kept_once(memory: Memory) -> None:
    store = Script(memory)
    said = [{"role": "user", "content": f"Sentence {number}"} for number in range(20)]
    caller(memory).items.set("prefs", "tone", "warm")
    for call in range(5):
        together = Barrier(4)

        def at_once(_: int, call: int = call, together: Barrier = together) -> int:
            together.wait()
            return int(store(*said, configurable={"thread_id": f"call-{call}"}))

        with ThreadPoolExecutor(4) as threads:
            assert sorted(threads.map(at_once, range(4))) == [0, 0, 0, 20]
    totals = caller(memory).conversations.totals()
    assert (totals.conversations, totals.messages) == (5, 100)


def asked_daily(day: int) -> list[Any]:
    return [AIMessage("Did you take your pills?", id=f"{day}-1"), HumanMessage("Yes", id=f"{day}-2")]


@pytest.mark.parametrize("each_turn", [False, True])
def test_the_same_words_of_another_day_are_kept_each_time(clocked: Database, clock: Clock, each_turn: bool) -> None:
    memory = Memory(clocked)
    store = Script(memory)
    for day in range(3):
        call = asked_daily(day)
        if each_turn:  # a graph without a checkpointer: new ids in each run
            assert store(call[0].model_copy(update={"id": f"{day}-0"})) == 1
            clock.move(60)
        assert store(*call) == 2 - each_turn
        assert store(*call) == 0
        clock.move(24 * 3600)
    assert texts(caller(memory)) == ["Did you take your pills?", "Yes"] * 3
    totals = caller(memory).conversations.totals()
    assert (totals.conversations, totals.messages) == (1, 6)


@pytest.mark.parametrize(("silence", "kept"), [(SAME_CALL, 0), (SAME_CALL + timedelta(seconds=1), 2)])
def test_the_same_words_under_new_ids_are_the_same_call_for_so_long(
    clocked: Database, clock: Clock, silence: timedelta, kept: int
) -> None:
    store = Script(Memory(clocked))
    assert store(*asked_daily(1)) == 2
    clock.move(silence.total_seconds())
    assert store(*asked_daily(2)) == kept


def test_a_call_may_last_longer_than_a_silence(clocked: Database, clock: Clock) -> None:
    store = Script(Memory(clocked))
    for number in range(1, 6):
        assert store(*(HumanMessage(f"Sentence {place}") for place in range(number))) == 1
        clock.move(SAME_CALL.total_seconds() * 0.9)


def test_messages_whose_ids_last_are_never_kept_twice(clocked: Database, clock: Clock) -> None:
    memory = Memory(clocked)
    store = Script(memory)
    said: list[Any] = []
    for day in range(3):
        said += asked_daily(day)
        assert [store(*said), store(*said)] == [2, 0]
        clock.move(24 * 3600)
    assert store(*said) == 0
    assert caller(memory).conversations.totals().messages == 6


def test_a_transcript_that_lost_its_beginning_is_known_by_its_ids(memory: Memory) -> None:
    store = Script(memory)
    said = [HumanMessage(f"Sentence {number}", id=f"m{number}") for number in range(5)]
    assert [store(*said[:3]), store(*said[1:4]), store(*said[3:])] == [3, 1, 1]


def test_another_call_in_the_same_thread_is_kept_too(memory: Memory) -> None:
    store = Script(memory, Plain)
    hello = {"role": "user", "content": "Hello"}
    assert [store(hello, YOU), store(hello, {"role": "user", "content": "I moved to Rome"})] == [2, 1]


def test_tokens_count_once_and_instructions_are_not_kept(memory: Memory) -> None:
    store = Script(memory)
    said_so_far = [
        SystemMessage(f"You answer the telephone. {CANARY}", id="s"),
        HumanMessage("My name is John", id="m1"),
        calls("get_memory_item", {"key": "x"}, id="c1").model_copy(update={"id": "m2"}),
        said("Hi John!", input_tokens=20, output_tokens=2).model_copy(update={"id": "m3"}),
    ]
    assert [store(*said_so_far[:3]), store(*said_so_far), store(*said_so_far)] == [1, 1, 0]
    person = caller(memory)
    assert texts(person) == ["My name is John", "Hi John!"]
    totals = person.conversations.totals()
    assert (totals.conversations, totals.messages, totals.tokens) == (1, 2, 15 + 22)
    assert totals.last_interaction_at is not None


def test_only_the_roles_that_are_wanted_are_kept_and_no_tokens_get_lost(memory: Memory) -> None:
    store = Script(memory, roles=["user"])
    assert store(HumanMessage("My name is John", id="m1"), said("Hi!"), HumanMessage("Bye", id="m2")) == 2
    assert caller(memory).conversations.totals().tokens == 15
    assert texts(caller(memory)) == ["My name is John", "Bye"]


@pytest.mark.parametrize(
    ("given", "config", "name"),
    [
        ({"conversation": "c1", "metadata": {"callId": "c2"}}, {}, "c1"),
        ({"metadata": {"callId": "c2", "roomName": "r"}}, {}, "c2"),
        ({"metadata": {"roomName": "room-7"}}, {"configurable": {"thread_id": "t"}}, "room-7"),
        ({}, {"metadata": {"callId": "c3"}}, "c3"),
        ({}, {"configurable": {"thread_id": "t"}}, "t"),
        ({"metadata": {"callId": 7}}, {}, "7"),
        ({"conversation": UUID(int=7)}, {}, str(UUID(int=7))),
        ({}, {"configurable": {"thread_id": UUID(int=8)}}, str(UUID(int=8))),
        ({}, {"configurable": {"thread_id": 42}}, "42"),
        ({}, {"metadata": {"callId": ""}, "configurable": {"thread_id": "t"}}, "t"),
        ({"metadata": {"callId": True, "roomName": ["r"]}}, {}, "default"),
        ({"metadata": {"callId": "x" * 300}}, {}, sha256(b"x" * 300).hexdigest()[:32]),
    ],
)
def test_the_call_names_the_conversation(memory: Memory, given: Any, config: Any, name: str) -> None:
    flow(memory).invoke({"messages": [HumanMessage("Hello")], **given}, config, context=SEED)
    assert [each.name for each in caller(memory).conversations.all().entries] == [name]


def test_calls_without_a_name_are_remembered_too(memory: Memory) -> None:
    graph = flow(memory)
    graph.invoke({"messages": [HumanMessage("My name is John")]}, context=SEED)
    there = graph.invoke({"messages": [HumanMessage("It is me again.")]}, context=SEED)
    assert "John" in there["memory"]["text"]
    assert there["stored"] == 2


def test_what_is_said_in_this_call_is_not_repeated(memory: Memory) -> None:
    graph = flow(memory)
    graph.invoke(says("My name is John"), context=SEED)
    assert "John" not in graph.invoke(says("My name is John", "Hello?"), context=SEED)["memory"]["text"]


def test_a_flow_without_messages_keeps_nothing_but_meets_the_caller(memory: Memory) -> None:
    there = memory_store_node(memory)({}, Runtime(context=SEED), {})
    assert there == {"stored": 0, "reason": None}
    assert caller(memory).conversations.totals() == Totals(0, 0, 0, None)


def test_a_message_that_cannot_be_kept_does_not_end_the_call(memory: Memory, caplog: pytest.LogCaptureFixture) -> None:
    there = Script(memory, Plain).graph.invoke({"messages": [{"role": "nobody", "content": CANARY}]}, context=SEED)
    assert (there["stored"], there["reason"]) == (0, "invalid_input")
    assert CANARY not in caplog.text


@pytest.mark.parametrize("messages", ["hello", "", b"bytes", 5, {"role": "user", "content": "hello"}])
def test_what_is_no_list_of_messages_is_not_taken_for_one(
    memory: Memory, contents: Callable[[], Contents], messages: Any
) -> None:
    before = contents()
    there = memory_store_node(memory)({"messages": messages}, Runtime(context=SEED), {})
    assert there == {"stored": 0, "reason": "invalid_input"}
    assert contents() == before


@pytest.mark.parametrize(
    "unreadable",
    [
        None,
        7,
        {"a": CANARY},
        {"role": "nobody", "content": CANARY},
        {"role": "user"},
        {"role": "user", "content": "\ud800" + CANARY},
        {"role": "user", "content": CANARY, "metadata": [CANARY]},
        {"role": "user", "content": CANARY, "metadata": {"x": object()}},
        {"role": "user", "content": CANARY * 40_000},
        NewMessage("nobody", CANARY),
        ("user", CANARY, "x"),
        ("nobody", CANARY),
    ],
)
def test_an_unreadable_message_takes_no_other_with_it(
    memory: Memory, caplog: pytest.LogCaptureFixture, unreadable: Any
) -> None:
    store = Script(memory, Plain)
    assert [store(YOU, unreadable, ME), store(YOU, unreadable, ME, BYE)] == [2, 1]
    assert texts(caller(memory)) == ["My name is John", "Hi John!", "Bye"]
    assert f"left out ({type(unreadable).__name__})" in caplog.text
    assert CANARY not in caplog.text


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("said_at", "yesterday"),
        ("said_at", "2026-01-01T00:00:00"),
        ("said_at", 7),
        ("said_at", None),
        ("external_id", "x" * 300),
        ("external_id", 5),
        ("tokens", 10**12),
        ("tokens", -1),
        ("tokens", "many"),
        ("metadata", None),
    ],
)
def test_what_a_message_says_is_kept_whatever_stands_beside_it(memory: Memory, member: str, value: Any) -> None:
    for message in ({**YOU, member: value}, NewMessage(**{**YOU, member: value})):
        store = Script(memory, Plain)
        store(message, ME)
        assert texts(caller(memory)) == ["My name is John", "Hi John!"]


def test_too_many_tokens_together_are_as_many_as_can_be_counted(memory: Memory) -> None:
    unwanted = [AIMessage("Hi", usage_metadata=UsageMetadata(input_tokens=0, output_tokens=2**30, total_tokens=2**30))]
    assert Script(memory, Plain, roles=["user"])(*unwanted * 3, YOU) == 1
    assert caller(memory).conversations.totals().tokens == TOKEN_LIMIT


@pytest.mark.parametrize("said_at", ["2026-01-01T10:00:00+01:00", "2026-01-01T09:00:00Z"])
def test_when_it_was_said_is_read_from_json(memory: Memory, said_at: str) -> None:
    Script(memory, Plain)({**YOU, "said_at": said_at})
    [message] = caller(memory).conversations.messages("call-1").entries
    assert message.said_at == datetime(2026, 1, 1, 9, tzinfo=UTC)


def test_one_turn_at_a_time_is_kept_each_time(memory: Memory) -> None:
    runtime: Any = Runtime(context={"phone": NUMBER})
    store = memory_store_node(memory)
    for number, answer in enumerate(("Yes.", "No.", "Yes.")):
        turn = [AIMessage("Do you take it?", id=f"a{number}"), HumanMessage(answer, id=f"u{number}")]
        assert store({"messages": turn, "conversation": "c"}, runtime, {})["stored"] == 2
