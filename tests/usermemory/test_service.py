"""create_service: the HTTP API and MCP in one app, which knows who asks in one way and has one lifespan."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import uuid4

import anyio
import httpx
import pytest
from fastapi import FastAPI
from mcp.client.subscriptions import ResourceUpdated, Subscription
from starlette.requests import Request

from http_api.session import COOKIE, SignedCookie
from mcp_server.places import DOCUMENT, HISTORY, item_uri
from memory_tools.memory import Memory
from storage.database import Database
from storage.errors import InvalidInput
from storage.identity import Identity
from tests.http_api.calling import TOKENS, UNPACED, calling, code
from tests.mcp_server.conftest import ERAS
from tests.mcp_server.serving import MODERN, Caller, Held, bearer, connected, served, texts
from tests.memories import memory_over
from usermemory.serve import create_service

JOBS: Final = "a-token-of-the-jobs"
SECRET: Final = "a secret of thirty-two characters or more"
TONE: Final = "/v1/items/prefs/tone"
NAMED: Final = {"namespace": "prefs", "key": "tone"}
END: Final = item_uri("prefs", "end")

PATIENCE: Final = 30.0
"""Seconds after which an event does not come any more."""


@pytest.fixture
def memory(database: Database) -> Iterator[Memory]:
    yield from memory_over(database, "http")


@pytest.fixture
def operators(operators_database: Database) -> Iterator[Memory]:
    yield from memory_over(operators_database, "http")


def service(memory: Memory, **options: Any) -> FastAPI:
    """Return an app that knows the tokens of the tests."""
    return create_service(memory, **({"verifiers": [Held(TOKENS)], "pace": UNPACED} | options))


@pytest.mark.parametrize("era", ERAS)
async def test_both_doors_know_the_same_person_by_the_same_token(memory: Memory, operators: Memory, era: str) -> None:
    with served(service(memory, operator_memory=operators)) as url:
        async with httpx.AsyncClient(base_url=url, headers=bearer("ada"), trust_env=False) as client:
            assert (await client.put(TONE, json={"value": "warm"})).status_code == 200
            async with connected(f"{url}/mcp", era, **bearer("ada")) as ada:
                read = await ada.call_tool("get_memory_item", NAMED)
                assert read.structured_content is not None
                assert read.structured_content["value"] == "warm"
                await ada.call_tool("set_memory_item", {**NAMED, "value": "cold"})
            assert (await client.get(TONE)).json()["value"] == "cold"
            async with connected(f"{url}/mcp", era, **bearer("bob")) as bob:
                assert (await bob.call_tool("get_memory_item", NAMED)).is_error


async def test_both_doors_count_one_pace(memory: Memory, operators: Memory) -> None:
    with served(service(memory, operator_memory=operators, pace="2/hour")) as url:
        asking = Caller(f"{url}/mcp", headers=bearer("ada"))
        assert texts(asking.call("get_user_memory")) == '{"value":{}}'
        with httpx.Client(base_url=url, headers=bearer("ada"), trust_env=False) as client:
            assert client.get("/v1/items").status_code == 200
            assert client.get("/v1/items").status_code == 429
        assert texts(asking.call("get_user_memory")).startswith("rate_limited: ")
        assert texts(Caller(f"{url}/mcp", headers=bearer("bob")).call("get_user_memory")) == '{"value":{}}'


async def test_who_is_named_by_a_path_or_a_body_has_a_pace_of_their_own(memory: Memory, operators: Memory) -> None:
    messages = {"messages": [{"role": "user", "content": "Hello"}]}
    gateway, operator = bearer("gateway"), bearer("operator")
    async with calling(service(memory, operator_memory=operators, pace="2/hour"), None) as client:
        for user in ("ada", "bob"):
            assert (await client.get(f"/api/user/{user}/memory", headers=gateway)).status_code == 200
            body = {"user_id": user, "content": "Sings."}
            assert (await client.post("/api/v1/memory", json=body, headers=gateway)).status_code == 200
        for path, token in (("/api/user/ada/memory", gateway), ("/v1/items", bearer("ada"))):
            assert code(await client.get(path, headers=token)) == (429, "rate_limited")
        assert (await client.get("/api/user/eve/memory", headers=gateway)).status_code == 200
        for user in ("carol", "dave"):
            begun = {"user_id": user, "name": "call", **messages}
            kept = await client.post("/conversations", json=begun, headers=operator)
            path = f"/conversations/{kept.json()['id']}/messages"
            statuses = [(await client.get(path, headers=operator)).status_code for _ in range(3)]
            assert statuses == [200, 200, 429]


WRITES: Final[list[tuple[str, str, str, Any, dict[str, str]]]] = [
    ("ada", "PUT", TONE, {"value": "warm"}, {"Idempotency-Key": "once"}),
    ("ada", "PATCH", "/v1/document", {"changes": [{"pointer": "/name", "value": "Ada"}]}, {}),
    ("gateway", "PUT", "/v1/items/prefs/tea", {"value": "green"}, {"Memory-User": "ada"}),
    ("gateway", "POST", "/api/user/ada/memory", {"key": "recent", "value": 1}, {}),
    ("operator", "POST", "/v1/items/prefs/books/entries", {"value": "Emma", "keep": 5}, {"Memory-User": "ada"}),
]
"""Whose token changes what of Ada's, each at a place of its own."""


async def test_who_listens_by_mcp_hears_of_their_own_changes_over_http(memory: Memory, operators: Memory) -> None:
    items = [item_uri("prefs", "tea"), item_uri("default", "recent"), item_uri("prefs", "books")]
    told = [item_uri(**NAMED), DOCUMENT, HISTORY, *items]
    for_ada = {"Memory-User": "ada"}
    with served(service(memory, operator_memory=operators)) as url:
        async with (
            connected(f"{url}/mcp", MODERN, **bearer("ada")) as ada,
            connected(f"{url}/mcp", MODERN, **bearer("bob")) as bob,
            ada.listen(resource_subscriptions=[*told, END]) as hers,
            bob.listen(resource_subscriptions=[*told, END]) as his,
            httpx.AsyncClient(base_url=url, trust_env=False) as client,
        ):

            async def heard_of(*writes: tuple[str, str, str, Any, dict[str, str]]) -> tuple[list[str], list[str]]:
                end = ("PUT", "/v1/items/prefs/end", {"value": 1}, {})
                for token, method, path, body, headers in (*writes, ("ada", *end), ("bob", *end)):
                    answer = await client.request(method, path, json=body, headers=bearer(token) | headers)
                    assert answer.status_code == 200, (method, path, answer.text)
                return await heard(hers), await heard(his)

            assert await heard_of(*WRITES) == (told, [])
            assert await heard_of(*WRITES[:2], ("ada", "GET", TONE, None, {})) == ([], []), "nothing has changed"
            assert await heard_of(("ada", "DELETE", TONE, None, {})) == ([item_uri(**NAMED)], [])
            reverted = ("operator", "POST", "/v1/document/revert", {"version": 0}, for_ada)
            assert await heard_of(reverted) == ([DOCUMENT, HISTORY], [])


async def heard(subscription: Subscription) -> list[str]:
    """Return which places were told of, up to the one that is changed last."""
    told: list[str] = []
    with anyio.fail_after(PATIENCE):
        async for event in subscription:
            assert isinstance(event, ResourceUpdated)
            if event.uri == END:
                break
            told.append(event.uri)
    return told


@pytest.mark.parametrize("said", [bearer("ada"), {"Authorization": "bearer"}, {"Memory-User": "bob"}], ids=str)
async def test_where_everybody_is_one_person_neither_door_takes_another_name(
    memory: Memory, said: dict[str, str]
) -> None:
    with served(service(memory, verifiers=[], person=memory.of(user="eve"))) as url:
        asking = Caller(f"{url}/mcp", headers=said)
        with httpx.Client(base_url=url, headers=said, trust_env=False) as client:
            refused = client.get("/v1/items")
            told = asking.call("get_user_memory")
            assert (refused.status_code, refused.json()["code"]) == (told.status_code, told.json()["error"]["code"])
            assert refused.status_code in (401, 403)
            assert {"www-authenticate"} <= refused.headers.keys() & told.headers.keys()
        assert texts(Caller(f"{url}/mcp").call("get_user_memory")) == '{"value":{}}'


async def test_every_api_is_there(memory: Memory, operators: Memory) -> None:
    app = service(memory, operator_memory=operators, job_token=JOBS)
    async with calling(app) as client:
        for path in ("/health", "/metrics", "/docs", "/openapi.json", "/v1/items"):
            assert (await client.get(path)).status_code == 200, path
        assert (await client.get("/api/user/ada/memory")).json()["data"] == []
        assert (await client.get("/api/v1/memory/ada")).json() == {"status": "ok", "memory": None}
        assert code(await client.get("/mcp")) == (405, "method_not_allowed")
        assert code(await client.get("/nowhere")) == (404, "not_found")
        begun = await client.post("/tasks/trigger-memory-generation", headers=bearer(JOBS))
        assert begun.status_code == 202
        paths = (await client.get("/openapi.json")).json()["paths"].keys()
    assert paths >= {
        "/api/user/{user_id}/memory",
        "/api/v1/memory",
        "/api/v1/memory/{user_id}",
        "/conversations/{conversation_id}/messages",
        "/memories",
        "/tasks/trigger-memory-generation",
        "/api/cron/memory-update",
        "/v1/activity",
    }


async def test_sessions_alone_serve_no_mcp_clients(memory: Memory) -> None:
    cookie = SignedCookie(SECRET)
    app = create_service(memory, session=cookie)
    async with calling(app, None, Cookie=f"{COOKIE}={cookie.sign('ada')}") as client:
        assert (await client.get("/v1/items")).status_code == 200
        assert code(await client.post("/mcp", json={})) == (404, "not_found")
    both = service(memory, session=cookie)
    async with calling(both, None, Cookie=f"{COOKIE}={cookie.sign('ada')}", Origin="http://127.0.0.1") as client:
        assert (await client.put(TONE, json={"value": 1})).status_code == 200
        assert (await client.post("/mcp", json={})).status_code == 401


async def test_a_host_has_the_whole_service_inside_its_own_app_with_its_own_sessions(memory: Memory) -> None:
    def signed_in(request: Request) -> Identity | None:
        return Identity.of(user=request.headers["x-user"]) if "x-user" in request.headers else None

    inner = service(memory, session=signed_in)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with inner.router.lifespan_context(inner):
            yield

    host = FastAPI(lifespan=lifespan)
    host.mount("/memory", inner)
    with served(host) as url:
        said = {"X-User": "ada", "Origin": url}
        async with httpx.AsyncClient(base_url=f"{url}/memory", trust_env=False) as client:
            assert (await client.put(TONE, json={"value": "warm"}, headers=said)).status_code == 200
            assert (await client.get(TONE)).status_code == 401
            assert '"/memory/openapi.json"' in (await client.get("/docs")).text.replace("'", '"')
            description = (await client.get("/openapi.json")).json()
            assert description["servers"] == [{"url": "/memory"}]
            assert description["components"]["securitySchemes"].keys() == {"bearer"}
            elsewhere = {"Host": "10.1.2.3"}
            assert (await client.get("/health", headers=elsewhere)).status_code == 200
            assert (await client.get("/docs", headers=elsewhere)).status_code == 421
        async with connected(f"{url}/memory/mcp", ERAS[0], **bearer("ada")) as ada:
            assert not (await ada.call_tool("get_memory_item", NAMED)).is_error


async def test_what_needs_the_workers_url_says_so_where_there_is_none(memory: Memory, operators: Memory) -> None:
    some = f"/conversations/{uuid4()}"
    said = {"memory_data": {}, "conversation_id": str(uuid4())}
    messages = {"messages": [{"role": "user", "content": "Hello"}]}
    asked: list[tuple[str, str, Any]] = [
        ("POST", "/tasks/trigger-memory-generation", None),
        ("POST", "/api/cron/memory-update", None),
        ("GET", f"/tasks/batches/{uuid4()}", None),
        ("GET", f"{some}/messages", None),
        ("POST", f"{some}/messages", messages),
        ("GET", f"{some}/memory", None),
        ("POST", "/memories", said),
        ("PUT", "/v1/configuration", {"configuration": {}}),
        ("DELETE", "/v1/configuration", None),
    ]
    async with calling(service(memory), "operator") as client:
        for method, path, body in asked:
            answer = await client.request(method, path, json=body)
            if memory.database.on_postgresql:
                assert code(answer) == (503, "unsafe_role"), (method, path)
                assert "--worker-database" in answer.json()["detail"]
            else:
                assert answer.status_code in (200, 202, 404), (method, path)
        begun = await client.post("/conversations", json={"user_id": "ada", "name": "x", **messages})
        assert begun.status_code == 200, "the person is named, so it needs nothing else"
    async with calling(service(memory, operator_memory=operators), "operator") as client:
        for method, path, body in asked:
            assert (await client.request(method, path, json=body)).status_code in (200, 202, 404), (method, path)


async def test_pages_of_other_origins_may_ask_only_where_that_was_said(memory: Memory) -> None:
    page = "https://app.example.com"
    wanted = {
        "Origin": page,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,mcp-protocol-version,mcp-method,mcp-name",
    }
    async with calling(service(memory, origins=[page]), None) as client:
        for path in ("/v1/items", "/mcp"):
            allowed = await client.options(path, headers=wanted)
            assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, page), path
    async with calling(service(memory), None) as client:
        for path in ("/v1/items", "/mcp"):
            assert "access-control-allow-origin" not in (await client.options(path, headers=wanted)).headers


def test_what_would_let_anybody_in_is_no_service(memory: Memory) -> None:
    ada = memory.of(user="ada")
    for options in (
        {"listens_on": "0.0.0.0"},
        {"listens_on": "0.0.0.0", "person": ada},
        {"person": ada, "session": SignedCookie(SECRET)},
        {"person": ada, "verifiers": [Held(TOKENS)]},
        {"verifiers": [Held(TOKENS)], "job_token": "short"},
        {"verifiers": [Held(TOKENS)], "authorization_servers": ["https://login.example.com"]},
    ):
        with pytest.raises(InvalidInput):
            create_service(memory, **options)
