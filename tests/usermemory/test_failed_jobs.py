"""jobs failed, jobs retry and update --again: what failed is found, hurried and gone back to."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import langchain.chat_models
import pytest
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage

from graphs.testing import ScriptedChatModel
from graphs.update import update_memory
from memory_tools.memory import Memory, UserMemory
from storage import outbox
from storage.conversations import NewMessage
from storage.database import Database
from storage.work.batches import Batch
from storage.work.job_store import Lease
from storage.work.jobs import fail, get_job
from storage.work.leases import lease
from storage.work.queue import Message
from storage.work.sql_queue import SqlQueue
from tests.usermemory.cli import Cli
from usermemory.commands.batch_lines import summary


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let LangChain find a model that answers what the test says."""

    def answers(*texts: str) -> None:
        scripted = GenericFakeChatModel(messages=iter(map(AIMessage, texts)))
        monkeypatch.setattr(langchain.chat_models, "init_chat_model", lambda name: scripted)

    return answers


def failed_person(operators: Database, person: UserMemory, *, attempts: int) -> UUID:
    """Return the owner whose job failed, as the worker fails it where there are so many attempts."""
    with person.read() as stores:
        owner = stores.owners[0]
    taken = lease(operators, "person", owner, seconds=600)
    assert isinstance(taken, Lease)
    fail(operators, taken, "http_400" if attempts == 1 else "http_500", attempts=attempts)
    return owner


def misunderstood(person: UserMemory) -> None:
    """Let a broken model read what ada says."""
    broken = ScriptedChatModel.of("no", "no", "no")
    assert update_memory(person, messages=[{"role": "user", "content": "I live in Bonn."}], model=broken).error


def test_what_waits_for_its_next_attempt_is_listed_and_hurried(
    operator: Cli, operators_database: Database, person: UserMemory
) -> None:
    assert operator("jobs", "failed").lines == ["Nothing waits for another attempt."]
    assert operator("jobs", "failed", "--json").json == {"jobs": []}
    person.conversations.append("call-1", [NewMessage("user", "I live in Bonn.")])
    owner = failed_person(operators_database, person, attempts=5)
    [line] = operator("jobs", "failed").lines
    assert line.startswith(f"{owner}  person  http_500  1 attempt, next 2")
    [job] = operator("jobs", "failed", "--json").json["jobs"]
    assert (job["kind"], job["subject"], job["error"], job["attempts"]) == ("person", str(owner), "http_500", 1)
    assert job["next_attempt_at"] is not None
    assert operator("jobs", "dead").lines == ["Nothing was given up."]
    assert operator("jobs", "retry", str(owner), "--json").json == {"retried": 1}
    assert operator("jobs", "failed", "--json").json == {"jobs": []}
    operator("worker", "--once", "--no-daily", "--conversations-every", "0")
    assert get_job(operators_database, "person", owner).outcome == "updated"


def test_everything_that_failed_is_hurried_and_what_a_worker_is_at_is_left(
    operator: Cli, operators_database: Database, database: Database
) -> None:
    people = [Memory(database).of(user=user) for user in ("ada", "bob", "eve")]
    for each in people:
        each.conversations.append("call-1", [NewMessage("user", "I live in Bonn.")])
    ada, bob, eve = (failed_person(operators_database, each, attempts=number) for number, each in enumerate(people, 1))
    assert operator("jobs", "retry", eve.hex, "--json").json == {"retried": 1}
    busy = lease(operators_database, "person", eve, seconds=600)
    assert isinstance(busy, Lease)
    answer = operator("jobs", "retry", str(eve), "--json")
    assert (answer.exit_code, answer.error["code"]) == (4, "conflict")
    assert operator("jobs", "retry", "--all", "--json").json == {"retried": 2}
    assert [get_job(operators_database, "person", each).attempts for each in (ada, bob)] == [0, 0]


def test_what_a_broken_model_passed_over_is_dead_until_it_is_learnt(
    operator: Cli, operators_database: Database, person: UserMemory
) -> None:
    misunderstood(person)
    operator("daily")  # a good one, with nothing new
    [line] = operator("jobs", "dead").lines
    assert "  person  summarizer_failed  something was left behind, " in line
    assert operator("jobs", "retry", line.split()[0], "--json").json == {"retried": 1}
    assert operator("jobs", "dead").lines == ["Nothing was given up."]
    operator("worker", "--once", "--no-daily", "--conversations-every", "0")
    assert "Bonn" in str(person.document.current().document)


def test_an_update_learns_again_from_what_an_earlier_one_failed_on(
    cli: Cli, person: UserMemory, model: Callable[..., None]
) -> None:
    misunderstood(person)
    assert cli("update", "--json").json["status"] == "unchanged"
    model(json.dumps({"summary": "Ada lives in Bonn."}))
    assert cli("update", "--again", "--model", "openai:gpt", "--json").json["status"] == "saved"
    assert person.document.current().document["summary"] == "Ada lives in Bonn."
    assert cli("update", "--again", "--json").json["status"] == "unchanged"


def test_going_back_makes_nobody(cli: Cli, database: Database) -> None:
    assert cli("update", "--again", "--json").json == {"version": 0, "status": "unchanged"}
    assert Memory(database).of(user="ada")._known() is None


def test_the_person_is_told_why_the_answer_of_a_model_is_of_no_use(
    cli: Cli, person: UserMemory, model: Callable[..., None]
) -> None:
    person.conversations.append("call-1", [NewMessage("user", "I live in Bonn.")])
    model(*[json.dumps({"summary": 7})] * 3)
    answer = cli("update", "--model", "openai:gpt", "--json")
    assert (answer.exit_code, answer.error["code"]) == (1, "summarizer_failed")
    assert "no usable answer in 3 attempts: the document does not fit" in answer.error["message"]
    assert answer.error["message"].endswith("What was said is kept; learn from it with --again.")


class Reburied(SqlQueue):
    """A queue whose worker buries again at once what is revived, under a new id, as SQS does."""

    revivals = 0

    def revive(self, letter_id: str) -> None:
        super().revive(letter_id)
        type(self).revivals += 1
        assert self.revivals < 20, "it does not end"
        for delivery in self.receive():
            self.acknowledge(delivery)
            self.send([Message(delivery.body)])
        for delivery in self.receive():
            self.bury(delivery, "unknown_task_type")


def test_trying_everything_again_ends_while_a_worker_buries_it_again(
    operator: Cli, operators_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Reburied, "revivals", 0)
    monkeypatch.setattr("usermemory.commands.work.open_queue", lambda _, database, **__: Reburied(database))
    queue = SqlQueue(operators_database)
    for _ in range(2):
        queue.send([Message({"task_type": "SEND_MAIL"})])
    for delivery in queue.receive():
        queue.bury(delivery, "unknown_task_type")
    assert operator("jobs", "retry", "--all", "--json").json == {"retried": 2}
    assert len(queue.dead()) == 2


@pytest.fixture
def published(operators_database: Database) -> Iterator[None]:
    outbox.enable(operators_database)
    yield
    outbox.disable(operators_database)


def test_the_list_says_what_nobody_was_told_of_yet(operator: Cli, published: None, person: UserMemory) -> None:
    assert operator("jobs", "list").lines == ["There are no batches."]
    before = datetime.now(UTC)
    person.items.set("prefs", "tone", "warm")
    person.items.set("prefs", "pace", "slow")
    line = operator("jobs", "list").lines[-1]
    assert line.startswith("2 events not published yet, the oldest of ")
    said = datetime.strptime(line, "2 events not published yet, the oldest of %Y-%m-%d %H:%M:%S UTC.")
    assert said.replace(tzinfo=UTC) >= before - timedelta(seconds=2)
    assert operator("jobs", "list", "--json").json == []


@pytest.mark.parametrize(
    ("micros", "said"),
    [(9_750, "0.00975"), (1, "0.000001"), (24_000, "0.024"), (1_500_000, "1.50"), (3_000_000_000, "3,000.00")],
)
def test_a_cost_has_no_digit_too_few_and_none_too_many(micros: int, said: str) -> None:
    members: dict[str, Any] = dict.fromkeys(Batch.__dataclass_fields__, 0)
    batch = Batch(**members | {"kind": "daily", "total": 1, "updated": 1, "input_tokens": 1, "cost_micros": micros})
    assert list(summary(batch))[1] == f"1 tokens in, 0 out, at a cost of {said}."
