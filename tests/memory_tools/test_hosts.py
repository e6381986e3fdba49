from collections.abc import Sequence
from typing import Any

import pytest

from memory_tools.hosts import KnownHosts, OnlyFromHere, checked_origin, host_of, is_loopback
from storage.errors import InvalidInput

OWN = [
    "127.0.0.1",
    "127.0.0.1:8365",
    "localhost",
    "LocalHost:8365",
    "[::1]",
    "[::1]:8365",
    "memory.example.com",
    "Memory.Example.Com:443",
    "other.example:8443",
]

FOREIGN = [
    "",
    " ",
    "evil.example",
    "evil.example:8365",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "evil.example.localhost",
    "localhost.",
    "127.0.0.1.",
    "127.0.0.2",
    "127.1",
    "2130706433",
    "0.0.0.0",
    "user@127.0.0.1",
    "127.0.0.1@evil.example",
    "127.0.0.1:notaport",
    "127.0.0.1:",
    "127.0.0.1:-1",
    "127.0.0.1:123456",
    "127.0.0.1:8365:8365",
    "127.0.0.1:²",
    "127.0.0.1, evil.example",
    "127.0.0.1 evil.example",
    "127.0.0.1/evil",
    "http://127.0.0.1",
    "::1",
    "[::1]evil.example",
    "[::1",
    "[::ffff:127.0.0.1]",
    "other.example",
    "other.example:8444",
    "other.example:8443:1",
    "lоcalhost",  # a Cyrillic letter
    "xn--lcalhost-6bh",
]


async def reached(app: Any, headers: Sequence[tuple[str, str]], **scope: Any) -> Any:
    """Return what answered a request: "app", or the status of a refusal."""
    raw = [(name.encode(), value.encode()) for name, value in headers]
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    await app({"type": "http", "headers": raw} | scope, receive, send)
    return sent[0].get("status", sent[0])


async def answer(_: Any, __: Any, send: Any) -> None:
    await send({"status": "app"})


def guarded(**options: Any) -> KnownHosts:
    return KnownHosts(answer, hosts=["memory.example.com", "Other.Example:8443"], **options)


@pytest.mark.parametrize("host", OWN)
async def test_a_server_answers_to_its_own_names(host: str) -> None:
    assert await reached(guarded(), [("Host", host)]) == "app"


@pytest.mark.parametrize("host", FOREIGN)
async def test_a_server_answers_to_no_other_name(host: str) -> None:
    assert await reached(guarded(), [("Host", host)]) == 421


async def test_a_request_has_one_host() -> None:
    assert await reached(guarded(), []) == 421
    assert await reached(guarded(), [("Host", "localhost"), ("Host", "localhost")]) == 421
    assert await reached(guarded(), [("Host", "localhost"), ("host", "evil.example")]) == 421


@pytest.mark.parametrize("origin", ["http://localhost:8365", "https://localhost:8365", "HTTP://LOCALHOST:8365"])
async def test_pages_of_the_server_itself_may_ask(origin: str) -> None:
    assert await reached(guarded(), [("Host", "localhost:8365"), ("Origin", origin)]) == "app"


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "http://evil.example",
        "http://localhost",
        "http://localhost:8366",
        "http://127.0.0.1:8365",
        "http://localhost:8365.evil.example",
        "http://localhost:8365/",
        "http://user@localhost:8365",
        "ws://localhost:8365",
        "file://localhost:8365",
        "localhost:8365",
        "http://localhost:8365 http://evil.example",
    ],
)
async def test_pages_of_other_origins_may_not(origin: str) -> None:
    assert await reached(guarded(), [("Host", "localhost:8365"), ("Origin", origin)]) == 403


async def test_a_request_has_one_origin() -> None:
    own = ("Origin", "http://localhost")
    assert await reached(guarded(), [("Host", "localhost"), own, own]) == 403


async def test_a_rebound_name_is_refused_as_origin_and_as_host() -> None:
    assert await reached(guarded(), [("Host", "evil.example"), ("Origin", "http://evil.example")]) == 403
    assert await reached(guarded(), [("Host", "evil.example"), ("Origin", "http://localhost")]) == 403


async def test_other_origins_may_ask_where_they_are_allowed() -> None:
    app = guarded(origins=["https://Chat.Example.com/"])
    assert await reached(app, [("Host", "localhost"), ("Origin", "https://chat.example.com")]) == "app"
    assert await reached(app, [("Host", "localhost"), ("Origin", "http://chat.example.com")]) == 403
    assert await reached(app, [("Host", "localhost"), ("Origin", "https://chat.example.com:444")]) == 403
    assert await reached(app, [("Host", "evil.example"), ("Origin", "https://chat.example.com")]) == 421


async def test_websockets_are_closed_whoever_asks() -> None:
    closed = await reached(guarded(), [("Host", "localhost")], type="websocket")
    assert closed == {"type": "websocket.close", "code": 1008}


async def test_the_start_of_the_server_is_handed_on() -> None:
    assert await reached(guarded(), [], type="lifespan") == "app"


@pytest.mark.parametrize("peer", [("127.0.0.1", 1), ("127.9.9.9", 1), ("::1", 1), None])
async def test_without_tokens_this_machine_is_answered(peer: Any) -> None:
    assert await reached(OnlyFromHere(answer), [], client=peer) == "app"


@pytest.mark.parametrize("peer", [("192.168.1.7", 1), ("fe80::1", 1), ("10.0.0.1", 1), ("", 0), ("testclient", 1)])
async def test_without_tokens_no_other_machine_is(peer: Any) -> None:
    assert await reached(OnlyFromHere(answer), [], client=peer) == 403


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "localhost", "LOCALHOST", "::1", "[::1]"])
def test_loopback_is_this_machine_alone(address: str) -> None:
    assert is_loopback(address)


@pytest.mark.parametrize(
    "address",
    ["0.0.0.0", "::", "[::]", "", " ", "0", "192.168.1.7", "fe80::1", "memory.lan", "localhost.evil.example", "127.1"],
)
def test_everything_else_is_not_loopback(address: str) -> None:
    assert not is_loopback(address)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://memory.example.com/mcp", "memory.example.com"),
        ("https://Memory.Example.Com:443", "memory.example.com"),
        ("http://memory.example.com:80/mcp", "memory.example.com"),
        ("https://memory.example.com:8443/mcp", "memory.example.com:8443"),
        ("http://[::1]:8365/mcp", "[::1]:8365"),
        ("https://ada@memory.example.com/mcp", "memory.example.com"),
    ],
)
def test_the_host_of_a_url_is_written_as_in_a_host_header(url: str, host: str) -> None:
    assert host_of(url) == host


@pytest.mark.parametrize(
    "url", ["", "memory.example.com", "/mcp", "https://", "https:///mcp", "ftp://a", "https://a:b", "http://[::1"]
)
def test_a_url_without_a_host_has_none(url: str) -> None:
    with pytest.raises(ValueError):
        host_of(url)


@pytest.mark.parametrize(
    ("given", "origin"),
    [
        ("https://Chat.Example.com/", "https://chat.example.com"),
        ("http://localhost:80", "http://localhost"),
        ("chrome-extension://abcdefghijklmnop", "chrome-extension://abcdefghijklmnop"),
        ("tauri://localhost", "tauri://localhost"),
        ("app://obsidian.md", "app://obsidian.md"),
    ],
)
def test_an_origin_is_written_as_browsers_and_apps_write_it(given: str, origin: str) -> None:
    assert checked_origin(given) == origin


@pytest.mark.parametrize(
    "origin", ["", "*", "null", "chat.example.com", "https://", "https://a/b", "https://a b", "x:/a"]
)
def test_what_is_no_origin_is_refused(origin: str) -> None:
    with pytest.raises(InvalidInput):
        checked_origin(origin)
