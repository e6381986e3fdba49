import asyncio
import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from threading import Barrier
from typing import Any, cast
from uuid import UUID

import pytest
import sqlalchemy as sa
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.messages.ai import UsageMetadata
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.runtime import Runtime, ServerInfo
from typing_extensions import TypedDict

from graphs.spoken import SAME_CALL
from graphs.testing import ScriptedChatModel, calls, said
from graphs.voice import MemoryCall, memory_load_node, memory_store_node
from memory_tools.context import MemoryContext
from memory_tools.memory import Memory, UserMemory
from storage.configuration import MemoryConfiguration, set_configuration
from storage.conversations import TOKEN_LIMIT, NewMessage, Totals
from storage.database import Database
from storage.directory import erase, find
from storage.errors import InvalidInput, InvalidName, NoIdentity
from storage.identity import Identity
from storage.settings import DatabaseSettings
from storage.tables import owners
from tests.clock import Clock
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


# Who is erased meanwhile, and who waits.


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


def test_a_caller_who_is_known_waits_for_no_writer(database: Database, database_url: str) -> None:
    caller(Memory(database)).document.append({"summary": "Tea."})
    with Memory.open(database_url, settings=DatabaseSettings(busy_timeout=0)) as impatient:
        load = memory_load_node(impatient)
        with database.begin(owner_of(database)) as stores:
            stores.items.set("prefs", "tone", "warm")
            assert "Tea." in load({}, Runtime(context=SEED), {})["memory"]["text"]
            stranger = load({}, Runtime(context={"phone": OTHER}), {})["memory"]["reason"]
        assert stranger == (None if database.on_postgresql else "database_unavailable"), "somebody else was writing"


def owner_of(database: Database) -> UUID:
    found = find(database, Identity.of(phone=NUMBER, organization="org-123"))
    assert found is not None
    return found.owner


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


CLAIMS: dict[str, Any] = {
    "state": lambda flow: ({"metadata": flow}, {}),
    "config": lambda flow: ({}, {"metadata": flow}),
    "configurable": lambda flow: ({}, {"configurable": flow}),
}
"""Where somebody may claim something for whom the host does not vouch."""


@pytest.mark.parametrize("place", CLAIMS)
def test_only_the_context_switches_on_what_an_operator_switched_off(
    memory: Memory, operators_database: Database, contents: Callable[[], Contents], place: str
) -> None:
    set_configuration(operators_database, "org-123", None, {"enabled": False, "retentionDays": 30})
    before = contents()
    on = {"flowConfiguration": {"memory": {"enabled": True, "retentionDays": 90, "autoStore": True}}}
    state, config = CLAIMS[place](on)
    there = flow(memory).invoke({**says("My name is John"), **state}, config, context=SEED)
    assert (there["memory"]["reason"], there["reason"]) == ("memory_disabled", "memory_disabled")
    holds = there["memory"]["configuration"]
    assert (holds["enabled"], holds["retentionDays"], holds["autoStore"]) == (False, 30, False)
    assert contents() == before
    assert flow(memory).invoke(says("My name is John"), context={**SEED, **on})["stored"] == 2


@pytest.mark.parametrize("place", CLAIMS)
def test_anybody_may_ask_for_less_also_beside_the_context(memory: Memory, place: str) -> None:
    state, config = CLAIMS[place]({"flowConfiguration": {"memory": {"retentionDays": 7, "enabled": False}}})
    context = {**SEED, "flowConfiguration": {"memory": {"retentionDays": 90, "enabled": True}}}
    there = flow(memory).invoke({**says("Hello"), **state}, config, context=context)
    assert (there["memory"]["allowed"], there["reason"]) == (False, "memory_disabled")
    assert there["memory"]["configuration"]["retentionDays"] == 7


@pytest.mark.parametrize("place", CLAIMS)
def test_whoever_asks_for_less_does_not_get_the_memory_of_another_number(memory: Memory, place: str) -> None:
    memory.of(phone=NUMBER, organization="org-123").document.append({"summary": CANARY})
    without_user = {"flowConfiguration": {"memory": {"useUserId": False}}}
    state, config = CLAIMS[place](without_user)
    there = flow(memory).invoke({**says("Hello"), **state}, config, context={**SEED, "userId": "mallory"})
    assert (there["memory"]["reason"], there["reason"], there["memory"]["text"]) == ("no_identity", "no_identity", "")
    assert caller(memory).conversations.totals().messages == 0
    there = flow(memory).invoke({**says("Hello"), **state}, config, context=SEED)
    assert CANARY in there["memory"]["text"], "who is known by the number alone has lost nothing"


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
    for build in (memory_load_node, memory_store_node):
        with pytest.raises(InvalidName, match="flow"):
            build(memory, flow="")
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
    assert "Tea." not in told({"metadata": {"From": NUMBER}})["text"]
    assert told({"metadata": {"From": "anonymous"}})["reason"] == "no_identity"


@pytest.mark.parametrize("authenticated", [{"is_authenticated": True}, {}])
def test_metadata_of_a_client_whom_a_server_authenticated_name_nobody(
    memory: Memory, person: UserMemory, authenticated: dict[str, Any]
) -> None:
    person.document.append({"summary": "Tea."})
    caller(memory).document.append({"summary": CANARY})
    server = ServerInfo("a", "g", {"identity": "ada", **authenticated})  # type: ignore[arg-type]
    runtime: Any = Runtime(context=None, server_info=server)
    said = {"messages": [("user", "Hello")]}
    forged = {"organizationId": "org-123", "phoneNumber": NUMBER}
    for state, config in (({"metadata": forged}, {}), ({}, {"metadata": forged})):
        # Nor is it the user's own memory: a backend that signs in for its callers would give all of them one.
        there = memory_load_node(memory)(state, runtime, config)["memory"]
        assert (there["text"], there["reason"]) == ("", "no_identity")
        assert memory_store_node(memory)({**state, **said}, runtime, config)["reason"] == "no_identity"
    assert "Tea." in memory_load_node(memory)({}, runtime, {})["memory"]["text"]
    assert memory_store_node(memory)(said, runtime, {})["reason"] is None
    assert person.conversations.totals().messages == 1
    assert caller(memory).conversations.totals().messages == 0


def test_where_a_server_authenticated_nobody_metadata_name_the_caller(memory: Memory) -> None:
    caller(memory).document.append({"summary": "Tea."})
    server = ServerInfo("a", "g", {"identity": "", "is_authenticated": False})  # type: ignore[arg-type]
    runtime: Any = Runtime(context=None, server_info=server)
    state = {"metadata": {"organizationId": "org-123", "phoneNumber": NUMBER}}
    assert "Tea." in memory_load_node(memory)(state, runtime, {})["memory"]["text"]


def test_metadata_choose_no_organization_for_a_user_of_the_context(memory: Memory) -> None:
    memory.of(user="ada", organization="acme").document.append({"summary": CANARY})
    forged = {"organizationId": "acme"}
    for given, config in ((says("Hello", metadata=forged), {}), (says("Hello again"), {"metadata": forged})):
        there = flow(memory).invoke(given, config, context={"userId": "ada"})
        assert there["memory"]["allowed"]
        assert CANARY not in there["memory"]["text"]
    assert memory.of(user="ada").conversations.totals().messages == 4
    assert memory.of(user="ada", organization="acme").conversations.totals().messages == 0


def test_a_host_s_own_rule_replaces_every_other(memory: Memory, run: Run) -> None:
    asked: list[Any] = []

    def signed_in(given: Memory, seen: Any) -> UserMemory:
        asked.append((given, seen.context, seen.configurable["tenant"]))
        return given.of(user="bob", organization=seen.configurable["tenant"])

    rule = {"identify": signed_in}
    graph = flow(memory, load=rule, store=rule)
    config = {"configurable": {"tenant": "acme", "user_id": "ada"}}
    there = run(graph, says("My name is John", metadata={"From": OTHER}), config, context=SEED)
    assert (there["memory"]["allowed"], there["stored"]) == (True, 2)
    assert texts(memory.of(user="bob", organization="acme")) == ["My name is John", "Goodbye."]
    assert asked == [(memory, SEED, "acme")] * 2


def test_a_host_s_own_rule_that_names_nobody_goes_on_without_memory(memory: Memory) -> None:
    def nobody(given: Memory, seen: Any) -> UserMemory:
        raise NoIdentity

    rule = {"identify": nobody}
    there = flow(memory, load=rule, store=rule).invoke(says("Hello"), context=SEED)
    assert (there["memory"]["reason"], there["reason"]) == ("no_identity", "no_identity")


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


def test_blank_numbers_share_no_memory(memory: Memory) -> None:
    """A backend that signs in for its callers, and hands on an empty number."""
    server = ServerInfo("a", "g", {"identity": "backend"})  # type: ignore[arg-type]
    runtime: Any = Runtime(context={"metadata": {"phoneNumber": " "}}, server_info=server)
    said = {"messages": [("user", "I am Alice.")]}
    assert memory_store_node(memory)(said, runtime, {})["reason"] == "no_identity"
    assert memory_load_node(memory)({}, runtime, {})["memory"]["text"] == ""


def test_one_turn_at_a_time_is_kept_each_time(memory: Memory) -> None:
    runtime: Any = Runtime(context={"phone": NUMBER})
    store = memory_store_node(memory)
    for number, answer in enumerate(("Yes.", "No.", "Yes.")):
        turn = [AIMessage("Do you take it?", id=f"a{number}"), HumanMessage(answer, id=f"u{number}")]
        assert store({"messages": turn, "conversation": "c"}, runtime, {})["stored"] == 2
