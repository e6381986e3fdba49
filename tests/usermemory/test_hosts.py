"""hosts: the commands that look for work copy first what hosts keep elsewhere."""

import sys
from pathlib import Path

import pytest

from memory_tools.memory import Memory
from storage.database import Database
from tests.usermemory.cli import Cli

HOSTS = """
from datetime import UTC, datetime
from usermemory import HostConversation
from storage.conversations import NewMessage
from storage.identity import Identity

LONG_AGO = datetime(2026, 11, 1, tzinfo=UTC)

class Chats:
    def __init__(self, user):
        self.user = user

    def ended(self, before):
        return [HostConversation(Identity.of(user=self.user), "chat-1", LONG_AGO)]

    def messages(self, conversation, since):
        return [NewMessage("user", f"I am {self.user}.", external_id="m1")]

    def imported(self, conversation):
        pass

def one():
    return Chats("ada")

def several():
    return [Chats("bob"), Chats("eve")]

def strange():
    return object()

nothing = None
"""


@pytest.fixture(autouse=True)
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a module of the host's, in which the commands are started."""
    (tmp_path / "hosts_of_a_test.py").write_text(HOSTS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delitem(sys.modules, "hosts_of_a_test", raising=False)


def recap(database: Database, user: str) -> str:
    memory = Memory(database).of(user=user)
    return str(memory.conversation_memories.get("chat-1").data["summary"])


def test_a_worker_summarizes_what_hosts_keep(operator: Cli, database: Database) -> None:
    several = ("--host", "hosts_of_a_test:one", "--host", "hosts_of_a_test:several")
    answer = operator("worker", "--once", *several, "--json").json
    assert (answer["done"], answer["failed"]) == (6, 0), "three conversations and three people"
    assert [recap(database, user) for user in ("ada", "bob", "eve")] == ["I am ada.", "I am bob.", "I am eve."]


def test_whoever_spoke_at_a_host_is_in_the_daily_job(operator: Cli) -> None:
    assert operator("daily", "--host", "hosts_of_a_test:several").lines[0] == "2 people: 2 updated."


def test_the_trigger_finds_what_ended_at_a_host(operator: Cli) -> None:
    assert operator("jobs", "trigger", "--host", "hosts_of_a_test:one", "--json").json["total"] == 1


def test_hosts_are_named_in_the_environment_too(operator: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("USERMEMORY_HOSTS", "hosts_of_a_test:one hosts_of_a_test:several")
    assert operator("daily", "--json").json["total"] == 3


@pytest.mark.parametrize("command", [("worker", "--once"), ("daily",)])
@pytest.mark.parametrize("name", ["hosts_of_a_test", "hosts_of_a_test:other", "no_such:one", "hosts_of_a_test:nothing"])
def test_a_host_that_is_not_there_is_refused(on_sqlite: Cli, command: tuple[str, ...], name: str) -> None:
    answer = on_sqlite(*command, "--host", name, "--json")
    assert (answer.exit_code, answer.error["code"]) == (1, "invalid_input")
    assert answer.error["message"].startswith(("a host is given as", "the host "))


def test_what_brings_no_conversations_is_refused(on_sqlite: Cli) -> None:
    answer = on_sqlite("daily", "--host", "hosts_of_a_test:strange", "--json")
    assert answer.error["message"] == (
        "the host 'hosts_of_a_test:strange' returned something without ended, messages, imported"
    )
