"""Framing: a request that says its length in two ways is nobody's, and one that never ends is ended."""

from collections.abc import AsyncIterator, Iterator
from typing import Final

import pytest

from http_api.members import BODY_LIMIT
from memory_tools.memory import Memory
from tests.connection import PIECE, PIECES, Connection
from tests.http_api.calling import app_of, calling, code
from tests.mcp_server.serving import served

BODY = b'{"value": 1}'
LENGTH = {"Content-Length": str(len(BODY))}
CHUNKED = {"Transfer-Encoding": "chunked"}
JSON = {"Content-Type": "application/json"}


async def test_a_request_that_says_its_length_in_two_ways_is_refused_and_its_connection_ends(memory: Memory) -> None:
    async with calling(app_of(memory)) as client:
        answer = await client.put("/v1/items/a/b", content=BODY, headers=JSON | LENGTH | CHUNKED)
        assert code(answer) == (400, "invalid_input")
        assert answer.headers["connection"] == "close"
        assert (await client.get("/v1/items/a/b")).status_code == 404


async def in_chunks() -> AsyncIterator[bytes]:
    yield BODY


@pytest.mark.parametrize("chunked", [False, True])
async def test_either_way_will_do(memory: Memory, chunked: bool) -> None:
    async with calling(app_of(memory)) as client:
        answer = await client.put("/v1/items/a/b", content=in_chunks() if chunked else BODY, headers=JSON)
    assert answer.status_code == 200
    assert "connection" not in answer.headers


@pytest.fixture
def connection(memory: Memory) -> Iterator[Connection]:
    """A connection to a server that knows the tokens."""
    with served(app_of(memory)) as url:
        opened = Connection(url)
        with opened.socket, opened.answers:
            yield opened


ADA: Final = "Authorization: Bearer ada"
ENDLESS: Final = "Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    ("line", "headers", "status"),
    [
        ("PUT /v1/items/a/b", [ADA], 413),
        ("PUT /v1/items/a/b", [], 401),
        ("PUT /v1/items/a/b", [ADA, "Memory-User: bob"], 403),
        ("PUT /nothing", [ADA], 404),
        ("PUT /v1/document", [ADA], 405),
        ("GET /v1/document", [ADA], 400),
        ("GET /health", [], 200),
        ("HEAD /health", [], 200),
    ],
)
def test_a_body_that_never_ends_is_cut_off(connection: Connection, line: str, headers: list[str], status: int) -> None:
    connection.ask(line, *headers, ENDLESS)
    connection.send_all(2 * BODY_LIMIT // len(PIECE))
    if line.startswith("HEAD"):
        assert connection.answers.readline().split()[1] == str(status).encode()
    else:
        said, told, _ = connection.answer()
        assert (said, told["connection"]) == (status, "close")
    with pytest.raises(OSError, match=r"reset|[Bb]roken pipe"):
        connection.send_all(PIECES)


@pytest.mark.parametrize("token", ["ada", "nobody"])
def test_who_has_sent_a_whole_body_that_nobody_reads_still_reads_the_answer(connection: Connection, token: str) -> None:
    length = 4 * BODY_LIMIT
    connection.ask("PUT /v1/items/a/b", f"Authorization: Bearer {token}", f"Content-Length: {length}")
    connection.socket.sendall(b" " * length)
    status, headers, problem = connection.answer()
    assert (status, problem["status"]) == ((413, 413) if token == "ada" else (401, 401))
    assert headers["connection"] == "close"
    assert connection.is_ended()


def test_who_asks_before_sending_is_told_and_sends_nothing(connection: Connection) -> None:
    connection.ask("PUT /v1/items/a/b", ADA, f"Content-Length: {4 * BODY_LIMIT}", "Expect: 100-continue")
    status, headers, _ = connection.answer()
    assert (status, headers["connection"]) == (413, "close")
    assert connection.is_ended()


def test_a_connection_goes_on_behind_a_body_that_was_read(connection: Connection) -> None:
    for number, (key, status) in enumerate([("b", 200), ("%01", 422), ("b", 200)], start=1):
        body = b'{"value": %d}' % number
        connection.ask(f"PUT /v1/items/a/{key}", ADA, f"Content-Length: {len(body)}")
        connection.socket.sendall(body)
        said, headers, _ = connection.answer()
        assert said == status
        assert "connection" not in headers
    connection.ask("GET /v1/items/a/b", ADA)
    assert connection.answer()[2]["value"] == 3
