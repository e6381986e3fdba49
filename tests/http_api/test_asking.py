"""Asking: the pace of one person, the time of one request, and who may set work off."""

import threading
from typing import Any

import pytest
from fastapi import APIRouter

from http_api.asking import Door, Trigger, triggered
from http_api.identity import Asker
from http_api.routes import Plain, add_route
from memory_tools.access import Scope
from memory_tools.memory import Memory, UserMemory
from memory_tools.operation import Effect, Input
from tests.http_api.calling import app_of, calling, code
from tests.telemetry import Heard

TOKEN = "job-token-of-16-or-more"


class Nothing(Input):
    """No members."""


class Someone(Input):
    """A user id, as a path names it."""

    user_id: str


def routed(route: str, act: Any, question: type[Input] = Nothing, **said: Any) -> APIRouter:
    """Return a router of one route."""
    router = APIRouter(route_class=Plain)
    members = {"effect": Effect.READ, "answer": {}, "summary": "Try", "tag": "tests"} | said
    add_route(router, route, "tried", act, question, **members)
    return router


# How fast.
async def test_one_person_asks_at_a_pace_and_does_not_slow_down_another(open_memory: Memory) -> None:
    app = app_of(open_memory, pace="3/hour")
    async with calling(app, "ada") as ada, calling(app, "reader") as again, calling(app, "bob") as bob:
        for _ in range(3):
            assert (await ada.get("/v1/items")).status_code == 200
        for client in (ada, again):  # another token of the same person
            refused = await client.get("/v1/items")
            assert code(refused) == (429, "rate_limited")
            assert int(refused.headers["retry-after"]) == refused.json()["retry_after"] > 0
        assert (await bob.get("/v1/items")).status_code == 200
        assert (await ada.get("/health")).status_code == 200


async def test_a_gateway_asks_at_the_pace_of_each_person(open_memory: Memory) -> None:
    app = app_of(open_memory, pace="1/hour")
    async with calling(app, "gateway") as client:
        for user in ("ada", "bob"):
            assert (await client.get("/v1/items", headers={"Memory-User": user})).status_code == 200
        assert code(await client.get("/v1/items", headers={"Memory-User": "ada"})) == (429, "rate_limited")
        assert code(await client.get("/v1/items")) == (400, "no_identity")
        assert code(await client.get("/v1/items")) == (429, "rate_limited")


@pytest.mark.parametrize(
    ("token", "path", "status"),
    [("gateway", "/v1/items?what=1", 422), ("gateway", "/v1/items", 400), ("only-operator", "/v1/pending", 400)],
)
async def test_what_comes_to_nothing_counts_for_the_token(
    open_memory: Memory, token: str, path: str, status: int
) -> None:
    async with calling(app_of(open_memory, pace="2/hour"), token) as client:
        assert [(await client.get(path)).status_code for _ in range(4)] == [status, status, 429, 429]
        named = await client.get(path, headers={"Memory-User": "ada"})
        assert named.status_code != 429


# How long.
async def test_a_request_that_takes_too_long_is_told_so(open_memory: Memory) -> None:
    released = threading.Event()

    app = app_of(open_memory, routers=[routed("GET /wait", lambda *_: released.wait(60))], seconds=0.2)
    async with calling(app) as client:
        assert code(await client.get("/wait")) == (504, "timed_out")
        released.set()


# Whose.
def shown(person: UserMemory, _: Input) -> Any:
    return person.items.get("whose", "it").value


@pytest.mark.parametrize(
    ("token", "headers", "user", "status"),
    [
        ("ada", {}, "ada", 200),
        ("ada", {}, "bob", 404),
        ("ada", {}, "nobody", 404),
        ("gateway", {}, "ada", 200),
        ("gateway", {"Memory-User": "ada"}, "ada", 200),
        ("gateway", {"Memory-User": "bob"}, "ada", 404),
        ("operator", {}, "bob", 200),
        ("writer", {}, "ada", 403),
    ],
)
async def test_the_user_that_a_path_names_is_who_asks_or_whom_they_act_for(
    memory: Memory, token: str, headers: dict[str, str], user: str, status: int
) -> None:
    for each in ("ada", "bob"):
        memory.of(user=each).items.set("whose", "it", each)

    def whose(_: Door, asker: Asker, ask: Someone) -> UserMemory:
        return asker.person(Scope.READ, ask.user_id)

    router = routed("GET /of/{user_id}", shown, Someone, whose=whose)
    async with calling(app_of(memory, routers=[router]), token, **headers) as client:
        answer = await client.get(f"/of/{user}")
    assert answer.status_code == status
    if status == 200:
        assert answer.json() == user
    elif status == 404:
        assert answer.json()["detail"] == "There is nothing there."


async def test_a_person_that_was_found_without_a_name_belongs_to_the_askers_organization(memory: Memory) -> None:
    person = memory.of(user="ada")
    person.items.set("whose", "it", "ada")
    owner = person._owner
    assert owner is not None
    found = {"default": memory.of_owner(owner, "default"), "acme": memory.of_owner(owner, "acme")}

    def whose(_: Door, asker: Asker, ask: Nothing) -> UserMemory:
        return asker.owned(found["default"], Scope.OPERATE)

    app = app_of(memory, routers=[routed("GET /show", shown, whose=whose)])
    for token, status in (("operator", 200), ("only-operator", 200), ("operator-of-acme", 404), ("ada", 403)):
        async with calling(app, token) as client:
            assert (await client.get("/show")).status_code == status


# What sets work off.
def trigger() -> APIRouter:
    def act(by: Trigger, _: Nothing) -> dict[str, Any]:
        return {"organization": by.organization, "key": by.idempotency_key}

    return routed("POST /go", act, effect=Effect.WRITE, asking=triggered, status=202)


@pytest.mark.parametrize(
    ("token", "said"),
    [
        (TOKEN, (202, None)),
        ("operator", (202, "default")),
        ("operator-of-acme", (202, "acme")),
        ("only-operator", (202, "default")),
    ],
)
async def test_work_is_set_off_by_the_job_token_or_an_operator(open_memory: Memory, token: str, said: Any) -> None:
    app = app_of(open_memory, routers=[trigger()], job_token=TOKEN)
    async with calling(app, token) as client:
        answer = await client.post("/go", headers={"Idempotency-Key": "k"})
    assert (answer.status_code, answer.json()["organization"]) == said
    assert answer.json()["key"] == "k"


@pytest.mark.parametrize(
    ("token", "said"),
    [
        (None, (401, "unauthenticated")),
        ("stranger", (401, "unauthenticated")),
        (TOKEN + "x", (401, "unauthenticated")),
        ("ada", (403, "insufficient_scope")),
        ("gateway", (403, "insufficient_scope")),
    ],
)
async def test_nobody_else_sets_work_off(open_memory: Memory, token: str | None, said: Any) -> None:
    app = app_of(open_memory, routers=[trigger()], job_token=TOKEN)
    async with calling(app, token) as client:
        assert code(await client.post("/go")) == said
    async with calling(app_of(open_memory, routers=[trigger()]), TOKEN) as client:
        assert code(await client.post("/go")) == (401, "unauthenticated")


async def test_the_job_token_opens_no_memory(open_memory: Memory) -> None:
    async with calling(app_of(open_memory, job_token=TOKEN), TOKEN) as client:
        assert code(await client.get("/v1/items")) == (401, "unauthenticated")


async def test_operations_are_observed_without_what_they_say(memory: Memory, heard: Heard) -> None:
    async with calling(app_of(memory)) as client:
        await client.put("/v1/items/a/b", json={"value": "SECRET"})
        await client.get("/v1/items/a/SECRET")
        await client.get("/v1/items?namespace=SECRET")
    spans = [dict(span.attributes or {}) for span in heard.spans]
    names = ["set_memory_item", "get_memory_item", "list_memory_items"]
    assert [span["usermemory.operation"] for span in spans] == names
    assert {span["usermemory.door"] for span in spans} == {"http"}
    assert spans[1]["error.type"] == "not_found"
    assert "SECRET" not in heard.everything()
