"""Identity: who asks by which credential, and whose memory they reach by it."""

import asyncio
import logging
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from http_api import SignedCookie, create_app
from http_api.session import COOKIE
from http_api.user_items import user_items_router
from memory_tools.access import Principal
from memory_tools.memory import Memory
from storage.identity import Identity
from tests.http_api.calling import BASE, app_of, calling, code
from tests.mcp_server.serving import Held

SESSION = SignedCookie("s" * 32)


def cookie(user: str, organization: str = "default") -> dict[str, str]:
    return {"Cookie": f"{COOKIE}={SESSION.sign(user, organization)}"}


ORIGIN = {"Origin": BASE}


@pytest.fixture
def known(memory: Memory) -> Memory:
    """A memory of ada, bob, a caller, and ada of acme, each with an item that says whose it is."""
    people = {
        "ada": memory.of(user="ada"),
        "bob": memory.of(user="bob"),
        "the caller": memory.of(phone="+12025550123"),
        "ada of acme": memory.of(organization="acme", user="ada"),
    }
    for name, person in people.items():
        person.items.set("whose", "it", name)
    return memory


USER, PHONE, ORGANIZATION = "Memory-User", "Memory-Phone", "Memory-Organization"

REACHED: list[tuple[str | None, dict[str, str], Any]] = [
    ("ada", {}, "ada"),
    ("bob", {}, "bob"),
    ("reader", {}, "ada"),
    ("gateway", {USER: "ada"}, "ada"),
    ("gateway", {USER: "bob"}, "bob"),
    ("gateway", {PHONE: "%2B12025550123"}, "the caller"),
    ("gateway", {USER: "ada", ORGANIZATION: "default"}, "ada"),
    ("operator", {USER: "ada"}, "ada"),
    ("operator-of-acme", {USER: "ada"}, "ada of acme"),
    (None, cookie("ada"), "ada"),
    (None, cookie("bob"), "bob"),
    (None, cookie("ada", "acme"), "ada of acme"),
    ("bob", cookie("ada"), "bob"),
    (None, {"Authorization": "Basic YTpi"} | cookie("ada"), "ada"),
]


@pytest.mark.parametrize(("token", "headers", "reached"), REACHED, ids=str)
async def test_each_credential_reaches_the_memory_of_its_person(
    known: Memory, token: str | None, headers: dict[str, str], reached: str
) -> None:
    async with calling(app_of(known, session=SESSION), token, **headers) as client:
        answer = await client.get("/v1/items/whose/it")
    assert answer.json()["value"] == reached


NOBODY = (401, "unauthenticated")
LESS = (403, "insufficient_scope")

REFUSED: list[tuple[str | None, dict[str, str], tuple[int, str]]] = [
    (None, {}, NOBODY),
    ("stranger", {}, NOBODY),
    ("", {}, NOBODY),
    ("x" * 9_000, {}, NOBODY),
    (None, {"Authorization": "ada"}, NOBODY),
    (None, {"Authorization": "Basic YTpi"}, NOBODY),
    (None, {"Cookie": f"{COOKIE}=forged"}, NOBODY),
    (None, {"Cookie": f"{cookie('ada')['Cookie']}; {cookie('bob')['Cookie']}"}, NOBODY),
    ("stranger", cookie("ada"), NOBODY),
    (None, {USER: "%FF"}, NOBODY),
    ("stranger", {USER: "ada", "Memory-Phone-Verified": "yes"}, NOBODY),
    ("writer", {}, LESS),
    ("only-operator", {USER: "ada"}, LESS),
    ("ada", {USER: "bob"}, LESS),
    ("ada", {USER: "ada"}, LESS),
    ("ada", {ORGANIZATION: "acme"}, LESS),
    ("gateway", {USER: "ada", ORGANIZATION: "acme"}, LESS),
    ("operator", {USER: "ada", ORGANIZATION: "acme"}, LESS),
    (None, {USER: "bob"} | cookie("ada"), LESS),
    ("gateway", {}, (400, "no_identity")),
    ("operator", {}, (400, "no_identity")),
    ("gateway", {USER: ""}, (400, "invalid_identity")),
    ("gateway", {USER: "%FF"}, (400, "invalid_identity")),
    ("gateway", {USER: "ada%00"}, (400, "invalid_identity")),
    ("gateway", {USER: "ada", "Memory-Phone-Verified": "yes"}, (400, "invalid_identity")),
]


@pytest.mark.parametrize(("token", "headers", "said"), REFUSED, ids=str)
async def test_whoever_is_not_known_or_names_whom_they_may_not_reaches_nothing(
    known: Memory, token: str | None, headers: dict[str, str], said: tuple[int, str]
) -> None:
    async with calling(app_of(known, session=SESSION), token, **headers) as client:
        answer = await client.get("/v1/items/whose/it")
    assert code(answer) == said
    assert "whose" not in answer.text
    if said[0] == 401 or said[1] == "insufficient_scope":
        assert answer.headers["www-authenticate"].startswith("Bearer ")


async def test_a_request_with_two_tokens_is_nobodys(open_memory: Memory) -> None:
    async with calling(app_of(open_memory), None) as client:
        headers = [("Authorization", "Bearer ada"), ("Authorization", "Bearer bob")]
        assert code(await client.get("/v1/document", headers=headers)) == NOBODY
        headers = [("Authorization", "Bearer ada"), ("Authorization", "Basic YTpi")]
        assert code(await client.get("/v1/document", headers=headers)) == NOBODY


async def test_a_token_for_nothing_but_reading_writes_nothing(memory: Memory) -> None:
    async with calling(app_of(memory), "reader") as client:
        answer = await client.put("/v1/items/a/b", json={"value": 1})
        assert code(answer) == LESS
        assert answer.json()["scope"] == "memory:write"
        assert code(await client.delete("/v1/items/a/b")) == LESS
    async with calling(app_of(memory), "writer") as client:
        assert (await client.put("/v1/items/a/b", json={"value": 1})).status_code == 200


@pytest.mark.parametrize(
    ("token", "status"), [("ada", 403), ("gateway", 403), ("operator", 200), ("only-operator", 200)]
)
async def test_what_only_operators_may_needs_their_scope(open_memory: Memory, token: str, status: int) -> None:
    headers = {} if token == "ada" else {USER: "ada"}
    async with calling(app_of(open_memory), token, **headers) as client:
        assert (await client.get("/v1/conversations")).status_code == status
        assert (await client.get("/v1/pending")).status_code == status


@pytest.mark.parametrize(
    ("token", "headers", "actor"),
    [
        ("ada", {}, "agent"),
        ("gateway", {USER: "ada"}, "agent"),
        ("operator", {USER: "ada"}, "operator"),
        (None, cookie("ada") | ORIGIN, "user"),
    ],
)
async def test_a_change_says_who_made_it(
    memory: Memory, token: str | None, headers: dict[str, str], actor: str
) -> None:
    async with calling(app_of(memory, session=SESSION), token, **headers) as client:
        change = {"changes": [{"pointer": "/summary", "value": "Ada sings."}]}
        assert (await client.patch("/v1/document", json=change)).json()["status"] == "saved"
        [entry] = (await client.get("/v1/document/history")).json()["entries"]
    assert (entry["provenance"]["actor"], entry["provenance"]["through"]) == (actor, "http")


WRITES = [
    ({}, 403),
    (ORIGIN, 200),
    ({"Origin": "https://127.0.0.1"}, 200),
    ({"Origin": "http://127.0.0.1:80"}, 403),
    ({"Origin": "http://evil.example"}, 403),
    ({"Origin": "null"}, 403),
    ({"Origin": ""}, 403),
    ({"Sec-Fetch-Site": "same-origin"}, 200),
    ({"Sec-Fetch-Site": "same-site"}, 403),
    ({"Sec-Fetch-Site": "cross-site"}, 403),
    ({"Sec-Fetch-Site": "none"}, 403),
    ({"Origin": "http://evil.example", "Sec-Fetch-Site": "same-origin"}, 403),
]


@pytest.mark.parametrize(("headers", "status"), WRITES, ids=str)
async def test_a_change_by_cookie_comes_from_a_page_of_this_server(
    memory: Memory, headers: dict[str, str], status: int
) -> None:
    app = app_of(memory, session=SESSION)
    async with calling(app, None, **cookie("ada"), **headers) as client:
        answer = await client.put("/v1/items/a/b", json={"value": 1})
        assert answer.status_code == status
        assert len(memory.of(user="ada").items.all().entries) == (status == 200)
        assert (await client.delete("/v1/items/a/b")).status_code == status
    async with calling(app, "ada", **cookie("ada")) as client:  # with a token no page can have sent it
        assert (await client.put("/v1/items/a/b", json={"value": 1})).status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
async def test_a_change_by_cookie_is_no_form(memory: Memory, kind: str) -> None:
    async with calling(app_of(memory, session=SESSION), None, **cookie("ada"), **ORIGIN) as client:
        answer = await client.put("/v1/items/a/b", content='{"value":1}', headers={"Content-Type": kind})
    assert code(answer) == (415, "unsupported_media_type")
    assert memory.of(user="ada").items.all().entries == ()


async def test_a_host_may_know_sessions_in_its_own_way(open_memory: Memory) -> None:
    def plain(request: Request) -> Identity | None:
        asyncio.new_event_loop().close()  # it may block: it is in a thread
        return Identity.of(user="ada") if request.headers.get("x-user") == "ada" else None

    async def waiting(request: Request) -> Identity | None:
        await asyncio.sleep(0)
        return plain(request)

    class Callable:
        async def __call__(self, request: Request) -> Identity | None:
            return plain(request)

    open_memory.of(user="ada").items.set("whose", "it", "ada")
    for session in (plain, waiting, Callable()):
        app = create_app(open_memory, session=session)
        async with calling(app, None) as client:
            assert code(await client.get("/v1/items/whose/it")) == NOBODY
            answer = await client.get("/v1/items/whose/it", headers={"X-User": "ada"})
            assert answer.json()["value"] == "ada"


async def test_where_nobody_can_say_who_asks_nothing_is_told(
    open_memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: Request) -> Identity | None:
        raise ValueError("SECRET")

    def wrong(_: Request) -> Any:
        return "ada"

    class Broken:
        def verify(self, token: str) -> Principal | None:
            raise ValueError(token)

    with caplog.at_level(logging.DEBUG):
        for session in (broken, wrong):
            async with calling(create_app(open_memory, session=session), None) as client:
                assert code(await client.get("/v1/document")) == (503, "database_unavailable")
        async with calling(create_app(open_memory, verifiers=[Broken()]), "SECRET") as client:
            assert code(await client.get("/v1/document")) == (503, "database_unavailable")
    assert "SECRET" not in caplog.text


async def test_where_an_app_belongs_to_a_person_everybody_here_is_that_person(memory: Memory) -> None:
    person = memory.of(user="ada")
    app = create_app(memory, person=person)
    person.items.set("whose", "it", "ada")
    async with calling(app, None) as client:
        assert (await client.get("/v1/items/whose/it")).json()["value"] == "ada"
        assert code(await client.get("/v1/items/whose/it", headers={USER: "bob"})) == LESS
        assert code(await client.get("/v1/conversations")) == LESS
    transport = httpx.ASGITransport(app, client=("192.0.2.7", 1))
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as elsewhere:
        assert code(await elsewhere.get("/v1/items/whose/it")) == (403, "access_denied")


@pytest.mark.parametrize("token", ["ada", "bob", "stranger", "", "a token of the jobs"])
async def test_where_an_app_belongs_to_a_person_a_token_means_somebody_else(memory: Memory, token: str) -> None:
    person = memory.of(user="ada")
    app = create_app(memory, person=person, job_token="a token of the jobs")
    async with calling(app, token) as client:
        for answer in (await client.get("/v1/items"), await client.put("/v1/items/a/b", json={"value": 1})):
            assert code(answer) == NOBODY
            assert "knows no tokens" in answer.json()["detail"]
            assert answer.headers["www-authenticate"].startswith("Bearer ")
    assert person.items.all().entries == ()


async def test_where_memory_is_switched_off_nobody_reaches_any(memory: Memory, operator_memory: Memory) -> None:
    memory.of(user="ada").items.set("whose", "it", "ada")
    operator_memory.configurations.set({"enabled": False})
    async with calling(app_of(memory)) as client:
        assert code(await client.get("/v1/items/whose/it")) == (403, "memory_disabled")
        assert code(await client.put("/v1/items/a/b", json={"value": 1})) == (403, "memory_disabled")


async def test_many_who_ask_at_once_are_never_taken_for_one_another(known: Memory) -> None:
    app = app_of(known, session=SESSION)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:

        async def reached(number: int) -> bool:
            who = ("ada", "bob")[number % 2]
            headers = {"Authorization": f"Bearer {who}"} if number % 3 else cookie(who)
            return bool((await client.get("/v1/items/whose/it", headers=headers)).json()["value"] == who)

        assert all(await asyncio.gather(*map(reached, range(120))))


@pytest.mark.parametrize(
    ("path", "headers"), [("/v1/items", {USER: "ada"}), ("/api/user/ada/memory", {})], ids=["named", "by the path"]
)
async def test_an_operator_and_the_person_do_not_slow_each_other_down(
    known: Memory, path: str, headers: dict[str, str]
) -> None:
    app = app_of(known, pace="2/hour", routers=[user_items_router()])
    async with calling(app, "operator", **headers) as operator, calling(app, "ada") as ada:
        assert [(await operator.get(path)).status_code for _ in range(3)] == [200, 200, 429]
        assert [(await ada.get("/v1/items")).status_code for _ in range(3)] == [200, 200, 429]
        other = {} if not headers else {USER: "bob"}
        assert (await operator.get(path.replace("ada", "bob"), headers=other)).status_code == 200


def test_a_planted_mix_up_would_be_found() -> None:
    """The tokens of the tests are of different people."""
    held = Held({"ada": Principal("x", "default", frozenset(), Identity.of(user="bob"))})
    assert held.verify("ada") is not None
    assert held.verify("bob") is None
