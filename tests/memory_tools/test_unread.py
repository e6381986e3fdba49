"""Unread: who is answered before everything was sent is cut off, once the answer had time to arrive."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import pytest

from mcp_server import create_app, create_server
from mcp_server.gate import BODY_LIMIT
from memory_tools import unread
from memory_tools.memory import Memory
from memory_tools.unread import LINGER_BYTES, Unread
from tests.connection import PIECE, PIECES, Connection
from tests.mcp_server.serving import served

MIB: Final = 1024 * 1024
CHUNKED: Final = [(b"transfer-encoding", b"chunked")]
CLOSE: Final = (b"connection", b"close")

Messages = list[dict[str, Any]]
Headers = list[tuple[bytes, bytes]]


async def asked(
    app: Callable[..., Awaitable[None]],
    body: Callable[[], Awaitable[dict[str, Any]]],
    headers: list[tuple[bytes, bytes]],
) -> tuple[Messages, int]:
    """Return what is sent, and how often the body was asked for."""
    seen: Messages = []
    times = 0

    async def receive() -> dict[str, Any]:
        nonlocal times
        times += 1
        seen.append({"type": "received"})
        return await body()

    async def send(message: Any) -> None:
        seen.append(dict(message))

    await Unread(app)({"type": "http", "headers": headers}, receive, send)
    return seen, times


async def refuse(_: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 401, "headers": []})
    await send({"type": "http.response.body", "body": b"no"})


async def read(_: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await refuse(_, receive, send)


async def endless() -> dict[str, Any]:
    await asyncio.sleep(0)
    return {"type": "http.request", "body": b" " * MIB, "more_body": True}


async def whole() -> dict[str, Any]:
    return {"type": "http.request", "body": b"{}", "more_body": False}


async def gone() -> dict[str, Any]:
    return {"type": "http.disconnect"}


async def silent() -> dict[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError


async def test_the_answer_goes_out_first_and_its_end_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unread, "LINGER_SECONDS", 3_600.0)
    seen, times = await asked(refuse, endless, CHUNKED)
    assert seen[0] == {"type": "http.response.start", "status": 401, "headers": [CLOSE]}
    assert seen[1] == {"type": "http.response.body", "body": b"no", "more_body": True}
    assert seen[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
    assert times == LINGER_BYTES // MIB


async def test_who_sends_nothing_more_is_not_waited_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unread, "LINGER_SECONDS", 0.01)
    seen, times = await asked(refuse, silent, CHUNKED)
    assert times == 1
    assert seen[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


@pytest.mark.parametrize("body", [whole, gone])
async def test_a_body_that_has_come_is_not_waited_for(body: Any) -> None:
    _, times = await asked(refuse, body, [(b"content-length", b"2")])
    assert times == 1


@pytest.mark.parametrize(
    ("app", "headers"),
    [(read, CHUNKED), (read, [(b"content-length", b"2")]), (refuse, []), (refuse, [(b"content-length", b"0")])],
)
async def test_where_nothing_is_unread_nothing_is_changed(app: Any, headers: Headers) -> None:
    seen, _ = await asked(app, whole, headers)
    assert [each for each in seen if each["type"] != "received"] == [
        {"type": "http.response.start", "status": 401, "headers": []},
        {"type": "http.response.body", "body": b"no"},
    ]


async def test_who_waits_to_be_told_to_send_is_not_told_to() -> None:
    _, times = await asked(refuse, silent, [(b"content-length", b"2"), (b"expect", b"100-continue")])
    assert times == 0


async def test_what_is_said_of_the_connection_already_is_said_once() -> None:
    async def closing(_: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 413, "headers": [(b"Connection", b"close")]})
        await send({"type": "http.response.body", "body": b""})

    seen, _ = await asked(closing, whole, CHUNKED)
    assert seen[0]["headers"] == [CLOSE]


@pytest.mark.parametrize("path", ["/mcp", "/nothing"])
def test_a_message_to_the_mcp_server_that_never_ends_is_cut_off(memory: Memory, path: str) -> None:
    app = create_app(create_server(memory, person=memory.of(user="ada")), memory)
    with served(app) as url:
        connection = Connection(url)
        with connection.socket, connection.answers:
            connection.ask(f"POST {path}", "Transfer-Encoding: chunked")
            connection.send_all(2 * BODY_LIMIT // len(PIECE))
            assert connection.answers.readline().split()[1] == (b"413" if path == "/mcp" else b"404")
            with pytest.raises(OSError, match=r"reset|[Bb]roken pipe"):
                connection.send_all(PIECES)
