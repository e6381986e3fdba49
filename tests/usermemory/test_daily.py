"""daily."""

import json
from collections.abc import Callable
from typing import Any

import langchain.chat_models
import pytest

from graphs.testing import ScriptedChatModel, said
from memory_tools.memory import Memory
from storage.database import Database
from storage.work.eligible import active_people
from storage.work.job_store import Lease
from storage.work.leases import lease
from tests.usermemory.cli import Cli


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ScriptedChatModel]:
    """Let LangChain find a model that answers what the test says."""

    def answers(*given: Any) -> ScriptedChatModel:
        scripted = ScriptedChatModel.of(*given)
        monkeypatch.setattr(langchain.chat_models, "init_chat_model", lambda name: scripted)
        return scripted

    return answers


@pytest.fixture
def people(database: Database) -> Memory:
    """Ada and bob, who said something new."""
    memory = Memory(database)
    for user in ("ada", "bob"):
        memory.of(user=user).conversations.append("call-1", [{"role": "user", "content": f"I am {user}."}])
    return memory


def test_everybody_who_was_active_is_updated_and_the_sums_are_printed(
    operator: Cli, people: Memory, model: Callable[..., ScriptedChatModel]
) -> None:
    model(said('{"summary": "Somebody."}'), said('{"summary": "Somebody."}'))
    prices = ("--model", "any:model", "--price-in", "2.5", "--price-out", "10")
    batch = operator("daily", *prices, "--json").json
    sums = ("total", "updated", "unchanged", "held", "skipped", "failed", "waiting")
    assert [batch[name] for name in sums] == [2, 2, 0, 0, 0, 0, 0]
    assert (batch["input_tokens"], batch["output_tokens"], batch["cost_micros"]) == (20, 10, 150)
    assert batch["kind"] == "daily"
    assert people.of(user="bob").document.current().document["summary"] == "Somebody."
    lines = operator("daily").lines
    assert lines == ["2 people: 2 unchanged."]


def test_a_person_is_said_in_the_summary(operator: Cli, people: Memory) -> None:
    people.of(user="eve", organization="acme").items.set("prefs", "tone", "warm")
    answer = operator("daily", "--organization", "acme")
    assert answer.lines == ["1 person: 1 unchanged."]
    assert operator("daily", "--organization", "nobody").lines == ["0 people: nothing to do."]


def test_tokens_and_cost_are_said(operator: Cli, people: Memory, model: Callable[..., ScriptedChatModel]) -> None:
    model(said('{"summary": "Ada."}', input_tokens=12_000), said('{"summary": "Bob."}', input_tokens=12_000))
    lines = operator("daily", "--model", "any:model", "--price-in", "1").lines
    assert lines == ["2 people: 2 updated.", "24,000 tokens in, 10 out, at a cost of 0.024."]


def test_one_persons_failure_stops_nobody_and_is_said_by_the_exit_code(
    operator: Cli, people: Memory, model: Callable[..., ScriptedChatModel]
) -> None:
    def but_for_bob(prompt: Any) -> Any:
        return ConnectionError("no") if "bob" in str(prompt) else '{"summary": "Ada."}'

    model(but_for_bob, but_for_bob)
    answer = operator("daily", "--model", "any:model", "--json")
    assert answer.exit_code == 1
    batch = json.loads(answer.stdout)
    assert (batch["updated"], batch["waiting"], batch["failed"]) == (1, 1, 0)
    assert people.of(user="ada").document.current().version == 1
    assert "bob" not in answer.stderr


def test_whoever_another_worker_left_is_waited_for(
    operator: Cli, people: Memory, operators_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    import memory_tools.upkeep

    opened = memory_tools.upkeep.Upkeep._open

    def and_a_worker_takes_one_and_dies(self: Any, *arguments: Any, **named: Any) -> Any:
        batch = opened(self, *arguments, **named)
        found = active_people(operators_database, since=operators_database.clock().replace(year=2000))
        assert isinstance(lease(operators_database, "person", found[0].id, seconds=0.5), Lease)
        return batch

    monkeypatch.setattr(memory_tools.upkeep.Upkeep, "_open", and_a_worker_takes_one_and_dies)
    batch = operator("daily", "--json").json
    assert (batch["updated"], batch["waiting"]) == (2, 0)


def test_the_bar_is_on_stderr(operator: Cli, people: Memory) -> None:
    answer = operator("daily")
    assert "people" in answer.stderr
    assert answer.stdout == "2 people: 2 updated.\n"
