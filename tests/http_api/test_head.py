"""Head: whatever can be read answers HEAD as it answers GET, without the body."""

from contextlib import closing
from http.client import HTTPConnection
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from http_api import SignedCookie
from memory_tools.memory import Memory
from tests.http_api.calling import BASE, app_of, calling
from tests.http_api.test_metrics import counts
from tests.mcp_server.serving import served


@pytest.mark.parametrize(
    "path",
    [
        "/health",
        "/docs",
        "/openapi.json",
        "/v1/document",
        "/v1/items",
        "/v1/items/a/b",
        "/v1/items/a%2Fb/c",
        "/v1/items/a/nothing",
        "/v1/items?limit=0",
        "/nothing",
        "/v1/items/%ff/x",
    ],
)
async def test_head_answers_as_get_does_but_without_the_body(memory: Memory, path: str) -> None:
    person = memory.of(user="ada")
    person.items.set("a", "b", 1)
    person.items.set("a/b", "c", 2)
    async with calling(app_of(memory)) as client:
        whole, head = await client.get(path), await client.head(path)
    assert head.status_code == whole.status_code
    assert dict(head.headers) == dict(whole.headers)
    assert int(head.headers["content-length"]) == len(whole.content) > 0
    assert head.content == b""


async def test_a_condition_holds_for_head_too(memory: Memory) -> None:
    memory.of(user="ada").items.set("a", "b", 1)
    async with calling(app_of(memory)) as client:
        tag = (await client.head("/v1/items/a/b")).headers["etag"]
        known = await client.head("/v1/items/a/b", headers={"If-None-Match": tag})
        assert (known.status_code, known.headers["etag"]) == (304, tag)
        assert (await client.head("/v1/items/a/b", headers={"If-None-Match": '"x"'})).status_code == 200


async def test_head_asks_who_is_there_and_is_what_a_cookie_may_do(open_memory: Memory) -> None:
    cookie = SignedCookie("s" * 32)
    async with calling(app_of(open_memory, session=cookie), None) as client:
        assert (await client.head("/v1/document")).status_code == 401
        signed = {"Cookie": f"{cookie.cookie}={cookie.sign('ada')}"}
        assert (await client.head("/v1/document", headers=signed)).status_code == 200


async def test_what_cannot_be_read_has_no_head_either(open_memory: Memory) -> None:
    async with calling(app_of(open_memory)) as client:
        refused = await client.head("/v1/document/revert")
    assert (refused.status_code, refused.headers["allow"], refused.content) == (405, "POST", b"")


async def test_head_is_counted_as_what_it_is(open_memory: Memory) -> None:
    async with calling(app_of(open_memory)) as client:
        await client.head("/v1/items/a/b")
        assert counts((await client.get("/metrics")).text) == {("HEAD", "/v1/items/{namespace}/{key}", "404"): 1}


def test_a_connection_goes_on_behind_head(memory: Memory) -> None:
    ada = {"Authorization": "Bearer ada"}
    with served(app_of(memory)) as url, closing(HTTPConnection(urlsplit(url).netloc, timeout=30)) as connection:
        connection.connect()
        first = connection.sock
        for method, body in (("HEAD", b""), ("GET", b"{}"), ("HEAD", b""), ("GET", b"{}")):
            connection.request(method, "/v1/document", headers=ada)
            answer = connection.getresponse()
            assert (answer.status, answer.getheader("content-length"), answer.read()) == (200, "2", body)
            assert connection.sock is first


async def test_the_server_goes_on_to_see_head(memory: Memory) -> None:
    seen: list[str] = []

    async def watching(scope: Scope, receive: Receive, send: Send) -> None:
        async def noting(message: Message) -> None:
            seen.append(scope["method"])  # by it servers know that no body follows
            await send(message)

        await app(scope, receive, noting)

    app = app_of(memory)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(watching), base_url=BASE) as client:
        assert (await client.head("/v1/document", headers={"Authorization": "Bearer ada"})).status_code == 200
    assert set(seen) == {"HEAD"}
