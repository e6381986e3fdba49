"""Framing: a request that says its length in two ways is nobody's, and neither is what follows on its connection."""

from collections.abc import AsyncIterator

import pytest

from memory_tools.memory import Memory
from tests.http_api.calling import app_of, calling, code

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
