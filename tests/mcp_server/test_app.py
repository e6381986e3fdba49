import itertools
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import pytest
from mcp.server import MCPServer
from starlette.applications import Starlette
from starlette.routing import Mount

from mcp_server import create_app, create_server
from memory_tools.memory import Memory, UserMemory
from storage.errors import InvalidInput
from tests.mcp_server.conftest import ERAS, UNPACED
from tests.mcp_server.serving import Caller, Held, bearer, connected, holder, request, served, texts

ISSUER: Final = "https://login.example.com"
URL: Final = "https://memory.example.com/mcp"


@contextmanager
def own_server(memory: Memory, host: str = "127.0.0.1") -> Iterator[str]:
    """Serve ada's memory to whoever is on this machine."""
    with served(create_app(create_server(memory, person=memory.of(user="ada")), memory, listens_on=host), host) as url:
        yield url


async def test_a_client_of_either_era_reads_and_writes(server: MCPServer[Any], memory: Memory, era: str) -> None:
    with served(create_app(server, memory)) as url:
        async with connected(f"{url}/mcp", era) as client:
            assert (await client.list_tools()).tools[0].name == "get_user_memory"
            kept = {"namespace": "prefs", "key": "tone", "value": "warm"}
            assert not (await client.call_tool("set_memory_item", kept)).is_error
            read = await client.read_resource("memory://me/items/prefs/tone")
    assert read.contents[0].text == '"warm"'  # type: ignore[union-attr]
    assert memory.of(user="ada").items.get("prefs", "tone").value == "warm"


@pytest.mark.parametrize("era", ERAS)
def test_answers_are_json_and_no_session_is_kept(open_memory: Memory, era: str) -> None:
    with own_server(open_memory) as url:
        response = Caller(f"{url}/mcp", era).call("get_user_memory")
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    assert "mcp-session-id" not in response.headers
    assert "server" not in response.headers
    assert json.loads(texts(response)) == {"value": {}}


def test_one_path_speaks_the_protocol_and_takes_post_alone(open_memory: Memory) -> None:
    with own_server(open_memory) as url, httpx.Client(verify=False, trust_env=False) as client:
        for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
            answer = client.request(method, f"{url}/mcp", headers={"Accept": "text/event-stream"})
            assert (method, answer.status_code, answer.headers["allow"]) == (method, 405, "POST")


def test_nothing_else_is_there(open_memory: Memory) -> None:
    elsewhere = (
        "/",
        "/mcp/",
        "//mcp",
        "/MCP",
        "/mcp/messages",
        "/sse",
        "/docs",
        "/openapi.json",
        "/health/",
        "/%6dcp/x",
    )
    with own_server(open_memory) as url, httpx.Client(verify=False, trust_env=False) as client:
        for path, method in itertools.product(elsewhere, ("GET", "POST")):
            answer = client.request(method, f"{url}{path}")
            assert (path, answer.status_code, answer.text) == (path, 404, "Not Found")


def test_health_says_ok_and_no_more(open_memory: Memory) -> None:
    with own_server(open_memory) as url:
        answer = httpx.get(f"{url}/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert set(answer.headers) == {"date", "content-length", "content-type"}


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "", "192.168.1.7", "memory.lan", "127.0.0.1.evil.example"])
def test_without_tokens_nobody_listens_beyond_loopback(open_memory: Memory, address: str) -> None:
    server = create_server(open_memory, person=open_memory.of(user="ada"))
    with pytest.raises(InvalidInput, match="without tokens everybody who reaches"):
        create_app(server, open_memory, listens_on=address)
    create_app(server, open_memory, listens_on=address, verifiers=[Held({})])


async def test_without_tokens_other_machines_are_refused_wherever_the_app_is_served(open_memory: Memory) -> None:
    app = create_app(create_server(open_memory, person=open_memory.of(user="ada")), open_memory)
    headers, message = request("2026-07-28", "tools/call", {"name": "get_user_memory", "arguments": {}})

    async def asked_from(address: str) -> httpx.Response:
        transport = httpx.ASGITransport(app, client=(address, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8365") as client:
            return await client.post("/mcp", headers=headers, json=message)

    async with app.router.lifespan_context(app):
        assert (await asked_from("192.0.2.7")).status_code == 403
        assert (await asked_from("127.0.0.1")).status_code == 200


def test_a_token_where_none_counts_is_refused(open_memory: Memory) -> None:
    with own_server(open_memory) as url:
        answer = Caller(f"{url}/mcp", headers=bearer("anything")).call("get_user_memory")
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthenticated")


async def test_an_app_can_be_mounted_under_a_prefix(memory: Memory, person: UserMemory, era: str) -> None:
    person.items.set("prefs", "tone", "warm")
    server = create_server(memory, pace=UNPACED)
    url = "http://127.0.0.1/memory/mcp"
    tokens = Held({"a": holder("ada")})
    app = create_app(server, memory, verifiers=[tokens], url=url, authorization_servers=[ISSUER])
    parent = Starlette(routes=[Mount("/memory", app)], lifespan=lambda _: app.router.lifespan_context(app))  # type: ignore[arg-type]
    with served(parent) as base, httpx.Client(verify=False, trust_env=False) as client:
        async with connected(f"{base}/memory/mcp", era, **bearer("a")) as connection:
            found = await connection.call_tool("get_memory_item", {"namespace": "prefs", "key": "tone"})
        challenge = client.post(f"{base}/memory/mcp").headers["www-authenticate"]
        at = urlsplit(challenge.partition('resource_metadata="')[2].rstrip('"')).path
        described = client.get(base + at)
    assert found.structured_content is not None
    assert found.structured_content["value"] == "warm"
    assert described.json()["resource"] == url


def test_tools_of_a_host_are_offered_beside_ours(open_memory: Memory) -> None:
    server = create_server(open_memory, person=open_memory.of(user="ada"))
    server.add_tool(lambda: "pong", name="ping_host", description="Answer.")
    with served(create_app(server, open_memory)) as url:
        assert texts(Caller(f"{url}/mcp").call("ping_host")) == "pong"


@pytest.mark.parametrize(
    "url",
    [
        "memory.example.com",
        "ftp://memory.example.com/mcp",
        "https:///mcp",
        "https://memory.example.com:port/mcp",
        "https://memory.example.com/mcp#part",
        "https://memory.example.com/mcp?token=1",
        "https://ada:secret@memory.example.com/mcp",
        'https://memory.example.com/mcp", scope="everything',
        "https://memory.example.com/m cp",
        "https://memory.example.com/\r\nX: y",
        "https://memory.exämple.com/mcp",
    ],
)
def test_an_address_that_is_none_is_refused(open_memory: Memory, url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        create_app(create_server(open_memory), open_memory, verifiers=[Held({})], url=url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "origin",
    ["app.example.com", "https://", "https://app.example.com/page", "https://a.example https://b.example", "*"],
)
def test_an_origin_that_is_none_is_refused(open_memory: Memory, origin: str) -> None:
    with pytest.raises(InvalidInput, match="an origin is a scheme and a host"):
        create_app(create_server(open_memory), open_memory, verifiers=[Held({})], origins=[origin])


@pytest.mark.parametrize("path", ["/mcp", "/nowhere"])
def test_a_body_that_never_ends_is_cut_off(open_memory: Memory, path: str) -> None:
    said = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    megabyte = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    with own_server(open_memory) as url:
        parts = urlsplit(url)
        with socket.create_connection((parts.hostname, parts.port), timeout=60) as connection:
            connection.sendall(said.encode())
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                connection.sendall(100 * megabyte)


def test_clients_have_to_know_what_they_get_tokens_for(open_memory: Memory) -> None:
    with pytest.raises(InvalidInput, match="say the url"):
        create_app(create_server(open_memory), open_memory, verifiers=[Held({})], authorization_servers=[ISSUER])
