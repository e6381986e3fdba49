import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from click.testing import CliRunner

from memory_tools.keys import ApiKeys
from memory_tools.memory import Memory
from storage.database import Database
from tests.mcp_server.conftest import ERAS
from tests.mcp_server.issuer import ISSUER, RESOURCE, issuing
from tests.mcp_server.serving import MODERN, Caller, bearer, connected, request, texts
from tests.usermemory.serving import START_LIMIT, Running, started
from usermemory.commands import main


@contextmanager
def running(database: str, *options: str) -> Iterator[Running]:
    """Start `usermemory mcp --http` on a free port, as a shell does."""
    with started(["mcp", "--http", "--database", database, *options]) as server:
        yield server


@pytest.fixture
def file(tmp_path: Path) -> str:
    """The URL of a database that is not there yet."""
    return f"sqlite:///{tmp_path / 'memory.db'}"


async def test_one_person_is_served_on_this_machine_in_both_eras_and_after_a_restart(file: str) -> None:
    with running(file, "--user", "ada") as server:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/mcp", server.url)
        for era in ERAS:
            async with connected(server.url, era) as client:
                kept = await client.call_tool("set_memory_item", {"namespace": "prefs", "key": era, "value": era})
                assert not kept.is_error
        assert server.end() == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(server.url)
    with running(file, "--user", "ada") as server:
        for era in ERAS:
            answer = Caller(server.url, era).call("get_memory_item", {"namespace": "prefs", "key": era})
            assert answer.json()["result"]["structuredContent"]["value"] == era
        assert server.end(signal.SIGINT) == 0
    assert server.stderr == f"Listening on {server.url}\n"
    assert not list(Path(file.removeprefix("sqlite:///")).parent.glob("*-wal")), "memory was closed"


@pytest.mark.parametrize("host", ["localhost", "::1"])
def test_every_name_of_this_machine_for_itself_will_do(file: str, host: str) -> None:
    with running(file, "--user", "ada", "--host", host, "--path", "/memory") as server:
        assert server.url.endswith("/memory")
        assert texts(Caller(server.url).call("get_user_memory")) == '{"value":{}}'


def test_what_would_not_be_safe_is_not_started(file: str) -> None:
    by_token = "without tokens everybody who reaches"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        refused: dict[tuple[str, ...], tuple[int, str]] = {
            ("--user", "ada", "--host", "0.0.0.0"): (1, f"{by_token} 0.0.0.0 would read this memory"),
            ("--user", "ada", "--host", "::"): (1, by_token),
            ("--user", "ada", "--host", ""): (1, f"{by_token} any address"),
            ("--user", "ada", "--host", "192.168.1.7"): (1, by_token),
            ("--phone", "+12025550123", "--host", "memory.lan"): (1, by_token),
            (): (2, "Nobody was named"),
            ("--api-keys", "--user", "ada"): (2, "names one person, and tokens name them here"),
            ("--api-keys", "--host", "0.0.0.0"): (1, "add --url"),
            ("--issuer", ISSUER): (1, "add --url"),
            ("--issuer", ISSUER, "--url", RESOURCE): (1, "either the URL of the issuer's keys or a key"),
            ("--user", "ada", "--jwks-url", "https://login.example.com/keys"): (1, "add --issuer"),
            ("--user", "ada", "--url", "memory.example.com"): (1, "the url of this server"),
            ("--user", "ada", "--allow-origin", "app.example.com"): (1, "a scheme and a host"),
            ("--user", "ada", "--path", "mcp"): (1, "a path begins with a slash"),
            ("--user", "ada", "--pace", "0/minute"): (1, "is no pace"),
            ("--user", "ada", "--port", port): (1, f"cannot listen on 127.0.0.1, port {port}"),
            ("--api-keys", "--url", RESOURCE, "--host", "nowhere.invalid"): (1, "cannot listen on nowhere.invalid"),
            ("--api-keys", "--url", RESOURCE, "--host", "a" * 70): (1, "cannot listen on aaa"),
        }
        for options, (code, message) in refused.items():
            ended = in_this_process(file, *options)
            assert (options, ended.exit_code) == (options, code)
            assert message in " ".join(ended.stderr.split())
            assert ended.stdout == ""


def in_this_process(database: str, *options: str) -> Any:
    """Run the command as far as it comes; it must not come as far as to listen, which would not end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("usermemory.commands.listening.serve_http", unsafe)
        for name in [each for each in os.environ if each.startswith("USERMEMORY_")]:
            patch.delenv(name)
        return CliRunner().invoke(main, ["mcp", "--http", "--port", "0", "--database", database, *options])


def unsafe(*_: object) -> None:
    raise AssertionError("it listens")


def test_refusing_ends_the_process_with_a_message_and_a_code(file: str) -> None:
    command = [sys.executable, "-m", "usermemory", "mcp", "--http", "--host", "0.0.0.0", "--user", "ada"]
    ended = subprocess.run([*command, "--database", file], capture_output=True, text=True, timeout=START_LIMIT)
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: without tokens everybody who reaches 0.0.0.0 would read this memory")
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


def test_whoever_has_a_key_is_served(database_url: str, operators_database: Database) -> None:
    operator = Memory(operators_database)
    ada, bob = (ApiKeys(operator).create(user=user).token for user in ("ada", "bob"))
    kept = {"namespace": "prefs", "key": "tone", "value": "warm"}
    with running(database_url, "--api-keys", "--host", "0.0.0.0", "--url", RESOURCE) as server:
        url = server.url.replace("0.0.0.0", "127.0.0.1")
        for era in ERAS:
            assert Caller(url, era).call("get_user_memory").status_code == 401
            assert "error" not in Caller(url, era, bearer(ada)).call("set_memory_item", kept).json()
            wanted = {"namespace": "prefs", "key": "tone"}
            assert '"warm"' in texts(Caller(url, era, bearer(ada)).call("get_memory_item", wanted))
            assert texts(Caller(url, era, bearer(bob)).call("get_memory_item", wanted)).startswith("not_found")
        assert Caller(url, headers=bearer(ada)).ask("tools/list", None, Host="0.0.0.0").status_code == 421
        assert Caller(url, headers=bearer(ada)).ask("tools/list", None, Host="memory.example.com").status_code == 200
    operator.threads.close()


def test_whoever_has_a_token_of_the_issuer_is_served(file: str) -> None:
    with issuing() as issuer:
        options = ["--issuer", ISSUER, "--jwks-url", issuer.jwks_url, "--url", RESOURCE, "--organization", "acme"]
        with running(file, *options) as server:
            described = httpx.get(server.url.replace("/mcp", "/.well-known/oauth-protected-resource/mcp")).json()
            assert (described["resource"], described["authorization_servers"]) == (RESOURCE, [ISSUER])
            answer = Caller(server.url, headers=bearer(issuer.token("ada"))).call(
                "set_memory_item", {"key": "a", "value": 1}
            )
            assert answer.json()["result"]["isError"] is False
            assert Caller(server.url, headers=bearer(issuer.token("ada", aud="x"))).ask("tools/list").status_code == 401
    with Memory.open(file) as memory:
        assert memory.of(user="ada", organization="acme").items.get("default", "a").value == 1


def test_nothing_that_a_client_sends_is_repeated_on_stderr(file: str) -> None:
    with running(file, "--issuer", ISSUER, "--url", RESOURCE, "--key-file", str(key_file(file))) as server:
        asking = Caller(server.url, headers=bearer("quetzalcoatl.a.b"))
        for host in ("127.0.0.1", "quetzalcoatl"):
            asking.call("quetzalcoatl", {"quetzalcoatl": 1}, Host=host, Origin="http://quetzalcoatl")
        asking.call("get_user_memory", {}, **{"Memory-User": "quetzalcoatl%0aTraceback"})
    assert server.stderr == f"Listening on {server.url}\n"


def key_file(database: str) -> Path:
    path = Path(database.removeprefix("sqlite:///")).with_name("key")
    path.write_text("k" * 64)
    return path


HOSTILE: Final = (
    b"quetzalcoatl\r\n\r\n",
    b"GET / HTTP/9.9\r\nquetzalcoatl\r\n\r\n",
    b"GET /quetzalcoatl HTTP/1.1\r\nHost: quetzalcoatl\r\n\r\n",
    b"POST http://quetzalcoatl/mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n",
    b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
    b"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nquetzalcoatl\r\n",
    b"GET /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"quetzalcoatl" * 10_000 + b"\r\n\r\n",
    b"GET /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nX: quetzalcoatl\r\n\r\n",
    b"GET /%00%0d%0aquetzalcoatl HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"CONNECT quetzalcoatl:443 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00quetzalcoatl",
)


async def test_a_server_survives_whatever_comes_and_repeats_none_of_it(file: str) -> None:
    with running(file, "--user", "ada") as server:
        address = httpx.URL(server.url)
        for raw in HOSTILE:
            with socket.create_connection((address.host, address.port), timeout=30) as connection:
                connection.sendall(raw)
                connection.shutdown(socket.SHUT_WR)
                answer = connection.recv(12)
            assert answer[9:12] in (b"", b"400", b"403", b"404", b"405", b"421", b"426")
        for era in ERAS:
            await say_everything_wrong(server.url, era)
        assert texts(Caller(server.url).call("get_user_memory")) == '{"value":{}}'
    assert "quetzalcoatl" not in server.stderr
    assert "Traceback" not in server.stderr


async def say_everything_wrong(url: str, era: str) -> None:
    """Send requests that are wrong in one place, all of which name the same god."""
    god = "quetzalcoatl"
    wrongs: list[tuple[str, Any]] = [
        ("tools/call", {"name": god, "arguments": {god: god}}),
        ("tools/call", {"name": "get_memory_item", "arguments": {"key": {god: [god]}}}),
        ("tools/call", {"name": "get_memory_item", "arguments": [god]}),
        ("tools/call", {"name": "update_user_memory", "arguments": {"changes": [{"pointer": god}]}}),
        ("tools/call", {"arguments": god}),
        ("resources/read", {"uri": f"memory://me/{god}"}),
        ("resources/read", {"uri": f"memory://me/items/{god}/%ff%00{god}"}),
        ("resources/read", {"uri": {god: god}}),
        ("prompts/get", {"name": god, "arguments": {god: god}}),
        ("prompts/get", {"name": "remember", "arguments": {"what": god * 1_000}}),
        ("completion/complete", {"ref": {"type": god}, "argument": {"name": god, "value": god}}),
        ("subscriptions/listen", {"notifications": god}),
        ("initialize", {"protocolVersion": god, "capabilities": god}),
        ("logging/setLevel", {"level": god}),
        (god, {god: god}),
    ]
    async with httpx.AsyncClient(verify=False, trust_env=False) as client:

        async def send(method: str, params: Any, **more: Any) -> None:
            headers, message = request(era, method, params)
            safe = {name: value for name, value in headers.items() if isinstance(value, str)}
            answer = await client.post(url, headers=safe, json=message | more)
            assert answer.status_code in (200, 202, 400, 404)

        await asyncio.gather(*(send(method, params) for method, params in wrongs))
        await asyncio.gather(*(send("tools/list", {}, id=number) for number in (god, [god], None, 1.5, {god: god})))
        await send("notifications/cancelled", {"requestId": god, "reason": god}, id=god)
        await client.post(url, content=json.dumps(god), headers={"MCP-Protocol-Version": god, "Mcp-Session-Id": god})


async def test_a_hundred_clients_are_served_at_once(file: str) -> None:
    headers, message = request(MODERN, "tools/call", {"name": "get_user_memory", "arguments": {}})
    with running(file, "--user", "ada") as server:
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=0)
        async with httpx.AsyncClient(verify=False, trust_env=False, timeout=60, limits=limits) as client:
            asked = (client.post(server.url, headers=headers, json=message) for _ in range(200))
            answers = await asyncio.gather(*asked)
    assert {answer.status_code for answer in answers} == {200}
    assert {texts(answer) for answer in answers} == {'{"value":{}}'}
