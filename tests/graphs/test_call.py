"""Calls: who calls, by every source there is, and what is allowed in the call."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from langgraph.runtime import Runtime, ServerInfo

from graphs.testing import ScriptedChatModel
from graphs.voice import memory_load_node, memory_store_node
from memory_tools.context import MemoryContext
from memory_tools.memory import Memory, UserMemory
from storage.configuration import MemoryConfiguration
from storage.database import Database
from storage.errors import InvalidInput, InvalidName, NoIdentity
from tests.configuring import set_configuration
from tests.contents import Contents
from tests.graphs.agents import Run
from tests.graphs.callers import CANARY, NUMBER, OTHER, SEED, caller, flow, says, texts


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


@pytest.mark.parametrize("context", [None, {"userId": 7}, {"organizationId": 7, "userId": "ada"}])
def test_a_caller_who_is_not_named_rightly_is_answered_without_memory(memory: Memory, context: Any) -> None:
    there = flow(memory).invoke(says("Hello"), context=context)
    reason = "no_identity" if context is None else "invalid_identity"
    assert (there["memory"]["reason"], there["reason"]) == (reason, reason)
    assert there["messages"][-1].text == "Goodbye."


def test_blank_numbers_share_no_memory(memory: Memory) -> None:
    """A backend that signs in for its callers, and hands on an empty number."""
    server = ServerInfo("a", "g", {"identity": "backend"})  # type: ignore[arg-type]
    runtime: Any = Runtime(context={"metadata": {"phoneNumber": " "}}, server_info=server)
    said = {"messages": [("user", "I am Alice.")]}
    assert memory_store_node(memory)(said, runtime, {})["reason"] == "no_identity"
    assert memory_load_node(memory)({}, runtime, {})["memory"]["text"] == ""
