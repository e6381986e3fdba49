"""`usermemory serve` as a process: for whom it answers, what it refuses to do, and how it ends."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from http_api.session import COOKIE, SignedCookie
from memory_tools.crowd import REQUESTS
from memory_tools.keys import ApiKeys
from memory_tools.memory import Memory
from storage.canonical import loads
from storage.database import Database
from storage.tables import conversations, queue_messages
from tests.mcp_server.conftest import ERAS
from tests.mcp_server.serving import Caller, bearer, connected, texts
from tests.queues import SqsServer
from tests.usermemory.serving import START_LIMIT, Running, running, without_ours
from usermemory.commands import main

JOBS: Final = "a-token-of-the-jobs"
SECRET: Final = "a secret of thirty-two characters or more"
URL: Final = "https://memory.example.com"
TONE: Final = "/v1/items/prefs/tone"
NAMED: Final = {"namespace": "prefs", "key": "tone"}


@pytest.fixture
def file(tmp_path: Path) -> str:
    """The URL of a database that is not there yet."""
    return f"sqlite:///{tmp_path / 'memory.db'}"


@pytest.fixture
def operators(operators_database: Database) -> Iterator[Memory]:
    opened = Memory(operators_database, through="http")
    yield opened
    opened.threads.close()


async def test_one_person_is_served_on_this_machine_until_it_is_told_to_stop(file: str) -> None:
    with running(file, "--user", "ada", USERMEMORY_JOB_TOKEN=JOBS) as server, server.client() as client:
        assert client.get("/health").json() == {"status": "ok"}
        assert client.put(TONE, json={"value": "warm"}).json()["version"] == 1
        assert client.get("/api/user/ada/memory", params={"namespace": "prefs"}).json()["data"][0]["value"] == "warm"
        assert client.get("/api/user/bob/memory").status_code == 404
        assert client.get("/v1/items", headers={"Memory-User": "ada"}).status_code == 403
        assert client.get("/v1/pending").status_code == 403
        for era in ERAS:
            async with connected(f"{server.url}/mcp", era) as mcp:
                read = await mcp.call_tool("get_memory_item", NAMED)
                assert read.structured_content is not None
                assert read.structured_content["value"] == "warm"
        trigger = "/tasks/trigger-memory-generation"
        assert (client.post(trigger).status_code, client.post(trigger, headers=bearer(JOBS)).status_code) == (403, 202)
        assert client.post(trigger, headers=bearer(f"{JOBS}x")).status_code == 401
        assert client.get("/v1/items", headers=bearer(JOBS)).status_code == 401
        assert server.end() == 0
        with pytest.raises(httpx.ConnectError):
            client.get("/health")
    with running(file, "--user", "ada") as server, server.client() as client:
        assert client.get(TONE).json()["value"] == "warm"
        assert server.end(signal.SIGINT) == 0
    assert len(server.stderr.splitlines()) == 1, "it says where it listens, and nothing else"
    assert not list(Path(file.removeprefix("sqlite:///")).parent.glob("*-wal")), "memory was closed"


def test_whoever_has_a_key_is_served_by_both_doors_and_operators_by_the_workers_url(
    database_url: str, operators: Memory, request: pytest.FixtureRequest, administrator: sa.Engine
) -> None:
    keys = ApiKeys(operators)
    ada, bob = (keys.create(user=user).token for user in ("ada", "bob"))
    operator = keys.create(scopes=["memory:operate"]).token
    options = ["--api-keys", "--host", "0.0.0.0", "--url", URL, "--inactivity", "90m"]
    if operators.database.on_postgresql:
        options += ["--worker-database", request.getfixturevalue("worker_url")]
    with running(database_url, *options, USERMEMORY_JOB_TOKEN=JOBS) as server:
        server.url = server.url.replace("0.0.0.0", "127.0.0.1")
        with server.client(ada) as client:
            assert client.put(TONE, json={"value": "warm"}).status_code == 200
            assert client.get("/api/user/bob/memory").status_code == 404
            assert client.get("/health", headers={"Host": "memory.example.com"}).status_code == 200
            assert client.get("/v1/items", headers={"Host": "elsewhere.example.com"}).status_code == 421
        assert '"warm"' in texts(Caller(f"{server.url}/mcp", headers=bearer(ada)).call("get_memory_item", NAMED))
        answer = Caller(f"{server.url}/mcp", headers=bearer(bob)).call("get_memory_item", NAMED)
        assert texts(answer).startswith("not_found")
        assert Caller(f"{server.url}/mcp").call("get_memory_item", NAMED).status_code == 401
        conversation = put_in_and_let_it_end(server, operator, administrator)
        with server.client(JOBS) as client:
            begun = client.post("/tasks/trigger-memory-generation").json()
            assert begun["enqueued"] == 1
            assert client.get(f"/tasks/batches/{begun['batch']['id']}").json()["waiting"] == 1
            assert client.post("/api/cron/memory-update").json()["enqueued"] == 1
        assert server.end() == 0
    with administrator.connect() as connection:
        bodies = [loads(body) for body in connection.scalars(sa.select(queue_messages.c.body))]
    assert {"task_type": "GENERATE_MEMORY_BATCH", "conversation_ids": [conversation]} in bodies
    assert len(server.stderr.splitlines()) == 1


def put_in_and_let_it_end(server: Running, operator: str, administrator: sa.Engine) -> str:
    """Put a conversation in, as if it had been a while ago, and return its id."""
    said = {"user_id": "ada", "name": "call-17", "messages": [{"role": "user", "content": "I moved to Bonn."}]}
    with server.client(operator) as client:
        conversation = client.post("/conversations", json=said).json()
        assert client.get(f"/conversations/{conversation['id']}/messages").json()["message_count"] == 1
    with administrator.begin() as connection:
        column = conversations.c.last_message_at
        [when] = connection.scalars(sa.select(column))
        connection.execute(sa.update(conversations).values(last_message_at=when - timedelta(minutes=91)))
    return str(conversation["id"])


def test_connections_that_ask_nothing_shut_nobody_out(file: str) -> None:
    with running(file, "--user", "ada") as server, ExitStack() as idle:
        port = int(server.url.rpartition(":")[2])
        for _ in range(REQUESTS + 10):
            idle.enter_context(socket.create_connection(("127.0.0.1", port)))
        with server.client() as client:
            assert client.get("/health").json() == {"status": "ok"}
            assert client.put(TONE, json={"value": "warm"}).status_code == 200


def test_a_session_cookie_signed_with_the_secret_is_known(file: str) -> None:
    signed = SignedCookie(SECRET, cookie="who").sign("ada")
    with running(file, "--session-cookie", "who", USERMEMORY_SESSION_SECRET=SECRET) as server:
        with server.client(Cookie=f"who={signed}") as client:
            assert client.get("/v1/items").status_code == 200
            assert client.put(TONE, json={"value": 1}).status_code == 403, "no page of this server sent it"
            assert client.put(TONE, json={"value": 1}, headers={"Origin": server.url}).status_code == 200
        for cookie in ("", "who=", f"{COOKIE}={signed}", f"who={signed}x", f"who={SignedCookie('x' * 32).sign('ada')}"):
            with server.client(Cookie=cookie) as client:
                assert client.get("/v1/items").status_code == 401


def test_the_session_cookie_has_a_name_that_no_framework_gives_its_own(file: str) -> None:
    signed = SignedCookie(SECRET).sign("ada")
    with (
        running(file, USERMEMORY_SESSION_SECRET=SECRET) as server,
        server.client(Cookie=f"session=of-flask; usermemory_session={signed}") as client,
    ):
        assert client.get("/v1/items").status_code == 200
        assert client.get("/openapi.json").json()["components"]["securitySchemes"]["session"]["name"] == COOKIE


REFUSED: Final[dict[tuple[str, ...], tuple[int, str]]] = {
    (): (2, "Nobody was named"),
    ("--user", "ada", "--host", "0.0.0.0"): (1, "nobody would know who reaches 0.0.0.0"),
    ("--user", "ada", "--host", "::"): (1, "nobody would know who reaches ::"),
    ("--user", "ada", "--host", ""): (1, "nobody would know who reaches any address"),
    ("--user", "ada", "--host", "192.168.1.7"): (1, "nobody would know who reaches 192.168.1.7"),
    ("--user", " ada"): (1, "white space"),
    ("--api-keys", "--user", "ada"): (2, "not both"),
    ("--api-keys", "--host", "0.0.0.0"): (1, "add --url"),
    ("--issuer", "https://login.example.com"): (1, "add --url"),
    ("--user", "ada", "--jwks-url", "https://login.example.com/keys"): (1, "add --issuer"),
    ("--user", "ada", "--url", "memory.example.com"): (1, "the url of this server"),
    ("--user", "ada", "--allow-origin", "app.example.com"): (1, "a scheme and a host"),
    ("--user", "ada", "--pace", "often"): (1, "is no pace"),
    ("--user", "ada", "--queue", "nonsense"): (1, "queue"),
    ("--user", "ada", "--inactivity", "soon"): (2, "soon"),
    ("--user", "ada", "--session-cookie", "who"): (2, "USERMEMORY_SESSION_SECRET"),
    ("--user", "ada", "--flow", " x"): (1, "white space"),
    ("--user", "ada", "--worker-database", "mysql://localhost/x"): (1, "mysql"),
    ("--port", "65536"): (2, "65536"),
}


@pytest.mark.parametrize("options", REFUSED, ids=" ".join)
def test_what_would_not_be_safe_or_makes_no_sense_is_not_started(file: str, options: tuple[str, ...]) -> None:
    refused_with(file, *options, said=REFUSED[options])


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"USERMEMORY_JOB_TOKEN": "short"}, "16 characters or more"),
        ({"USERMEMORY_SESSION_SECRET": "short"}, "not both"),
    ],
    ids=str,
)
def test_a_secret_that_is_none_is_not_taken(file: str, variables: dict[str, str], said: str) -> None:
    ended = in_this_process(file, "--user", "ada", **variables)
    assert ended.exit_code != 0
    assert said in " ".join(ended.stderr.split())
    ended = in_this_process(file, **variables)
    assert ended.exit_code != 0
    assert "Traceback" not in ended.stderr


def test_variables_that_are_empty_say_nothing(file: str) -> None:
    empty = ""
    with (
        running(file, "--user", "ada", USERMEMORY_SESSION_SECRET=empty, USERMEMORY_JOB_TOKEN=empty) as server,
        server.client() as client,
    ):
        assert client.get("/v1/items").status_code == 200


def test_a_port_that_is_taken_is_said(file: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        refused_with(file, "--user", "ada", "--port", port, said=(1, f"cannot listen on 127.0.0.1, port {port}"))


def test_on_postgresql_each_url_is_for_its_own(postgresql_url: str, worker_url: str) -> None:
    both = ("--api-keys", "--worker-database", postgresql_url)
    refused_with(postgresql_url, *both, said=(1, "operators need the worker's"))
    refused_with(worker_url, "--api-keys", said=(1, "this one is the worker's"))
    ended = in_this_process(postgresql_url, "--api-keys", USERMEMORY_JOB_TOKEN=JOBS)
    assert ended.exit_code == 1
    assert "add --worker-database" in " ".join(ended.stderr.split())


def test_an_sqs_queue_without_dead_letters_is_refused_until_some_are_named(file: str, sqs: SqsServer) -> None:
    options = ("--user", "ada", "--queue", sqs.new_queue())
    refused_with(file, *options, said=(1, "give it a redrive policy, or name one (--dead-letters"))
    for ended in (
        in_this_process(file, *options, "--dead-letters", sqs.new_queue()),
        in_this_process(file, *options, USERMEMORY_DEAD_LETTERS=sqs.new_queue()),
    ):
        assert str(ended.exception) == "it listens"


def refused_with(database: str, *options: str, said: tuple[int, str]) -> None:
    ended = in_this_process(database, *options)
    assert (ended.exit_code, ended.stdout) == (said[0], "")
    assert said[1] in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr


def in_this_process(database: str, *options: str, **variables: str) -> Any:
    """Run the command as far as it comes; it must not come as far as to serve, which would not end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("usermemory.commands.listening.serve_http", unsafe)
        for name in [each for each in os.environ if each.startswith("USERMEMORY_")]:
            patch.delenv(name)
        for name, value in variables.items():
            patch.setenv(name, value)
        port = () if "--port" in options else ("--port", "0")
        return CliRunner().invoke(main, ["serve", *port, "--database", database, *options])


def unsafe(*_: object) -> None:
    raise AssertionError("it listens")


def test_refusing_ends_the_process_with_a_message_and_a_code(file: str) -> None:
    command = [sys.executable, "-m", "usermemory", "serve", "--host", "0.0.0.0", "--user", "ada", "--database", file]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=START_LIMIT, env=without_ours())
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: without tokens or sessions nobody would know who reaches 0.0.0.0")
    assert len(ended.stderr.splitlines()) == 1
    assert ended.stdout == ""
