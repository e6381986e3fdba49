"""The routes of seed 000: whose values they are, what is refused, and what an operator may do with them."""

from typing import Any, Final

import pytest
from fastapi import FastAPI

from http_api.user_items import VALUES_AT_ONCE, user_items_router
from memory_tools.memory import Memory
from storage.limits import ITEM_LIMIT, NAME_LIMIT, PAGE_LIMIT
from tests.http_api.calling import app_of, calling, code

ADA: Final = "/api/user/ada/memory"
BOB: Final = "/api/user/bob/memory"


@pytest.fixture
def app(memory: Memory) -> FastAPI:
    return app_of(memory, routers=[user_items_router()])


async def test_a_value_is_kept_listed_and_deleted_as_the_seed_says(app: FastAPI) -> None:
    recent = {"namespace": "icebreakers", "key": "recent", "value": ["suggestion1", "suggestion2"]}
    async with calling(app) as client:
        kept = (await client.post(ADA, json=recent)).json()["data"]
        assert kept.items() >= {"userId": "ada", "version": 1, **recent}.items()
        assert (await client.get(ADA, params={"namespace": "icebreakers"})).json() == {"data": [kept], "next": None}
        again = (await client.post(ADA, json=recent | {"value": None})).json()["data"]
        assert (again["version"], again["value"], again["createdAt"]) == (2, None, kept["createdAt"])
        deleted = await client.delete(ADA, params={"namespace": "icebreakers", "key": "recent"})
        assert deleted.json() == {"data": {"deleted": 1}}
        assert (await client.get(ADA, params={"namespace": "icebreakers"})).json()["data"] == []
        gone = await client.delete(ADA, params={"namespace": "icebreakers", "key": "recent"})
        assert code(gone) == (404, "not_found")


@pytest.mark.parametrize("left_out", [{}, {"namespace": None}])
async def test_a_namespace_that_is_left_out_is_the_default_one(app: FastAPI, left_out: dict[str, Any]) -> None:
    async with calling(app) as client:
        assert (await client.post(ADA, json={"key": "tone", "value": 1, **left_out})).json()["data"][
            "namespace"
        ] == "default"
        for params in ({}, {"namespace": "default"}):
            assert [row["key"] for row in (await client.get(ADA, params=params)).json()["data"]] == ["tone"]
        assert (await client.delete(ADA, params={"key": "tone"})).status_code == 200


async def test_a_namespace_comes_whole_to_whoever_does_not_ask_for_pages(app: FastAPI, memory: Memory) -> None:
    keys = [f"k{number:04}" for number in range(VALUES_AT_ONCE + 1)]
    with memory.of(user="ada").begin() as stores:
        for key in keys:
            stores.items.set("default", key, 1)
        stores.items.set("prefs", "tone", "warm")
    async with calling(app) as client:
        whole = (await client.get(ADA)).json()
        assert [row["key"] for row in whole["data"]] == keys[:-1]
        rest = (await client.get(ADA, params={"after": whole["next"]})).json()
        assert ([row["key"] for row in rest["data"]], rest["next"]) == (keys[-1:], None)
        assert (await client.delete(ADA, params={"key": keys[0]})).status_code == 200
        rest = (await client.get(ADA)).json()
        assert ([row["key"] for row in rest["data"]], rest["next"]) == (keys[1:], None)
        for params in ({"limit": PAGE_LIMIT}, {"after": keys[1]}):
            assert len((await client.get(ADA, params=params)).json()["data"]) == PAGE_LIMIT
    async with calling(app, "operator") as client:
        everything = (await client.get(ADA, params={"all": "true"})).json()
        assert [row["key"] for row in everything["data"]] == keys[1:]
        rest = (await client.get(ADA, params={"all": "true", "after": everything["next"]})).json()
        assert [(row["namespace"], row["key"]) for row in rest["data"]] == [("prefs", "tone")]


async def test_a_long_namespace_comes_in_pages(app: FastAPI) -> None:
    async with calling(app) as client:
        for number in range(5):
            await client.post(ADA, json={"key": f"k{number}", "value": number})
        first = (await client.get(ADA, params={"limit": 3})).json()
        rest = (await client.get(ADA, params={"limit": 3, "after": first["next"]})).json()
    assert [row["value"] for row in first["data"] + rest["data"]] == [0, 1, 2, 3, 4]
    assert rest["next"] is None


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"key": "", "value": 1}, (422, "invalid_name")),
        ({"key": "k" * (NAME_LIMIT + 1), "value": 1}, (422, "invalid_name")),
        ({"key": "a\u200bb", "value": 1}, (422, "invalid_name")),
        ({"key": "k", "value": 1, "namespace": ""}, (422, "invalid_name")),
        ({"key": "k", "value": "x" * ITEM_LIMIT}, (413, "too_large")),
        ({"key": "k"}, (422, "invalid_input")),
        ({"value": 1}, (422, "invalid_input")),
        ({"key": 7, "value": 1}, (422, "invalid_input")),
        ({"key": "k", "value": 1, "user_id": "ada"}, (422, "invalid_input")),
        ({"key": "k", "value": 1, "userId": "bob"}, (422, "invalid_input")),
    ],
    ids=str,
)
async def test_what_the_seed_forbids_is_refused_and_nothing_is_kept(
    app: FastAPI, memory: Memory, body: dict[str, Any], said: tuple[int, str]
) -> None:
    async with calling(app) as client:
        assert code(await client.post(ADA, json=body)) == said
    assert memory.of(user="ada").items.all().entries == ()


@pytest.mark.parametrize(
    "text", ['{"key":"k","value":NaN}', '{"key":"k","value":"\\ud800"}', '{"key":"k","value":1', ""]
)
async def test_what_is_no_json_is_refused(app: FastAPI, memory: Memory, text: str) -> None:
    async with calling(app) as client:
        answer = await client.post(ADA, content=text, headers={"Content-Type": "application/json"})
    assert code(answer)[0] in (400, 422)
    assert memory.of(user="ada").items.all().entries == ()


async def test_keys_and_values_are_kept_up_to_their_limits(app: FastAPI) -> None:
    key, value = "k" * NAME_LIMIT, "x" * (ITEM_LIMIT - 2)
    async with calling(app) as client:
        assert (await client.post(ADA, json={"key": key, "value": value})).status_code == 200
        assert (await client.get(ADA)).json()["data"][0]["value"] == value
        assert (await client.delete(ADA, params={"key": key})).status_code == 200


async def test_somebody_else_is_answered_like_what_is_not_there(app: FastAPI, memory: Memory) -> None:
    memory.of(user="bob").items.set("default", "tone", "secret")
    asked: list[tuple[str, dict[str, str], Any]] = [
        ("GET", {}, None),
        ("POST", {}, {"key": "tone", "value": 1}),
        ("DELETE", {"key": "tone"}, None),
    ]
    async with calling(app) as client:
        missing = await client.delete(ADA, params={"key": "tone"})
        for method, params, body in asked:
            said = set()
            for path in (BOB, "/api/user/nobody/memory", "/api/user/17/memory"):
                answer = await client.request(method, path, params=params, json=body)
                assert code(answer) == (404, "not_found")
                said.add((answer.content, *sorted(answer.headers.items())))
            assert len(said) == 1
        [(content, *_)] = said
    assert missing.json().keys() == {"type", "title", "status", "detail", "code"}
    assert b"bob" not in content
    assert memory.of(user="bob").items.get("default", "tone").value == "secret"


async def test_an_idempotency_key_has_a_value_kept_once(app: FastAPI) -> None:
    body = {"key": "tone", "value": "warm"}
    async with calling(app, **{"Idempotency-Key": "first"}) as client:
        first, again = [await client.post(ADA, json=body) for _ in range(2)]
        assert first.content == again.content
        assert first.json()["data"]["version"] == 1
        assert ("idempotency-replayed" in first.headers, again.headers["idempotency-replayed"]) == (False, "true")
        other = await client.post(ADA, json=body | {"value": "cold"})
        assert code(other) == (422, "idempotency_key_reused")
        assert (await client.get(ADA)).json()["data"] == [first.json()["data"]]
        deleted = [
            await client.delete(ADA, params={"key": "tone"}, headers={"Idempotency-Key": "second"}) for _ in range(2)
        ]
    assert [answer.json() for answer in deleted] == [{"data": {"deleted": 1}}] * 2


async def test_a_token_does_what_it_was_given_for(app: FastAPI) -> None:
    async with calling(app, "writer") as client:
        assert (await client.post(ADA, json={"key": "tone", "value": 1})).status_code == 200
        assert code(await client.get(ADA)) == (403, "insufficient_scope")
    async with calling(app, "reader") as client:
        assert (await client.get(ADA)).status_code == 200
        assert code(await client.post(ADA, json={"key": "tone", "value": 1})) == (403, "insufficient_scope")
        assert code(await client.delete(ADA, params={"key": "tone"})) == (403, "insufficient_scope")
    async with calling(app, None) as client:
        assert code(await client.get(ADA)) == (401, "unauthenticated")


async def test_a_gateway_names_the_person_by_the_path(app: FastAPI, memory: Memory) -> None:
    async with calling(app, "gateway") as client:
        assert (await client.post(BOB, json={"key": "tone", "value": 1})).status_code == 200
        assert code(await client.get(BOB, headers={"Memory-User": "ada"})) == (404, "not_found")
        assert code(await client.get(BOB, params={"all": "true"})) == (403, "insufficient_scope")
    assert memory.of(user="bob").items.get("default", "tone").value == 1


async def test_an_operator_lists_and_deletes_what_anybody_of_the_organization_has(app: FastAPI, memory: Memory) -> None:
    bob, elsewhere = memory.of(user="bob"), memory.of(user="bob", organization="acme")
    for person in (bob, elsewhere):
        for namespace, key in (("default", "a"), ("default", "b"), ("prefs", "c")):
            person.items.set(namespace, key, key)
    async with calling(app, "only-operator") as client:
        assert [row["key"] for row in (await client.get(BOB)).json()["data"]] == ["a", "b"]
        page = (await client.get(BOB, params={"all": "true", "limit": 2})).json()
        rest = (await client.get(BOB, params={"all": "true", "after": page["next"]})).json()
        assert [row["key"] for row in page["data"] + rest["data"]] == ["a", "b", "c"]
        assert (await client.delete(BOB, params={"key": "a"})).json() == {"data": {"deleted": 1}}
        only_prefs = await client.delete(BOB, params={"all": "true", "namespace": "prefs"})
        assert only_prefs.json() == {"data": {"deleted": 1}}
        assert code(await client.delete(BOB)) == (422, "invalid_input")
        assert code(await client.delete(BOB, params={"all": "true", "key": "b"})) == (422, "invalid_input")
        assert [item.key for item in bob.items.all().entries] == ["b"]
        assert (await client.delete(BOB, params={"all": "true"})).json() == {"data": {"deleted": 1}}
        assert (await client.delete(BOB, params={"all": "true"})).json() == {"data": {"deleted": 0}}
        assert code(await client.post(BOB, json={"key": "a", "value": 1})) == (403, "insufficient_scope")
        assert (await client.get("/api/user/nobody/memory")).json() == {"data": [], "next": None}
    assert bob.items.all().entries == ()
    assert len(elsewhere.items.all().entries) == 3


async def test_who_is_no_operator_deletes_one_value_at_a_time(app: FastAPI, memory: Memory) -> None:
    memory.of(user="ada").items.set("default", "tone", 1)
    async with calling(app) as client:
        assert code(await client.delete(ADA)) == (422, "invalid_input")
        assert code(await client.delete(ADA, params={"all": "true"})) == (403, "insufficient_scope")
        assert code(await client.delete(BOB, params={"all": "true"})) == (404, "not_found")
        assert code(await client.get(ADA, params={"all": "true"})) == (403, "insufficient_scope")
    assert memory.of(user="ada").items.get("default", "tone").value == 1


async def test_a_user_id_may_hold_a_slash(app: FastAPI, memory: Memory) -> None:
    async with calling(app, "gateway") as client:
        path = "/api/user/auth0%2Fa%20b/memory"
        assert (await client.post(path, json={"key": "tone", "value": 1})).json()["data"]["userId"] == "auth0/a b"
    assert memory.of(user="auth0/a b").items.get("default", "tone").value == 1
