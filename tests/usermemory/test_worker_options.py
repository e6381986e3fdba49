"""worker and daily: what their options and the environment say reaches the work."""

import threading
from collections.abc import Iterator
from typing import Any

import langchain.chat_models
import pytest
from langchain_core.messages import BaseMessage

from graphs.testing import ScriptedChatModel, said
from memory_tools.memory import Memory
from storage import outbox
from storage.database import Database
from storage.directory import resolve
from storage.identity import Identity
from storage.work.jobs import get_job
from tests.usermemory.cli import Cli

SECONDS = 30.0
"""Nothing here takes so long: who waits longer has met a fault."""

NOBODY_LISTENS = "redis://127.0.0.1:1"


@pytest.fixture
def person(database: Database) -> Memory:
    """Ada, who said something new."""
    memory = Memory(database)
    memory.of(user="ada").conversations.append("call-1", [{"role": "user", "content": "I am Ada."}])
    return memory


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a model waits for; opened when the test is over."""
    opened = threading.Event()
    yield opened
    opened.set()


def asked(monkeypatch: pytest.MonkeyPatch, *answers: Any) -> ScriptedChatModel:
    model = ScriptedChatModel.of(*answers)
    monkeypatch.setattr(langchain.chat_models, "init_chat_model", lambda name: model)
    return model


@pytest.mark.parametrize("how", ["option", "environment"])
@pytest.mark.parametrize("command", [("worker", "--once", "--conversations-every", "0"), ("daily",)])
def test_a_model_that_hangs_keeps_nothing_for_longer_than_the_patience(
    operator: Cli,
    operators_database: Database,
    person: Memory,
    gate: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    how: str,
) -> None:
    def hang(prompt: list[BaseMessage]) -> str:
        gate.wait(SECONDS)
        return '{"summary": "Too late."}'

    asked(monkeypatch, hang)
    if how == "environment":
        monkeypatch.setenv("USERMEMORY_PATIENCE", "1s")
    option = () if how == "environment" else ("--patience", "1s")
    assert operator(*command, *option, "--model", "any:model").exit_code == 1
    ada = resolve(operators_database, Identity.of(user="ada")).owner
    assert get_job(operators_database, "person", ada).error == "too_slow"


@pytest.mark.parametrize("command", ["worker", "daily"])
def test_a_patience_of_nothing_makes_no_sense(on_sqlite: Cli, command: str) -> None:
    answer = on_sqlite(command, "--patience", "0", "--json")
    assert (answer.exit_code, answer.error["code"]) == (1, "invalid_input")


def test_prices_may_stand_in_the_environment(operator: Cli, person: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USERMEMORY_PRICE_IN", "2.5")
    monkeypatch.setenv("USERMEMORY_PRICE_OUT", "10")
    asked(monkeypatch, said('{"summary": "Ada."}'))
    batch = operator("daily", "--model", "any:model", "--json").json
    assert batch["cost_micros"] == round(batch["input_tokens"] * 2.5 + batch["output_tokens"] * 10) > 0


def test_events_that_nobody_hears_are_said_at_the_end(
    operator: Cli, operators_database: Database, person: Memory
) -> None:
    once = ("worker", "--once", "--no-daily", "--conversations-every", "0")
    assert operator(*once, "--publish", NOBODY_LISTENS).lines[-1] == "0 events not published yet."
    person.of(user="ada").items.set("prefs", "tone", "warm")
    [event] = outbox.take(operators_database)
    lines = operator(*once, "--publish", NOBODY_LISTENS).lines
    assert lines == [
        "Jobs: 0 done, 0 failed. 0 messages wait.",
        f"1 event not published yet, the oldest of {event.at:%Y-%m-%d %H:%M:%S} UTC.",
    ]
    answer = operator(*once, "--json").json
    assert answer["events"] == {"waiting": 1, "since": event.at.isoformat()}
    assert "events" not in operator(*once, "--publish", "none", "--json").json
