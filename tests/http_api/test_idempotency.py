"""Idempotency: a write under one key is done once, however often and at how many places at once it is sent."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from http_api.conversations import conversations_router
from http_api.tasks import tasks_router
from http_api.user_items import user_items_router
from http_api.user_text import user_text_router
from memory_tools.memory import Memory
from memory_tools.operation import Effect
from memory_tools.operations import CATALOG
from memory_tools.upkeep import Upkeep
from storage.work.sql_queue import SqlQueue
from tests.contents import Contents
from tests.http_api.calling import app_of, calling, code

KEY = {"Idempotency-Key": "k-1"}
NAMED = {"Memory-User": "ada"}
UNREADABLE = (400, "invalid_input")


async def test_of_20_pushes_at_once_under_one_key_one_is_made(memory: Memory) -> None:
    async with calling(app_of(memory), "operator", **NAMED) as client:

        async def push(_: int) -> httpx.Response:
            return await client.post("/v1/items/a/list/entries", json={"value": "x"}, headers=KEY)

        answers = await asyncio.gather(*map(push, range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert [answer.headers.get("idempotency-replayed") for answer in answers].count("true") == 19
    assert memory.of(user="ada").items.get("a", "list").value == ["x"]


WRITES: list[tuple[str, str, str, Any]] = [
    ("set_memory_item", "PUT", "/v1/items/a/b", {"value": 2}),
    ("push_memory_item", "POST", "/v1/items/a/list/entries", {"value": "x"}),
    ("delete_memory_item", "DELETE", "/v1/items/a/b", None),
    ("update_user_memory", "PATCH", "/v1/document", {"changes": [{"pointer": "/x", "value": 1e16}]}),
    ("revert_user_memory", "POST", "/v1/document/revert", {"version": 1}),
    ("set_profile_text", "PUT", "/v1/profile", {"text": "Ada."}),
    ("delete_profile_text", "DELETE", "/v1/profile", None),
    ("append_messages", "POST", "/v1/conversations/c/messages", {"messages": [{"role": "user", "content": "Hi"}]}),
    ("set_conversation_memory", "PUT", "/v1/conversations/talk/memory", {"data": {"b": 1, "a": [2.5]}}),
    ("note_activity", "POST", "/v1/activity", None),
    ("set_memory_configuration", "PUT", "/v1/configuration", {"configuration": {"autoStore": True}}),
    ("reset_memory_configuration", "DELETE", "/v1/configuration?flow=sales", None),
]

ONE_BY_ONE = {"accept_pending_version", "reject_pending_version"}
"""What has to be held before, and is tried below."""


def test_every_write_is_tried() -> None:
    writers = {name for name, each in CATALOG.items() if each.effect is not Effect.READ}
    assert {name for name, *_ in WRITES} | ONE_BY_ONE == writers


def test_a_key_is_described_where_it_counts_and_the_replay_where_it_is_told(open_memory: Memory) -> None:
    upkeep = Upkeep(open_memory, SqlQueue(open_memory.database))
    routers = [user_items_router(), user_text_router(), conversations_router(), tasks_router(upkeep)]
    description = app_of(open_memory, routers=routers).openapi()
    writes, taken, replayed = set(), set(), set()
    for methods in description["paths"].values():
        for method, said in methods.items():
            names = {name for answer in said["responses"].values() for name in answer.get("headers", {})}
            writes |= {said["operationId"]} if method != "get" else set()
            taken |= {said["operationId"] for each in said.get("parameters", []) if each["name"] == "Idempotency-Key"}
            replayed |= {said["operationId"]} if "Idempotency-Replayed" in names else set()
    assert taken == writes
    assert taken - replayed == {"trigger_memory_generation", "run_daily_update"}, "these answer with the same batch"


@pytest.mark.parametrize(
    ("name", "method", "path", "body"), WRITES, ids=lambda value: value if isinstance(value, str) else ""
)
async def test_a_write_that_is_sent_again_is_answered_as_before_and_does_nothing(
    memory: Memory,
    operator_memory: Memory,
    contents: Callable[[], Contents],
    name: str,
    method: str,
    path: str,
    body: Any,
) -> None:
    operator_memory.configurations.set({"autoStore": False}, flow="sales")
    person = memory.of(user="ada")
    person.items.set("a", "b", 1)
    person.profile.set("Somebody.")
    person.document.append({"summary": "1"})
    person.document.append({"summary": "2"})
    person.conversations.append("talk", [{"role": "user", "content": "Hello"}])
    async with calling(app_of(memory, operator_memory=operator_memory), "operator", **NAMED) as client:
        first = await client.request(method, path, json=body, headers=KEY)
        assert first.status_code == 200, first.text
        assert "idempotency-replayed" not in first.headers
        before = contents()
        again = await client.request(method, path, json=body, headers=KEY)
        assert contents() == before
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers.get("etag") == first.headers.get("etag")
    assert again.headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize("decision", ["accept", "reject"])
async def test_a_decision_is_made_once(memory: Memory, decision: str) -> None:
    person = memory.of(user="ada")
    person.document.append({"summary": "much", "safety_notes": "important"})
    async with calling(app_of(memory)) as client:
        removal = {"changes": [{"pointer": "/safety_notes", "remove": True}]}
        held = (await client.patch("/v1/document", json=removal)).json()
        assert held["status"] == "held"
    async with calling(app_of(memory), "operator", **NAMED) as client:
        path = f"/v1/pending/{held['pending_id']}/{decision}"
        first = await client.post(path, headers=KEY)
        again = await client.post(path, headers=KEY)
        assert (first.status_code, first.content) == (200, again.content)
        assert (await client.post(path)).status_code == 404


async def test_a_key_counts_for_one_request(memory: Memory) -> None:
    async with calling(app_of(memory)) as client:
        await client.put("/v1/items/a/b", json={"value": 1}, headers=KEY)
        for method, path, body, headers in (
            ("PUT", "/v1/items/a/b", {"value": 2}, {}),
            ("PUT", "/v1/items/a/c", {"value": 1}, {}),
            ("PUT", "/v1/items/a/b", {"value": 1, "expected_version": 1}, {}),
            ("PUT", "/v1/items/a/b", {"value": 1}, {"If-Match": '"1"'}),
            ("DELETE", "/v1/items/a/b", None, {}),
            ("PATCH", "/v1/document", {"changes": [{"pointer": "/x", "value": 1}]}, {}),
        ):
            answer = await client.request(method, path, json=body, headers=KEY | headers)
            assert code(answer) == (422, "idempotency_key_reused")
        # White space and the order of members are no other request.
        answer = await client.put(
            "/v1/items/a/b", content='{ "value": 1 }', headers=KEY | {"content-type": "application/json"}
        )
        assert answer.headers["idempotency-replayed"] == "true"
    assert len(memory.of(user="ada").items.all().entries) == 1


async def test_two_people_may_use_the_same_key(memory: Memory) -> None:
    for user in ("ada", "bob"):
        async with calling(app_of(memory), user) as client:
            answer = await client.put("/v1/items/a/b", json={"value": user}, headers=KEY)
            assert "idempotency-replayed" not in answer.headers
    assert memory.of(user="bob").items.get("a", "b").value == "bob"


async def test_a_write_that_was_refused_may_be_sent_again_under_its_key(
    memory: Memory, contents: Callable[[], Contents]
) -> None:
    async with calling(app_of(memory)) as client:
        before = contents()
        assert code(await client.delete("/v1/items/a/b", headers=KEY)) == (404, "not_found")
        assert code(await client.put("/v1/items/a/b", json={"value": "x" * 11_000}, headers=KEY)) == (413, "too_large")
        assert contents() == before
        await client.put("/v1/items/a/b", json={"value": 1})
        assert (await client.delete("/v1/items/a/b", headers=KEY)).json() == {"done": True}


async def test_a_condition_and_a_key_go_together(memory: Memory) -> None:
    async with calling(app_of(memory)) as client:
        tag = (await client.put("/v1/items/a/b", json={"value": 1})).headers["etag"]
        headers = KEY | {"If-Match": tag}
        first = await client.put("/v1/items/a/b", json={"value": 2}, headers=headers)
        again = await client.put("/v1/items/a/b", json={"value": 2}, headers=headers)
        assert tag != first.headers["etag"] == again.headers["etag"]
        assert again.headers["idempotency-replayed"] == "true"
        other = KEY | {"Idempotency-Key": "k-2", "If-Match": tag}
        assert code(await client.put("/v1/items/a/b", json={"value": 3}, headers=other)) == (412, "version_conflict")


async def test_a_body_that_is_larger_than_a_document_has_a_key_too(memory: Memory) -> None:
    said = [{"role": "user", "content": "x" * 60_000, "external_id": str(n)} for n in range(12)]
    async with calling(app_of(memory), "operator", **NAMED) as client:
        first = await client.post("/v1/conversations/c/messages", json={"messages": said}, headers=KEY)
        assert first.status_code == 200, first.text
        again = await client.post("/v1/conversations/c/messages", json={"messages": said}, headers=KEY)
    assert again.content == first.content
    assert memory.of(user="ada").conversations.totals().messages == 12


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 201, "ü", "a\tb", "\x7f"])
async def test_what_is_no_key_is_refused_and_nothing_done(memory: Memory, key: str) -> None:
    async with calling(app_of(memory)) as client:
        headers = [(b"Idempotency-Key", key.encode("latin-1"))]
        assert code(await client.put("/v1/items/a/b", json={"value": 1}, headers=headers)) == UNREADABLE
        headers = [(b"Idempotency-Key", b"a"), (b"Idempotency-Key", b"b")]
        assert code(await client.put("/v1/items/a/b", json={"value": 1}, headers=headers)) == UNREADABLE
    assert memory.of(user="ada").items.all().entries == ()


async def test_a_key_has_200_characters_at_the_most_and_means_nothing_to_a_read(memory: Memory) -> None:
    async with calling(app_of(memory)) as client:
        headers = {"Idempotency-Key": "x" * 200}
        assert (await client.put("/v1/items/a/b", json={"value": 1}, headers=headers)).status_code == 200
        assert "idempotency-replayed" not in (await client.get("/v1/items/a/b", headers=headers)).headers


async def test_a_configuration_that_came_late_does_not_undo_what_was_set_since(
    memory: Memory, operator_memory: Memory
) -> None:
    app = app_of(memory, operator_memory=operator_memory)
    async with calling(app, "operator") as client:
        for days, key, answered in ((30, "k-1", 30), (90, "k-2", 90), (30, "k-1", 30)):
            body = {"configuration": {"retentionDays": days}}
            answer = await client.put("/v1/configuration", json=body, headers={"Idempotency-Key": key})
            assert answer.json()["retentionDays"] == answered
    assert operator_memory.configurations.get().retention_days == 90


async def test_a_key_for_configurations_is_the_organizations_and_counts_for_one_request(
    memory: Memory, operator_memory: Memory
) -> None:
    app = app_of(memory, operator_memory=operator_memory)
    on, off = ({"configuration": {"enabled": enabled}} for enabled in (True, False))
    async with calling(app, "operator") as client:
        assert (await client.put("/v1/configuration", json=on, headers=KEY)).status_code == 200
        for other in (off, on | {"flow": "sales"}):
            answer = await client.put("/v1/configuration", json=other, headers=KEY)
            assert code(answer) == (422, "idempotency_key_reused")
        assert code(await client.delete("/v1/configuration", headers=KEY)) == (422, "idempotency_key_reused")
    async with calling(app, "operator-of-acme") as client:
        assert (await client.put("/v1/configuration", json=off, headers=KEY)).status_code == 200
    assert operator_memory.configurations.get("acme").enabled is False
    assert operator_memory.configurations.get().enabled is True


async def test_a_configuration_that_was_refused_has_used_up_no_key(
    memory: Memory, operator_memory: Memory, contents: Callable[[], Contents]
) -> None:
    before = contents()
    async with calling(app_of(memory, operator_memory=operator_memory), "operator") as client:
        assert (await client.delete("/v1/configuration", headers=KEY)).status_code == 404
        assert contents() == before
        operator_memory.configurations.set({"enabled": False})
        assert (await client.delete("/v1/configuration", headers=KEY)).status_code == 200
        again = await client.delete("/v1/configuration", headers=KEY)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (200, "true")


async def test_of_20_configurations_at_once_under_one_key_one_is_set(memory: Memory, operator_memory: Memory) -> None:
    async with calling(app_of(memory, operator_memory=operator_memory), "operator") as client:

        async def put(_: int) -> httpx.Response:
            return await client.put("/v1/configuration", json={"configuration": {"autoStore": True}}, headers=KEY)

        answers = await asyncio.gather(*map(put, range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert [answer.headers.get("idempotency-replayed") for answer in answers].count("true") == 19
