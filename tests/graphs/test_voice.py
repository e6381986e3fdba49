import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.runtime import Runtime, ServerInfo
from typing_extensions import TypedDict

from graphs.testing import ScriptedChatModel, calls, said
from graphs.voice import MemoryCall, memory_load_node, memory_store_node
from memory_tools.context import MemoryContext
from memory_tools.memory import Memory, UserMemory
from storage.configuration import MemoryConfiguration, set_configuration
from storage.conversations import Totals
from storage.database import Database
from storage.errors import InvalidInput
from tests.contents import Contents

NUMBER = "+1234567890"
"""Seed 004's own."""

OTHER = "+12025550143"
SEED: Any = {"organizationId": "org-123", "metadata": {"phoneNumber": NUMBER}}
CANARY = "canary in the memory"


class Flow(MessagesState, MemoryCall):
    """A voice flow that looks at all that the nodes write."""

    metadata: dict[str, Any]
    conversation: str


class Plain(MemoryCall, total=False):
    """A flow that keeps its messages as they come."""

    messages: list[Any]


Run = Callable[..., dict[str, Any]]


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a flow in both ways."""

    def ran(graph: Any, *given: Any, **options: Any) -> dict[str, Any]:
        if request.param == "sync":
            return dict(graph.invoke(*given, **options))
        return dict(asyncio.run(graph.ainvoke(*given, **options)))

    return ran


def flow(
    memory: Memory,
    *,
    answers: ScriptedChatModel | None = None,
    load: dict[str, Any] | None = None,
    store: dict[str, Any] | None = None,
    state: Any = Flow,
    saver: Any = None,
) -> Any:
    """Return the voice flow of seed 004: remember, answer, store."""
    builder = StateGraph(state, context_schema=None)
    model = answers or ScriptedChatModel.of(*["Goodbye."] * 5)

    def answer(given: Any) -> dict[str, Any]:
        told = given.get("memory") or {}
        prompt = [SystemMessage("You answer the telephone.\n\n" + told.get("text", "")), *given.get("messages", [])]
        reply = model.invoke(prompt)
        return {"messages": [reply] if state is Flow else [*given.get("messages", []), reply]}

    builder.add_node("load", memory_load_node(memory, **(load or {})))
    builder.add_node("answer", cast(Any, answer))
    builder.add_node("store", memory_store_node(memory, **(store or {})))
    for step, following in ((START, "load"), ("load", "answer"), ("answer", "store")):
        builder.add_edge(step, following)
    return builder.compile(checkpointer=saver)


def says(*texts: str, call: str = "call-1", metadata: Any = None) -> Any:
    given = {"messages": [HumanMessage(text) for text in texts], "conversation": call}
    return given if metadata is None else {**given, "metadata": metadata}


def caller(memory: Memory, phone: str = NUMBER) -> UserMemory:
    return memory.of(phone=phone, organization="org-123")


def texts(person: UserMemory, conversation: str = "call-1") -> list[Any]:
    return [message.content for message in person.conversations.messages(conversation).entries]


def in_prompt(model: ScriptedChatModel) -> str:
    return str(model.prompts[-1][0].text)


# Seed 004's own test: call, say the name, hang up, call again.


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


# What may be known, and what is allowed.


def test_where_memory_is_off_nothing_is_read_or_kept(
    memory: Memory, run: Run, contents: Callable[[], Contents], caplog: pytest.LogCaptureFixture
) -> None:
    before = contents()
    off = {"configuration": {"enabled": False}}
    with caplog.at_level(logging.INFO):
        there = run(flow(memory, load=off, store=off), says("My name is John"), context=SEED)
    assert (there["memory"]["allowed"], there["memory"]["reason"]) == (False, "memory_disabled")
    assert (there["stored"], there["reason"]) == (0, "memory_disabled")
    assert there["memory"]["configuration"]["enabled"] is False
    assert contents() == before
    assert [record.levelname for record in caplog.records if "memory" in record.message] == ["INFO", "INFO"]


def test_what_was_kept_before_is_not_read_once_memory_is_off(memory: Memory) -> None:
    flow(memory).invoke(says(CANARY), context=SEED)
    off = flow(memory, load={"configuration": {"enabled": False}})
    assert CANARY not in str(off.invoke(says("Hello", call="call-2"), context=SEED)["memory"])


def test_a_phone_number_that_may_not_be_used_names_nobody(
    memory: Memory, run: Run, contents: Callable[[], Contents]
) -> None:
    before = contents()
    without = {"configuration": MemoryConfiguration(use_phone_number=False)}
    there = run(flow(memory, load=without, store=without), says("My name is John"), context=SEED)
    assert (there["memory"]["reason"], there["reason"]) == ("no_identity", "no_identity")
    assert contents() == before


def test_without_the_user_id_the_phone_number_decides(memory: Memory, run: Run) -> None:
    by_phone = {"configuration": {"usePhoneNumber": True, "useUserId": False}}
    graph = flow(memory, load=by_phone, store={**by_phone, "update": "now"})
    run(graph, says("My name is John"), context={**SEED, "userId": "ada"})
    assert texts(caller(memory)) == ["My name is John", "Goodbye."]
    assert caller(memory).document.current().version == 1, "the update is for the same person"
    assert memory.of(user="ada", organization="org-123").conversations.totals().messages == 0
    assert "John" in run(graph, says("Hello", call="call-2"), context={**SEED, "userId": "bob"})["memory"]["text"]


def test_the_run_stands_over_the_flow_over_the_organization_over_the_host(
    memory: Memory, operators_database: Database
) -> None:
    answers = ScriptedChatModel.of(*["Goodbye."] * 8)
    host = {"flow": "sales", "configuration": {"enabled": False}}
    graph = flow(memory, answers=answers, load=host, store=host)

    def enabled(**of_run: Any) -> bool:
        context = {**SEED, "metadata": {**SEED["metadata"], **of_run}}
        there = graph.invoke(says("Hello"), context=context)["memory"]
        assert there["configuration"]["enabled"] is there["allowed"]
        return there["allowed"] is True

    assert not enabled()
    set_configuration(operators_database, "org-123", None, {"enabled": True, "retentionDays": 90})
    assert enabled()
    set_configuration(operators_database, "org-123", "sales", {"enabled": False})
    assert not enabled()
    assert enabled(flowConfiguration={"memory": {"enabled": True}})
    assert not enabled(flowConfiguration={"memory": {"autoStore": True}})
    assert not enabled(flowConfiguration={})
    there = graph.invoke(says("Hi"), context={**SEED, "flow_configuration": {"memory": {"enabled": True}}})["memory"]
    assert there["configuration"]["retentionDays"] == 90


@pytest.mark.parametrize("place", ["context", "context metadata", "state", "config"])
def test_the_configuration_of_a_run_is_found_wherever_metadata_are(
    memory: Memory, contents: Callable[[], Contents], place: str
) -> None:
    off = {"flowConfiguration": {"memory": {"enabled": False}}}
    context: Any = {**SEED, **off} if place == "context" else SEED
    if place == "context metadata":
        context = {**SEED, "metadata": {"phoneNumber": NUMBER, **off}}
    given = says("Hello", metadata=off if place == "state" else None)
    before = contents()
    there = flow(memory).invoke(given, {"metadata": off} if place == "config" else {}, context=context)
    assert (there["memory"]["reason"], there["reason"]) == ("memory_disabled", "memory_disabled")
    assert contents() == before


@pytest.mark.parametrize(
    "malformed",
    [{"memory": {"enabled": "false"}}, {"memory": {"enable": True}}, {"memory": []}, "off", {"memory": "off"}],
)
def test_a_malformed_configuration_of_a_run_turns_memory_off(
    memory: Memory, contents: Callable[[], Contents], caplog: pytest.LogCaptureFixture, malformed: Any
) -> None:
    before = contents()
    there = flow(memory).invoke(says("Hello"), context={**SEED, "flowConfiguration": malformed})
    assert (there["memory"]["reason"], there["reason"]) == ("invalid_input", "invalid_input")
    assert contents() == before
    assert "invalid_input" in caplog.text


def test_a_host_that_configures_nonsense_is_told_when_it_builds_the_flow(memory: Memory) -> None:
    with pytest.raises(InvalidInput):
        memory_load_node(memory, configuration={"enabled": "no"})
    with pytest.raises(InvalidInput):
        memory_store_node(memory, update="soon")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput):
        memory_store_node(memory, update="now", model=ScriptedChatModel.of(), summarizer=object())  # type: ignore[arg-type]


# Who calls.


@dataclass
class Session:
    """A host's own context."""

    organizationId: str
    phoneNumber: str | None = None


@pytest.mark.parametrize(
    ("context", "metadata", "config"),
    [
        (SEED, {"phoneNumber": OTHER}, {}),
        (Session("org-123", NUMBER), {"phoneNumber": OTHER}, {}),
        (MemoryContext("org-123", phone=NUMBER), {"From": OTHER}, {}),
        (Session("org-123"), {"participant": {"attributes": {"sip.phoneNumber": NUMBER}}}, {}),
        (Session("org-123"), {"From": NUMBER}, {"metadata": {"From": OTHER}}),
        (Session("org-123"), {}, {"metadata": {"payload": {"from": NUMBER}}}),
        (None, {"organizationId": "org-123", "phoneNumber": NUMBER}, {"configurable": {"phone": OTHER}}),
        (None, {}, {"configurable": {"organization": "org-123", "phone": NUMBER}}),
        (Session("org-123"), {}, {"configurable": {"organization": "org-123", "phone": NUMBER}}),
    ],
)
def test_the_nearest_source_names_the_caller(
    memory: Memory, run: Run, context: Any, metadata: Any, config: Any
) -> None:
    there = run(flow(memory), says("My name is John", metadata=metadata), config, context=context)
    assert there["memory"]["allowed"]
    assert texts(caller(memory)) == ["My name is John", "Goodbye."]


def test_a_person_who_is_bound_already_is_the_caller(memory: Memory, person: UserMemory) -> None:
    there = flow(memory).invoke(says("I drink tea.", metadata={"From": OTHER}), context=person)
    assert there["stored"] == 2
    assert texts(person) == ["I drink tea.", "Goodbye."]


def test_a_server_s_user_is_the_caller_where_nobody_else_is_named(memory: Memory, person: UserMemory) -> None:
    load = memory_load_node(memory)
    person.document.append({"summary": "Tea."})

    def told(context: Any = None, **state: Any) -> Any:
        server = ServerInfo("a", "g", {"identity": "ada", "is_authenticated": True})  # type: ignore[arg-type]
        return load(state, Runtime(context=context, server_info=server), {})["memory"]

    assert "Tea." in told()["text"]
    assert "Tea." not in told(metadata={"From": NUMBER})["text"]
    assert told(metadata={"From": "anonymous"})["reason"] == "no_identity"


def test_an_organization_is_never_put_together_with_a_user_of_another_one(memory: Memory) -> None:
    config = {"configurable": {"user_id": "ada"}}
    there = flow(memory).invoke(says("I drink tea."), config, context=Session("org-123"))
    assert (there["memory"]["reason"], there["stored"]) == ("no_identity", 0)


def test_metadata_name_no_user(memory: Memory, person: UserMemory) -> None:
    person.document.append({"summary": "Tea."})
    there = flow(memory).invoke(says("Hello", metadata={"userId": "ada", "user_id": "ada", "phoneNumber": NUMBER}))
    assert (there["memory"]["known"], there["stored"]) == (False, 2)
    assert person.conversations.totals().messages == 0


def test_a_number_without_country_code_is_read_in_the_region_of_the_memory(database: Database) -> None:
    memory = Memory(database, default_region="US")
    flow(memory).invoke(says("Hello"), context={**SEED, "metadata": {"From": "202 555 0143"}})
    assert texts(caller(memory, OTHER)) == ["Hello", "Goodbye."]


def test_a_conflict_of_identities_goes_on_without_memory(
    memory: Memory, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    memory.of(user="ada", organization="org-123").document.append({"summary": CANARY})
    memory.of(user="bob", organization="org-123").document.append({"summary": CANARY})
    caller(memory).document.append({"summary": CANARY})
    context = {"organizationId": "org-123", "userId": "ada", "phone": NUMBER, "phoneVerified": True}
    there = run(flow(memory), says("Hello"), context=context)
    assert (there["memory"]["reason"], there["reason"]) == ("identity_conflict", "identity_conflict")
    assert (there["memory"]["known"], there["memory"]["allowed"], there["memory"]["text"]) == (False, False, "")
    assert there["messages"][-1].text == "Goodbye."
    assert "identity_conflict" in caplog.text
    assert NUMBER not in caplog.text
    assert CANARY not in caplog.text


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


@pytest.mark.parametrize("context", [None, {"userId": 7}, {"organizationId": 7, "userId": "ada"}])
def test_a_caller_who_is_not_named_rightly_is_answered_without_memory(memory: Memory, context: Any) -> None:
    there = flow(memory).invoke(says("Hello"), context=context)
    reason = "no_identity" if context is None else "invalid_identity"
    assert (there["memory"]["reason"], there["reason"]) == (reason, reason)
    assert there["messages"][-1].text == "Goodbye."


# What is kept.


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
    assert [store(make(YOU), make(ME), make(BYE)), store(make(YOU))] == [1, 0]
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
        ({"metadata": {"callId": 7}}, {}, "default"),
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
    assert there["stored"] == 0
    assert there["reason"]
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


# Where memory must not be.


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
