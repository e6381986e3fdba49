"""worker: what it is started with, what it refuses, and how it ends."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import langchain.chat_models
import pytest
import redis

from graphs.testing import ScriptedChatModel
from memory_tools.memory import Memory
from storage import outbox
from storage.database import Database
from storage.errors import InvalidInput
from storage.work.queue import Message
from storage.work.sql_queue import SqlQueue
from tests.mcp_server.wire import ROOT, environment
from tests.memory_tools.events import eventually
from tests.redis_server import running_redis
from tests.usermemory.cli import Cli
from usermemory.commands.durations import duration

SECONDS = 60
"""Nothing here takes so long: who waits longer has met a fault."""

HANDLERS = """
import sys, time
from pathlib import Path

def note(body):
    with Path(body["file"]).open("a") as file:
        file.write("heard\\n")

def wait(body):
    print("begun", flush=True)
    sys.stdin.readline()

nothing = None
"""


@pytest.fixture
def queue(operators_database: Database) -> SqlQueue:
    return SqlQueue(operators_database)


@pytest.fixture
def handlers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module of the host's, in which the command is started."""
    (tmp_path / "hosts_handlers.py").write_text(HANDLERS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


@contextmanager
def worker(url: str, cwd: Path, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Run `usermemory worker` with the handler that waits; it has begun when the block begins."""
    process = subprocess.Popen(
        [sys.executable, "-m", "usermemory", "worker", "--handler", "hosts_handlers:wait", *arguments],
        cwd=cwd,
        env=environment(USERMEMORY_WORKER_DATABASE=url, PYTHONPATH=str(ROOT)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    watchdog = threading.Timer(SECONDS, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n", process.communicate()
        yield process
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


def test_it_works_off_what_is_there_and_ends(operator: Cli, queue: SqlQueue, database: Database) -> None:
    Memory(database).of(user="ada").conversations.append("call-1", [{"role": "user", "content": "I live in Bonn."}])
    operator("jobs", "trigger", "--inactivity", "0")
    assert operator("worker", "--once", "--inactivity", "0", "--json").json == {"done": 2, "failed": 0, "waiting": 0}
    with Memory(database).of(user="ada").read() as stores:
        assert "Bonn" in str(stores.conversation_memories.get("call-1").data)
    kinds = [batch["kind"] for batch in operator("jobs", "list", "--json").json]
    assert kinds == ["daily", "conversations"]


def test_what_failed_meanwhile_is_counted_and_said_by_the_exit_code(
    operator: Cli, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    Memory(database).of(user="ada").conversations.append("call-1", [{"role": "user", "content": "I live in Bonn."}])
    model = ScriptedChatModel.of(*[ConnectionError("no")] * 10)
    monkeypatch.setattr(langchain.chat_models, "init_chat_model", lambda name: model)
    answer = operator("worker", "--once", "--no-daily", "--inactivity", "0", "--model", "any:model")
    assert (answer.exit_code, answer.stdout) == (1, "Jobs: 0 done, 1 failed. 0 messages wait.\n")
    monkeypatch.undo()
    later = operator("worker", "--once", "--no-daily", "--conversations-every", "0")
    assert later.lines == ["Jobs: 0 done, 0 failed. 0 messages wait."]


def test_it_keeps_the_schedule_that_it_is_told(operator: Cli, database: Database) -> None:
    Memory(database).of(user="ada").conversations.append("call-1", [{"role": "user", "content": "I live in Bonn."}])
    operator("worker", "--once", "--no-daily", "--conversations-every", "0", "--inactivity", "0")
    assert operator("jobs", "list", "--json").json == []
    operator("worker", "--once", "--daily-at", "00:00", "--inactivity", "0")
    batches = operator("jobs", "list", "--json").json
    assert sorted(batch["kind"] for batch in batches) == ["conversations", "daily"]
    assert next(batch["due_at"] for batch in batches if batch["kind"] == "daily").endswith("T00:00:00+00:00")


def test_a_message_that_is_none_of_ours_goes_to_the_hosts_function(
    operator: Cli, queue: SqlQueue, handlers: Path
) -> None:
    notes = handlers / "notes"
    queue.send([Message({"task_type": "SEND_MAIL", "file": str(notes)})])
    assert operator("worker", "--once", "--handler", "hosts_handlers:note", "--json").json == {
        "done": 0,
        "failed": 0,
        "waiting": 0,
    }
    assert notes.read_text() == "heard\n"


@pytest.mark.parametrize(
    "name",
    ["hosts_handlers", "hosts_handlers:", ":note", "hosts_handlers:other", "no_such:note", "hosts_handlers:nothing"],
)
def test_a_function_that_is_not_there_is_refused(on_sqlite: Cli, handlers: Path, name: str) -> None:
    answer = on_sqlite("worker", "--once", "--handler", name, "--json")
    assert (answer.exit_code, answer.error["code"]) == (1, "invalid_input")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--daily-at", "3"], 2),
        (["--daily-at", "25:00"], 2),
        (["--daily-at", "03:00+01:00"], 2),
        (["--concurrency", "0"], 2),
        (["--attempts", "0"], 2),
        (["--inactivity", "soon"], 2),
        (["--visibility", "0"], 1),
        (["--queue", "redis://localhost"], 1),
        (["--publish", "smtp://localhost"], 1),
        (["--upgrades", "http://localhost"], 1),
        (["--model", "no-such-provider:model"], 1),
    ],
)
def test_what_makes_no_sense_is_refused(on_sqlite: Cli, arguments: list[str], code: int) -> None:
    answer = on_sqlite("worker", "--once", *arguments, "--json")
    assert answer.exit_code == code
    assert answer.error["code"] == ("usage" if code == 2 else "invalid_input")


@pytest.mark.parametrize("command", [("worker", "--once"), ("daily",), ("jobs", "list"), ("jobs", "trigger")])
def test_the_applications_url_is_refused_with_what_to_do(postgresql_url: str, command: tuple[str, ...]) -> None:
    answer = Cli(postgresql_url)(*command, "--json")
    assert (answer.exit_code, answer.error["code"]) == (1, "unsafe_role")
    assert "USERMEMORY_WORKER_DATABASE" in answer.error["message"]


def test_publishing_turns_the_writing_down_of_changes_on_and_off(
    operator: Cli, operators_database: Database, database: Database
) -> None:
    operator("worker", "--once", "--publish", "redis://127.0.0.1:1")
    assert outbox.is_enabled(operators_database)
    Memory(database).of(user="ada").items.set("prefs", "tone", "warm")
    operator("worker", "--once", "--publish", "redis://127.0.0.1:1")
    assert outbox.waiting(operators_database) == 1  # nothing is lost while Redis is down
    operator("worker", "--once")
    assert outbox.is_enabled(operators_database)
    operator("worker", "--once", "--publish", "none")
    assert not outbox.is_enabled(operators_database)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_finishes_what_it_has_begun(
    workers_url: str, queue: SqlQueue, handlers: Path, number: signal.Signals
) -> None:
    queue.send([Message({"task_type": "WAIT"}), Message({"task_type": "NEVER"})])
    with worker(workers_url, handlers, "--no-daily", "--concurrency", "1") as process:
        process.send_signal(number)
        assert process.stderr is not None
        assert any("Stopping" in line for line in process.stderr)
        _, errors = process.communicate("go on\n", timeout=SECONDS)
    assert process.returncode == 0, errors
    [left] = queue.receive()
    assert left.body == {"task_type": "NEVER"}


def test_after_the_grace_it_gives_back_what_it_could_not_finish(
    workers_url: str, queue: SqlQueue, handlers: Path
) -> None:
    queue.send([Message({"task_type": "WAIT"})])
    with worker(workers_url, handlers, "--grace", "0", "--visibility", "1h") as process:
        process.terminate()
        process.wait(SECONDS)
    assert process.returncode == 0
    assert [delivery.body for delivery in queue.receive()] == [{"task_type": "WAIT"}]


def test_the_second_signal_ends_it_at_once(workers_url: str, queue: SqlQueue, handlers: Path) -> None:
    queue.send([Message({"task_type": "WAIT"})])
    with worker(workers_url, handlers, "--grace", "1h") as process:
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert any("Stopping" in line for line in process.stderr)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors


def test_it_remembers_who_was_upgraded(workers_url: str, queue: SqlQueue, handlers: Path, database: Database) -> None:
    queue.send([Message({"task_type": "WAIT"})])
    person = Memory(database).of(user="ada", organization="acme")
    with (
        running_redis() as server,
        redis.Redis.from_url(server.url) as client,
        worker(workers_url, handlers, "--upgrades", server.url, "--organization", "acme") as process,
    ):
        eventually(lambda: client.publish("user-updates", json.dumps({"userId": "ada", "isPremium": True})) == 1)
        eventually(lambda: [item.key for item in person.items.in_namespace("meta").entries] == ["upgradedAt"])
        process.terminate()
        process.communicate("go on\n", timeout=SECONDS)
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("0", 0), ("2h", 7_200), ("90m", 5_400), ("1h30m", 5_400), ("45s", 45), ("7d", 604_800), ("1d1h1m1s", 90_061)],
)
def test_a_span_of_time_is_written_as_people_do(written: str, seconds: int) -> None:
    assert duration(written) == timedelta(seconds=seconds)


@pytest.mark.parametrize("written", ["", "2", "h", "-1h", "1.5h", "2 h", "30m1h", "٣h", "1H", "9999999d"])
def test_what_is_no_span_of_time_is_refused(written: str) -> None:
    with pytest.raises(InvalidInput):
        duration(written)


def test_errors_are_json_where_that_is_asked_for(on_sqlite: Cli) -> None:
    answer = on_sqlite("worker", "--once", "--queue", "nowhere", "--json")
    assert json.loads(answer.stderr)["error"]["code"] == "invalid_input"
