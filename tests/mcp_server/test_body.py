import gzip
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Event
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from mcp_server import create_app, create_server
from mcp_server.body import MESSAGE, Body
from mcp_server.gate import BODY_LIMIT, objection
from memory_tools.memory import Memory
from memory_tools.unread import LINGER_BYTES
from tests.mcp_server.conftest import UNPACED
from tests.mcp_server.serving import Caller, request, served, texts

SECONDS: Final = 30.0
"""Nothing here takes so long: who waits longer has met a fault."""

PING: Final = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'


@pytest.fixture(scope="module")
def url(open_memory: Memory) -> Iterator[str]:
    """The address of a server of ada's memory."""
    server = create_server(open_memory, person=open_memory.of(user="ada"), pace=UNPACED)
    with served(create_app(server, open_memory)) as base:
        yield f"{base}/mcp"


def post(url: str, body: Any, era: str = "2026-07-28", method: str = "tools/call", **headers: str) -> httpx.Response:
    """Send this body as it is."""
    sent, _ = request(era, method, {"name": "set_memory_item"} if method == "tools/call" else None)
    with httpx.Client(verify=False, trust_env=False, timeout=2 * SECONDS) as client:
        return client.post(url, content=body, headers=sent | {"Content-Type": "application/json"} | headers)


def call(era: str, arguments: str) -> str:
    """Return the message of a call whose arguments are written so."""
    _, message = request(era, "tools/call", {"name": "set_memory_item", "arguments": "HERE"})
    return json.dumps(message).replace('"HERE"', arguments)


# How long.
def test_a_message_may_have_4_mib(url: str, era: str) -> None:
    padding = "x" * (BODY_LIMIT - len(call(era, "{}")))
    exactly = call(era, "{}") + " " * len(padding)
    assert len(exactly) == BODY_LIMIT
    assert post(url, exactly, era).status_code == 200
    assert post(url, exactly + " ", era).status_code == 413


def test_a_declared_length_is_refused_before_anything_is_read(url: str) -> None:
    for length in (BODY_LIMIT + 1, 10**12):
        lines = ["POST /mcp HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json", f"Content-Length: {length}"]
        assert status_of(url, "\r\n".join([*lines, "", ""]).encode()) == 413


@pytest.mark.parametrize(
    ("declared", "read"),
    [
        ("0", 1),
        ("00000004194304", 1),
        ("00000004194305", 0),
        ("9" * 5_000, 0),
        ("-1", 1),
        ("²", 1),
        ("1e9", 1),
        ("", 1),
    ],
)
async def test_whatever_server_there_is_below_a_declared_length_breaks_nothing(declared: str, read: int) -> None:
    asked: list[str] = []
    answers: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        answers.append(200)

    async def receive() -> Message:
        asked.append(declared)
        return {"type": "http.request", "body": PING, "more_body": False}

    async def send(message: Message) -> None:
        answers.append(message.get("status"))

    headers = [(b"content-length", declared.encode("latin-1"))]
    await Body(app)({"type": "http", "headers": headers}, receive, send)
    assert (len(asked), answers[0]) == (read, 200 if read else 413)


def test_a_body_in_pieces_is_refused_as_soon_as_it_is_too_long(url: str) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(1_000):
            sent += 64 * 1024
            yield b" " * 64 * 1024

    with suppress(httpx.WriteError):  # the server may have closed the connection meanwhile
        assert post(url, endless()).status_code == 413
    assert sent < 2 * (BODY_LIMIT + LINGER_BYTES)


def status_of(url: str, raw: bytes) -> int:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=SECONDS) as connection:
        connection.sendall(raw)
        return int(connection.makefile("rb").readline().split()[1])


# How long it may take.
async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with what was read."""
    body = await Request(scope, receive).body()
    assert json.loads(body) == scope[MESSAGE]
    await PlainTextResponse(body)(scope, receive, send)


def test_a_client_that_does_not_go_on_is_told_so() -> None:
    with served(Body(echo, seconds=0.2)) as base:
        headers = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
        began = time.monotonic()
        assert status_of(base, headers % 100 + b'{"jsonrpc"') == 408
        assert time.monotonic() - began > 0.1
        assert status_of(base, headers % len(PING) + PING) == 200  # in one piece: nothing is waited for


async def test_half_a_message_is_none() -> None:
    pieces: list[Message] = [
        {"type": "http.request", "body": PING, "more_body": True},
        {"type": "http.disconnect"},
    ]
    reached = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        reached.append(scope[MESSAGE])

    async def receive() -> Message:
        return pieces.pop(0)

    async def send(message: Message) -> None:
        reached.append(message)

    await Body(app)({"type": "http", "headers": []}, receive, send)
    assert reached == []


async def test_after_the_message_the_app_hears_that_the_client_has_gone() -> None:
    pieces: list[Message] = [{"type": "http.request", "body": PING, "more_body": False}, {"type": "http.disconnect"}]
    heard = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        heard.append((await receive())["body"])
        with pytest.raises(ClientDisconnect):
            await Request(scope, receive).body()

    async def receive() -> Message:
        return pieces.pop(0)

    async def send(message: Message) -> None:
        raise AssertionError(message)

    await Body(app)({"type": "http", "headers": []}, receive, send)
    assert heard == [PING]


# What it says.
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ('{"key":"a","value":NaN}', "invalid_json"),
        ('{"key":"a","value":-Infinity}', "invalid_json"),
        ('{"key":"a","value":1e400}', "invalid_json"),
        ('{"key":"a","value":1,"value":2}', "given twice"),
        ('{"key":"a","key":"b","value":2}', "given twice"),
        ('{"key":"a","value":"\\u0000"}', "invalid_json"),
        ('{"key":"a","value":{"\\u0000":1}}', "invalid_json"),
        ('{"key":"a","value":"\\ud800"}', "invalid_json"),
        ('{"key":"a","value":18446744073709551616}', "invalid_json"),
        ('{"key":"a","value":' + "[" * 70 + "]" * 70 + "}", "invalid_json"),
    ],
)
def test_a_call_that_could_not_be_kept_to_the_letter_is_refused_in_words(
    url: str, open_memory: Memory, arguments: str, complaint: str, era: str
) -> None:
    answer = post(url, call(era, arguments), era)
    assert (answer.status_code, answer.json()["id"]) == (200, 1)
    assert answer.json()["result"]["isError"] is True
    assert complaint in texts(answer)
    assert "\n" not in texts(answer)
    assert open_memory.of(user="ada").items.in_namespace("default").entries == ()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b"null",
        b"1",
        b'"tools/call"',
        b"[]",
        b"\xff\xfe{\x00}\x00",
        b"\xef\xbb\xbf{}",
        b'{"jsonrpc":"2.0","id":1,"method":"\xed\xa0\x80"}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}{}',
        b'{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/list"}',
        b"[" * 100_000,
        b"name=ada&value=1",
    ],
)
def test_what_is_no_message_is_no_request(url: str, body: bytes, era: str) -> None:
    answer = post(url, body, era, "tools/list")
    assert answer.status_code == 400
    assert "error" in answer.json()
    assert "id" in answer.json()


def test_messages_come_one_by_one(url: str, era: str) -> None:
    _, message = request(era, "tools/list")
    assert post(url, json.dumps([message, message]), era, "tools/list").status_code == 400


def test_a_compressed_body_is_no_message(url: str, era: str) -> None:
    _, message = request(era, "tools/list")
    packed = gzip.compress(json.dumps(message).encode())
    assert post(url, packed, era, "tools/list", **{"Content-Encoding": "gzip"}).status_code == 400


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_a_body_that_a_page_can_send_without_asking_is_refused(url: str, kind: str, era: str) -> None:
    _, message = request(era, "tools/list")
    answer = post(url, json.dumps(message), era, "tools/list", **{"Content-Type": kind})
    assert answer.status_code in (400, 415)


def test_a_value_of_more_than_10_kb_is_refused_in_words(url: str, era: str) -> None:
    asking = Caller(url, era)
    assert "too_large" in texts(asking.call("set_memory_item", {"key": "a", "value": "x" * 10_241}))
    assert "too_large" in texts(asking.call("set_memory_item", {"key": "a", "value": "x" * 4_000_000}))


def test_more_than_100_changes_are_refused_in_words(url: str, era: str) -> None:
    changes = [{"op": "add", "path": f"/{number}", "value": number} for number in range(101)]
    answer = texts(Caller(url, era).call("update_user_memory", {"patch": changes, "changes": changes}))
    assert answer.startswith("invalid_")


def test_a_message_that_takes_long_to_look_at_does_not_keep_others_waiting(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, others_were_served = Event(), Event()

    def slowly(body: bytes) -> Any:
        begun.set()
        assert others_were_served.wait(2 * SECONDS)
        return objection(body)

    monkeypatch.setattr("mcp_server.body.objection", slowly)
    members = ",".join(f'"{number}":0' for number in range(200_000))
    with ThreadPoolExecutor(1) as threads:
        hostile = threads.submit(post, url, "{" + members + "}")
        assert begun.wait(SECONDS)
        assert httpx.get(url.replace("/mcp", "/health"), timeout=SECONDS).status_code == 200
        others_were_served.set()
        assert hostile.result().status_code == 400
