"""What a host's telemetry hears of memory: that it was used, how long, how it ended; nothing of what it says."""

from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from graphs.middleware import UserMemoryMiddleware
from graphs.testing import ScriptedChatModel, calls
from graphs.update import update_memory
from memory_tools.context import MemoryContext
from memory_tools.memory import Memory
from memory_tools.telemetry import CAPTURE_CONTENT
from tests.telemetry import Heard

SECRET = "Ada drinks gunpowder tea."


def talk(memory: Memory) -> None:
    memory.of(user="ada-lovelace", organization="acme-corp").document.append({"summary": SECRET})
    agent = create_agent(
        ScriptedChatModel.of(calls("get_user_memory", {}), calls("get_memory_item", {"key": "none"}), "Hello."),
        middleware=[UserMemoryMiddleware(memory, auto_store=True, update="now", tools=True)],
        context_schema=MemoryContext,
    )
    context = MemoryContext(user_id="ada-lovelace", organization="acme-corp")
    agent.invoke({"messages": [HumanMessage("My name is Ada.")]}, context=context)


def told(span: ReadableSpan, name: str) -> object:
    return (span.attributes or {}).get(name)


def test_a_run_is_heard_step_by_step(memory: Memory, heard: Heard) -> None:
    talk(memory)
    steps = [(span.name, told(span, "usermemory.operation"), told(span, "usermemory.door")) for span in heard.spans]
    assert steps == [
        ("search_memory", "recall", "middleware"),
        ("search_memory", "get_user_memory", "langchain"),
        ("search_memory", "get_memory_item", "langchain"),
        ("create_memory", "keep_turn", "middleware"),
        ("search_memory", "recall", "loop"),
        ("update_memory", "save", "loop"),
        ("update_memory", "update", "middleware"),
    ]
    errors = [span for span in heard.spans if span.status.status_code is StatusCode.ERROR]
    failed = {told(span, "usermemory.operation"): told(span, "error.type") for span in errors}
    assert failed == {"get_memory_item": "not_found"}
    [outcome] = heard.points("usermemory.update.outcomes")
    assert dict(outcome.attributes) == {"usermemory.update.status": "saved"}


def test_neither_content_nor_identity_is_heard(memory: Memory, heard: Heard) -> None:
    talk(memory)
    everything = heard.everything()
    assert "recall" in everything
    for private in ("gunpowder", "My name is", "lovelace", "acme-corp"):
        assert private not in everything


def test_content_is_heard_where_the_host_switched_it_on(
    memory: Memory, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CAPTURE_CONTENT, "true")
    talk(memory)
    assert "gunpowder" in heard.everything()


def test_a_run_without_memory_is_counted_by_its_reason(memory: Memory, heard: Heard) -> None:
    agent: Any = create_agent(ScriptedChatModel.of("Hi"), middleware=[UserMemoryMiddleware(memory)])
    agent.invoke({"messages": [HumanMessage("Hello")]})
    [counted] = heard.points("usermemory.memory.unavailable")
    assert (dict(counted.attributes), counted.value) == ({"error.type": "no_identity"}, 1)
    assert heard.span.status.status_code is StatusCode.ERROR


def test_updates_are_counted_by_their_outcome(memory: Memory, heard: Heard) -> None:
    ada = memory.of(user="ada")
    said = [{"role": "user", "content": "My name is Ada."}]
    assert [update_memory(ada, messages=said).status, update_memory(ada).status] == ["saved", "nothing_new"]
    outcomes = heard.points("usermemory.update.outcomes")
    assert {each.attributes["usermemory.update.status"]: each.value for each in outcomes} == {
        "saved": 1,
        "nothing_new": 1,
    }
