"""The app: who may reach it under which name, what every answer says, and what it is not made for."""

import re
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import Response

from http_api import SignedCookie, create_app
from http_api.routes import Plain
from memory_tools.crowd import Crowd
from memory_tools.memory import Memory
from storage.errors import InvalidInput
from tests.http_api.calling import BASE, TOKENS, app_of, calling, code
from tests.mcp_server.serving import Held

OPEN = {"/health", "/metrics", "/docs", "/openapi.json"}
"""The paths that tell nothing of anybody."""


def paths(app: FastAPI) -> list[tuple[str, str]]:
    """Return method and path of every route, with something in the place of each parameter."""
    routes = [(method, route) for route in app.routes for method in getattr(route, "methods", ())]
    return [(method, re.sub(r"\{[a-z_]+\}", "x", route.path)) for method, route in routes]  # type: ignore[attr-defined]


async def test_every_route_but_four_asks_who_is_there(open_memory: Memory) -> None:
    app = app_of(open_memory, session=SignedCookie("s" * 32))
    assert len(paths(app)) > 25
    async with calling(app, None) as client:
        for method, path in paths(app):
            answer = await client.request(method, path)
            if path in OPEN:
                assert answer.status_code == 200
            else:
                assert code(answer) == (401, "unauthenticated"), (method, path)
                assert answer.headers["www-authenticate"] == 'Bearer scope="memory:read"'


async def test_a_route_that_asks_nobody_would_be_found(open_memory: Memory) -> None:
    app = app_of(open_memory)

    @app.get("/leak")
    async def leak() -> dict[str, Any]:
        return {}

    async with calling(app, None) as client:
        unasked = {path for method, path in paths(app) if (await client.request(method, path)).status_code != 401}
    assert unasked - OPEN == {"/leak"}


ALWAYS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
}


async def test_every_answer_tells_browsers_to_keep_and_load_nothing(open_memory: Memory) -> None:
    app = app_of(open_memory)
    asked = [*paths(app), ("GET", "/nothing"), ("POST", "/health"), ("GET", "/v1/items/%ff/x")]
    async with calling(app) as client:
        for method, path in asked:
            headers = (await client.request(method, path)).headers
            assert {name: headers.get(name) for name in ALWAYS} == ALWAYS, (method, path)
            assert headers["content-security-policy"].startswith("default-src 'none';")
            assert ("script-src" in headers["content-security-policy"]) == (path == "/docs")
            assert "server" not in headers
        refused = await client.get("/docs", headers={"Host": "evil.example"})
        assert {name: refused.headers.get(name) for name in ALWAYS} == ALWAYS


HOSTS = [
    ({}, 200),
    ({"Host": "127.0.0.1:8000"}, 200),
    ({"Host": "localhost"}, 200),
    ({"Host": "[::1]:1"}, 200),
    ({"Host": "MEMORY.example.com"}, 200),
    ({"Host": "memory.example.com:8443"}, 200),
    ({"Host": "alias.example:9000"}, 200),
    ({"Host": "alias.example"}, 421),
    ({"Host": "evil.example"}, 421),
    ({"Host": "memory.example.com.evil.example"}, 421),
    ({"Host": "evil.example@127.0.0.1"}, 421),
    ({"Host": ""}, 421),
    ({"Origin": "http://127.0.0.1"}, 200),
    ({"Origin": "https://memory.example.com"}, 200),
    ({"Origin": "https://app.example"}, 200),
    ({"Origin": "http://app.example"}, 403),
    ({"Origin": "https://evil.example"}, 403),
    ({"Origin": "null"}, 403),
    ({"Host": "evil.example", "Origin": "http://evil.example"}, 403),
]


@pytest.mark.parametrize(("headers", "status"), HOSTS, ids=str)
async def test_requests_come_under_a_known_name_and_from_a_known_page(
    open_memory: Memory, headers: Mapping[str, str], status: int
) -> None:
    app = app_of(
        open_memory, url="https://memory.example.com", hosts=["alias.example:9000"], origins=["https://app.example/"]
    )
    async with calling(app) as client:
        for path in ("/docs", "/v1/document", "/nothing"):
            answer = await client.get(path, headers=dict(headers))
            assert answer.status_code == (404 if (status, path) == (200, "/nothing") else status)
            if status != 200:
                assert code(answer) == (status, "access_denied")
            if status == 421:
                assert "--allow-host" in answer.json()["detail"]


async def test_load_balancers_ask_by_address_how_the_server_is(open_memory: Memory) -> None:
    async with calling(app_of(open_memory), None) as client:
        for path in ("/health", "/metrics"):
            for host in ("10.1.2.3:8000", "evil.example", ""):
                assert (await client.get(path, headers={"Host": host})).status_code == 200
                page = {"Host": host, "Origin": f"http://{host}"}
                assert code(await client.get(path, headers=page)) == (403, "access_denied")
            assert code(await client.get(f"{path}/", headers={"Host": "10.1.2.3"})) == (421, "access_denied")


async def test_who_is_one_too_many_is_told_to_come_back(open_memory: Memory) -> None:
    app = app_of(open_memory)
    [crowd] = [each for each in app.user_middleware if each.cls is Crowd]
    crowd.kwargs["most"] = 0
    async with calling(app) as client:
        answer = await client.get("/v1/items")
        assert code(answer) == (503, "overloaded")
        assert answer.headers["retry-after"] == "5"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert [(await client.get(path)).status_code for path in ("/health", "/metrics")] == [200, 200]


async def test_pages_of_other_origins_are_told_nothing_unless_they_are_allowed(open_memory: Memory) -> None:
    preflight = {
        "Origin": "https://app.example",
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "authorization,if-match,idempotency-key",
    }
    async with calling(app_of(open_memory), None) as client:
        closed = await client.options("/v1/items/a/b", headers=preflight)
    assert closed.status_code == 403
    assert not any(name.startswith("access-control") for name in closed.headers)
    async with calling(app_of(open_memory, origins=["https://app.example"]), "ada") as client:
        opened = await client.options("/v1/items/a/b", headers=preflight)
        got = await client.get("/v1/document", headers={"Origin": "https://app.example"})
        other = await client.get("/v1/document", headers={"Origin": "https://evil.example"})
    assert opened.status_code == 200
    assert opened.headers["access-control-allow-origin"] == "https://app.example"
    assert got.headers["access-control-allow-origin"] == "https://app.example"
    assert "ETag" in got.headers["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in got.headers
    assert not any(name.startswith("access-control") for name in other.headers)


async def test_allowed_pages_are_told_what_went_wrong(open_memory: Memory) -> None:
    async def fail(_: Request) -> Response:
        raise ValueError

    router = APIRouter(route_class=Plain)
    router.add_api_route("/fail", fail)
    page = {"Origin": "https://app.example"}
    async with calling(app_of(open_memory, origins=["https://app.example"], routers=[router])) as client:
        for path, status in (("/v1/items/a/%ff", 400), ("/v1/items/a/b", 404), ("/nothing", 404), ("/fail", 500)):
            answer = await client.get(path, headers=page)
            assert answer.status_code == status
            assert answer.headers["access-control-allow-origin"] == "https://app.example"
        elsewhere = await client.get("/v1/items/a/%ff", headers=page | {"Host": "evil.example"})
        assert code(elsewhere) == (421, "access_denied")


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "", "192.0.2.1", "memory.example.com", "127.0.0.1.evil.example"])
def test_without_anybody_to_say_who_asks_an_app_is_for_this_machine_alone(open_memory: Memory, address: str) -> None:
    for options in ({}, {"person": open_memory.of(user="ada")}, {"job_token": "t" * 16}):
        with pytest.raises(InvalidInput, match=r"listen on 127\.0\.0\.1"):
            create_app(open_memory, listens_on=address, **options)  # type: ignore[arg-type]
    create_app(open_memory, listens_on=address, verifiers=[Held(TOKENS)])
    create_app(open_memory, listens_on=address, session=SignedCookie("s" * 32))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"url": "memory.example.com"}, "has a host"),
        ({"url": "https://user@memory.example.com"}, "has a host"),
        ({"url": "ftp://memory.example.com"}, "has a host"),
        ({"origins": ["app.example.com"]}, "a scheme and a host"),
        ({"origins": ["https://"]}, "a scheme and a host"),
        ({"origins": ["https://app.example.com/page"]}, "a scheme and a host"),
        ({"origins": ["https://app.example.com:port"]}, "a scheme and a host"),
        ({"origins": ["https://a.example https://b.example"]}, "a scheme and a host"),
        ({"origins": ["null"]}, "a scheme and a host"),
        ({"origins": ["*"]}, "a scheme and a host"),
        ({"pace": "fast"}, "is no pace"),
        ({"job_token": "short"}, "16 characters"),
        ({"person": "ada", "verifiers": [Held(TOKENS)]}, "either everybody"),
        ({"person": "ada", "session": SignedCookie("s" * 32)}, "either everybody"),
    ],
)
def test_an_app_that_makes_no_sense_is_not_made(open_memory: Memory, options: dict[str, Any], why: str) -> None:
    if "person" in options:
        options = options | {"person": open_memory.of(user="ada")}
    with pytest.raises(InvalidInput, match=why):
        create_app(open_memory, **options)


async def test_without_tokens_other_machines_are_refused_wherever_it_is_served(open_memory: Memory) -> None:
    app = create_app(open_memory)
    transport = httpx.ASGITransport(app, client=("192.0.2.7", 1))
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as elsewhere:
        assert code(await elsewhere.get("/health")) == (403, "access_denied")


async def test_the_app_says_that_it_answers_and_nothing_more(open_memory: Memory) -> None:
    async with calling(app_of(open_memory), None) as client:
        assert (await client.get("/health")).json() == {"status": "ok"}


async def test_the_docs_load_what_the_policy_allows_and_nothing_else(open_memory: Memory) -> None:
    async with calling(app_of(open_memory), None) as client:
        page = await client.get("/docs")
    policy = page.headers["content-security-policy"]
    loaded = re.findall(r'(?:src|href)="(https?:[^"]*)"', page.text)
    assert len(loaded) == 2
    for address in loaded:
        assert any(address.startswith(source) for source in re.findall(r"https://\S+/(?=\s|;)", policy))
    assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]
    assert policy.count("'sha256-") == page.text.count("<script>") == 1
