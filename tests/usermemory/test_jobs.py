"""jobs."""

import json
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest

from memory_tools.memory import Memory
from storage.conversations import NewMessage
from storage.database import Database
from storage.work.batches import list_batches
from storage.work.job_store import Lease
from storage.work.jobs import fail
from storage.work.leases import lease
from storage.work.queue import Message
from storage.work.sql_queue import SqlQueue
from tests.usermemory.cli import Cli
from usermemory.commands import batch_lines


@pytest.fixture
def conversation(database: Database) -> str:
    """The id of a conversation of ada's, which ended long ago."""
    person = Memory(database).of(user="ada")
    long_ago = datetime.now(UTC) - timedelta(days=1)
    person.conversations.append("call-1", [NewMessage("user", "I live in Bonn.", said_at=long_ago)])
    return str(person.conversations.all().entries[0].id)


@pytest.fixture
def dead(conversation: str, operators_database: Database) -> str:
    """A conversation whose job has failed for good."""
    taken = lease(operators_database, "conversation", UUID(conversation), seconds=60)
    assert isinstance(taken, Lease)
    fail(operators_database, taken, "summarizer_failed", attempts=1)
    return conversation


@pytest.fixture
def queue(operators_database: Database) -> SqlQueue:
    return SqlQueue(operators_database)


def buried(queue: SqlQueue) -> str:
    queue.send([Message({"task_type": "SEND_MAIL"})])
    [delivery] = queue.receive()
    queue.bury(delivery, "unknown_task_type")
    return queue.dead()[0].id


def test_trigger_sends_one_message_and_none_when_there_is_nothing_to_do(
    operator: Cli, conversation: str, queue: SqlQueue
) -> None:
    batch = operator("jobs", "trigger", "--json").json
    assert (batch["kind"], batch["total"], batch["waiting"]) == ("conversations", 1, 1)
    [delivery] = queue.receive()
    assert delivery.body == {"task_type": "GENERATE_MEMORY_BATCH", "conversation_ids": [conversation]}
    assert operator("jobs", "trigger", "--json").json is None
    assert operator("jobs", "trigger").lines[0].startswith("Nothing to do")
    assert queue.waiting() == 1


def test_a_trigger_that_finds_nothing_says_what_is_on_its_way(operator: Cli, conversation: str) -> None:
    operator("jobs", "trigger")
    assert operator("jobs", "trigger").lines[1:] == ["Known already: 1 on their way."]
    assert len(operator("jobs", "trigger", "--organization", "acme").lines) == 1


@pytest.mark.parametrize(
    ("attempts", "said"), [(5, "1 to be tried again."), (1, "1 dead. See `usermemory jobs dead`.")]
)
def test_a_trigger_that_finds_nothing_says_what_failed(
    operator: Cli, conversation: str, operators_database: Database, attempts: int, said: str
) -> None:
    taken = lease(operators_database, "conversation", UUID(conversation), seconds=60)
    assert isinstance(taken, Lease)
    fail(operators_database, taken, "summarizer_failed", attempts=attempts)
    assert operator("jobs", "trigger").lines[1:] == [f"Known already: {said}"]


def test_batches_are_listed_where_no_command_is_named(operator: Cli, conversation: str) -> None:
    assert operator("jobs", "--json").json == []
    assert operator("jobs", "--follow").lines == ["There are no batches."]
    batch = operator("jobs", "trigger", "--json").json
    assert [each["id"] for each in operator("jobs", "--json", "--limit", "5").json] == [batch["id"]]
    assert operator("jobs").lines == operator("jobs", "list").lines
    assert operator("jobs", "--help").lines[0] == "Usage: usermemory jobs [OPTIONS] COMMAND [ARGS]..."
    assert operator("jobs", "--bogus").exit_code == 2


def test_the_newest_batch_that_goes_on_is_followed(
    operator: Cli, conversation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = operator("jobs", "trigger", "--json").json
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: operator("worker", "--once", "--no-daily"))
    monkeypatch.setattr(batch_lines, "time", clock)
    [ended] = json.loads(operator("jobs", "--follow", "--json").stdout)
    assert (ended["id"], ended["waiting"], ended["updated"]) == (batch["id"], 0, 1)


def test_who_follows_is_told_that_no_worker_has_taken_it(
    operator: Cli, conversation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_lines, "UNTOUCHED_AFTER", 0)
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: operator("worker", "--once", "--no-daily"))
    monkeypatch.setattr(batch_lines, "time", clock)
    answer = operator("jobs", "trigger", "--follow")
    assert answer.lines[1] == "1 conversation: 1 updated."
    assert answer.stderr.count("No worker has taken it yet") == 1


def test_trigger_means_one_organization_and_the_threshold_that_is_said(operator: Cli, conversation: str) -> None:
    assert operator("jobs", "trigger", "--organization", "acme", "--json").json is None
    assert operator("jobs", "trigger", "--inactivity", "30d", "--json").json is None
    assert operator("jobs", "trigger", "--inactivity", "90m", "--json").json["total"] == 1


def test_a_batch_is_listed_and_shown_with_how_far_it_is(operator: Cli, conversation: str) -> None:
    assert operator("jobs", "list").lines == ["There are no batches."]
    batch = operator("jobs", "trigger", "--json").json
    title, what = operator("jobs", "list").lines
    assert title.startswith(f"{batch['id']}  conversations")
    assert title.endswith("0 of 1")
    assert what == "  1 conversation: 1 waiting."
    operator("worker", "--once", "--no-daily")
    assert operator("jobs", "show", batch["id"]).lines[1] == "1 conversation: 1 updated."
    shown = operator("jobs", "show", batch["id"], "--json").json
    assert (shown["updated"], shown["waiting"]) == (1, 0)
    assert operator("jobs", "list", "--json").json == [shown]
    assert operator("jobs", "list", "--organization", "acme", "--json").json == []


def test_the_list_goes_on_page_by_page(operator: Cli, operators_database: Database) -> None:
    for _ in range(3):
        operator("daily", "--json")
    first = operator("jobs", "list", "--limit", "2")
    assert "More: --after " in first.stderr
    after = first.stderr.split()[-1]
    assert len(operator("jobs", "list", "--limit", "2", "--after", after, "--json").json) == 1
    assert len(list_batches(operators_database).entries) == 3


def test_a_batch_that_has_ended_is_followed_to_its_end(operator: Cli, conversation: str) -> None:
    batch = operator("jobs", "trigger", "--json").json
    operator("worker", "--once", "--no-daily")
    answer = operator("jobs", "show", batch["id"], "--follow")
    assert answer.lines[1] == "1 conversation: 1 updated."
    assert "conversations" in answer.stderr


@pytest.mark.parametrize(("named", "code"), [("no-id", 1), (str(uuid4()), 3)])
def test_a_batch_that_is_not_there_is_said_so(operator: Cli, named: str, code: int) -> None:
    answer = operator("jobs", "show", named, "--json")
    assert (answer.exit_code, answer.error["code"]) == (code, "not_found" if code == 3 else "invalid_input")


def test_what_was_given_up_is_listed_without_what_was_said(operator: Cli, dead: str, queue: SqlQueue) -> None:
    letter = buried(queue)
    said = operator("jobs", "dead", "--json").json
    assert [(job["kind"], job["subject"], job["error"]) for job in said["jobs"]] == [
        ("conversation", dead, "summarizer_failed")
    ]
    assert [(each["id"], each["reason"]) for each in said["letters"]] == [(letter, "unknown_task_type")]
    lines = operator("jobs", "dead").lines
    assert lines[0].startswith(f"{dead}  conversation  summarizer_failed  1 attempt, ")
    assert lines[1].startswith(f"{letter}  message  SEND_MAIL  unknown_task_type  received 1 time, ")
    assert "Bonn" not in str(said)


def test_what_is_dead_is_tried_again_by_its_id(operator: Cli, dead: str, queue: SqlQueue, database: Database) -> None:
    assert operator("jobs", "retry", dead, "--json").json == {"retried": 1}
    operator("worker", "--once", "--no-daily", "--conversations-every", "0")
    with Memory(database).of(user="ada").read() as stores:
        assert "Bonn" in str(stores.conversation_memories.get("call-1").data)
    assert operator("jobs", "dead").lines == ["Nothing was given up."]


def test_everything_is_tried_again(operator: Cli, dead: str, queue: SqlQueue) -> None:
    buried(queue)
    assert operator("jobs", "retry", "--all").lines == ["2 to be tried again."]
    bodies = [delivery.body["task_type"] for delivery in queue.receive()]
    assert sorted(bodies) == ["GENERATE_MEMORY_BATCH", "SEND_MAIL"]
    assert operator("jobs", "retry", "--all", "--json").json == {"retried": 0}


def test_a_dead_letter_is_tried_again_by_its_id(operator: Cli, queue: SqlQueue) -> None:
    letter = buried(queue)
    assert operator("jobs", "retry", letter, "--json").json == {"retried": 1}
    assert queue.waiting() == 1


@pytest.mark.parametrize("named", ["17", str(uuid4())])
def test_what_is_not_dead_cannot_be_tried_again(operator: Cli, named: str) -> None:
    answer = operator("jobs", "retry", named, "--json")
    assert (answer.exit_code, answer.error["code"]) == (3, "not_found")


@pytest.mark.parametrize("command", ["show", "retry"])
def test_what_is_no_id_is_bad_input_everywhere(operator: Cli, command: str) -> None:
    answer = operator("jobs", command, "nonsense", "--json")
    assert (answer.exit_code, answer.error["code"]) == (1, "invalid_input")


@pytest.mark.parametrize("arguments", [(), ("17", "--all")])
def test_one_or_all_has_to_be_said(operator: Cli, arguments: tuple[str, ...]) -> None:
    answer = operator("jobs", "retry", *arguments, "--json")
    assert (answer.exit_code, answer.error["code"]) == (2, "usage")
