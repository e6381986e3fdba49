"""The conversation routes of seed 003: put in, read, remembered, by operators of one organization."""

from collections.abc import AsyncIterator, Callable
from typing import Any, Final
from uuid import UUID, uuid4

import httpx
import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from http_api.conversations import MESSAGES_AT_ONCE, conversations_router
from memory_tools.memory import Memory
from storage.limits import MESSAGE_LIMIT
from storage.tables import conversation_memories, owners
from tests.contents import Contents
from tests.http_api.calling import app_of, calling, code

SAID: Final = [
    {"role": "user", "content": "I moved to Bonn.", "external_id": "m-1"},
    {"role": "assistant", "content": "Is it nice?", "said_at": "2026-11-20T09:00:00+00:00"},
]
CALL: Final = {"user_id": "ada", "name": "call-17", "messages": SAID}


@pytest.fixture
def app(memory: Memory, operator_memory: Memory) -> FastAPI:
    return app_of(memory, operator_memory=operator_memory, routers=[conversations_router()])


@pytest.fixture
async def operator(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with calling(app, "only-operator") as client:
        yield client


async def begun(operator: httpx.AsyncClient, **members: Any) -> str:
    """Keep a conversation and return its id."""
    answer = await operator.post("/conversations", json=CALL | members)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


async def test_a_conversation_is_put_in_goes_on_and_is_read(operator: httpx.AsyncClient, memory: Memory) -> None:
    first = (await operator.post("/conversations", json=CALL)).json()
    assert UUID(first["id"])
    assert (first["name"], first["message_count"]) == ("call-17", 2)
    assert first["last_message_at"] is not None
    path = f"/conversations/{first['id']}/messages"
    more = (await operator.post(path, json={"messages": [{"role": "user", "content": [{"text": "Yes."}]}]})).json()
    assert (more["id"], more["message_count"]) == (first["id"], 3)
    same = (await operator.post("/conversations", json=CALL | {"messages": SAID[:1]})).json()
    assert same == more, "a message whose external id is known is passed over"
    read = (await operator.get(path)).json()
    assert (read["conversation_id"], read["name"], read["message_count"]) == (first["id"], "call-17", 3)
    assert [each["content"] for each in read["messages"]] == ["I moved to Bonn.", "Is it nice?", [{"text": "Yes."}]]
    assert [each["number"] for each in read["messages"]] == [1, 2, 3]
    assert read["messages"][1]["said_at"] == "2026-11-20T09:00:00+00:00"
    assert read["next"] is None
    assert len(memory.of(user="ada").conversations.messages("call-17").entries) == 3


async def test_a_person_is_named_by_body_or_header_also_by_number(operator: httpx.AsyncClient, memory: Memory) -> None:
    said = {"name": "call-1", "messages": SAID}
    assert (await operator.post("/conversations", json=said | {"user_id": 17})).status_code == 200
    assert (await operator.post("/conversations", json=said, headers={"Memory-User": "bob"})).status_code == 200
    unnamed = await operator.post("/conversations", json=said)
    other = await operator.post("/conversations", json=said | {"user_id": "ada"}, headers={"Memory-User": "bob"})
    assert (code(unnamed), code(other)) == ((400, "no_identity"), (404, "not_found"))
    for user in ("17", "bob"):
        assert len(memory.of(user=user).conversations.messages("call-1").entries) == 2
    assert memory.of(user="ada").conversations.all().entries == ()


async def test_a_long_conversation_is_read_whole_or_in_parts(operator: httpx.AsyncClient) -> None:
    said = [{"role": "user", "content": number} for number in range(250)]
    path = f"/conversations/{await begun(operator, messages=said)}/messages"
    whole = (await operator.get(path)).json()
    assert [each["content"] for each in whole["messages"]] == list(range(250))
    part = (await operator.get(path, params={"limit": 130})).json()
    rest = (await operator.get(path, params={"after": part["next"]})).json()
    assert part["messages"] + rest["messages"] == whole["messages"]
    assert (len(part["messages"]), rest["next"]) == (130, None)
    for limit in (0, MESSAGES_AT_ONCE + 1, "many"):
        assert code(await operator.get(path, params={"limit": limit})) == (422, "invalid_input")


async def test_a_conversation_has_one_memory_which_is_replaced(
    operator: httpx.AsyncClient, memory: Memory, administrator: sa.Engine
) -> None:
    conversation = await begun(operator)
    assert code(await operator.get(f"/conversations/{conversation}/memory")) == (404, "not_found")
    new = {"conversation_id": conversation, "memory_data": {"summary": "Ada moved."}}
    first = (await operator.post("/memories", json=new)).json()
    assert (first["conversation_id"], first["memory_data"]) == (conversation, {"summary": "Ada moved."})
    assert (first["name"], first["message_count"]) == ("call-17", 2)
    second = (await operator.post("/memories", json=new | {"memory_data": {"facts": [1]}, "message_count": 1})).json()
    assert second["id"] == first["id"]
    assert second["created_at"] == first["created_at"]
    assert second["updated_at"] > first["updated_at"]
    assert (await operator.get(f"/conversations/{conversation}/memory")).json() == second
    with administrator.connect() as connection:
        assert connection.scalar(sa.select(sa.func.count()).select_from(conversation_memories)) == 1
    kept = memory.of(user="ada").conversation_memories.get("call-17")
    assert (kept.data, kept.provenance.actor.value, kept.provenance.through) == ({"facts": [1]}, "operator", "http")


async def test_an_idempotency_key_has_it_done_once(operator: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "k"}
    said = [{"role": "user", "content": "Once."}]
    first, again = [
        await operator.post("/conversations", json=CALL | {"messages": said}, headers=key) for _ in range(2)
    ]
    assert (first.json()["message_count"], first.content) == (1, again.content)
    path = f"/conversations/{first.json()['id']}"
    for route, body in ((f"{path}/messages", {"messages": said}), ("/memories", {"memory_data": {"a": 1}})):
        body = body if route != "/memories" else body | {"conversation_id": first.json()["id"]}
        answers = [await operator.post(route, json=body, headers={"Idempotency-Key": route}) for _ in range(2)]
        assert answers[0].content == answers[1].content
        assert answers[1].headers["idempotency-replayed"] == "true"
    assert (await operator.get(f"{path}/messages")).json()["message_count"] == 2


ROUTES: Final[dict[str, Callable[[str], tuple[str, str, dict[str, Any] | None]]]] = {
    "read": lambda each: ("GET", f"/conversations/{each}/messages", None),
    "go on": lambda each: ("POST", f"/conversations/{each}/messages", {"messages": SAID}),
    "memory": lambda each: ("GET", f"/conversations/{each}/memory", None),
    "remember": lambda each: ("POST", "/memories", {"conversation_id": each, "memory_data": {"a": 1}}),
}


@pytest.mark.parametrize("route", ROUTES)
async def test_what_another_organization_has_is_answered_like_what_is_not_there(
    app: FastAPI, operator: httpx.AsyncClient, memory: Memory, contents: Callable[[], Contents], route: str
) -> None:
    theirs = memory.of(user="ada", organization="acme")
    theirs.conversations.append("call-17", [{"role": "user", "content": "secret"}])
    theirs.conversation_memories.set("call-17", {"summary": "secret"})
    [there] = theirs.conversations.all().entries
    before = contents()
    answers = []
    for each in (str(there.id), str(uuid4()), str(there.id).upper()):
        method, path, body = ROUTES[route](each)
        answers.append(await operator.request(method, path, json=body))
    assert {code(answer) for answer in answers} == {(404, "not_found")}
    assert len({answer.content for answer in answers}) == 1
    assert contents() == before
    async with calling(app, "operator-of-acme") as client:
        method, path, body = ROUTES[route](str(there.id))
        assert (await client.request(method, path, json=body)).status_code == 200


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(("token", "headers"), [("ada", {}), ("gateway", {"Memory-User": "ada"})], ids=str)
async def test_who_is_no_operator_learns_nothing_about_ids(
    app: FastAPI, operator: httpx.AsyncClient, route: str, token: str, headers: dict[str, str]
) -> None:
    own = await begun(operator)
    async with calling(app, token, **headers) as client:
        answers = []
        for each in (own, str(uuid4())):
            method, path, body = ROUTES[route](each)
            answers.append(await client.request(method, path, json=body))
        assert {code(answer) for answer in answers} == {(403, "insufficient_scope")}
        for body in (CALL, {}):
            assert code(await client.post("/conversations", json=body)) == (403, "insufficient_scope")
    async with calling(app, None) as client:
        method, path, body = ROUTES[route](own)
        assert code(await client.request(method, path, json=body)) == (401, "unauthenticated")


async def test_what_cannot_be_kept_is_refused_and_nothing_is_half_written(
    operator: httpx.AsyncClient, contents: Callable[[], Contents]
) -> None:
    conversation = await begun(operator)
    before = contents()
    long = {"role": "user", "content": "x" * MESSAGE_LIMIT}
    refused: list[tuple[str, Any, tuple[int, str]]] = [
        ("/conversations", CALL | {"messages": []}, (422, "invalid_input")),
        ("/conversations", CALL | {"messages": [*SAID, {"role": "robot", "content": "x"}]}, (422, "invalid_input")),
        ("/conversations", CALL | {"messages": [{"role": "user", "content": "new"}, long]}, (413, "too_large")),
        ("/conversations", CALL | {"name": ""}, (422, "invalid_name")),
        ("/conversations", CALL | {"user_id": ""}, (400, "invalid_identity")),
        ("/conversations", CALL | {"organization": "acme"}, (422, "invalid_input")),
        (f"/conversations/{conversation}/messages", {"messages": [long]}, (413, "too_large")),
        ("/conversations/call-17/messages", {"messages": SAID}, (422, "invalid_input")),
        ("/memories", {"conversation_id": conversation, "memory_data": [1]}, (422, "invalid_input")),
        ("/memories", {"conversation_id": conversation, "memory_data": None}, (422, "invalid_input")),
        ("/memories", {"conversation_id": 17, "memory_data": {}}, (422, "invalid_input")),
        ("/memories", {"conversation_id": conversation, "memory_data": {"a": "x" * 70_000}}, (413, "too_large")),
        ("/memories", {"conversation_id": conversation, "memory_data": {}, "message_count": 3}, (422, "invalid_input")),
        ("/memories", {"conversation_id": conversation, "memory_data": {}, "message_count": 0}, (422, "invalid_input")),
    ]
    for path, body, said in refused:
        assert (path, code(await operator.post(path, json=body))) == (path, said)
    assert contents() == before


@pytest.mark.parametrize(
    "said_at",
    [0, 17, 1_700_000_000, 1_700_000_000_000, 1.5, True, "0", "1700000000", "-1", "1.5", "1e-5", "2026-11-20"],
    ids=repr,
)
async def test_when_something_was_said_is_written_out(
    app: FastAPI, operator: httpx.AsyncClient, contents: Callable[[], Contents], said_at: Any
) -> None:
    conversation = await begun(operator)
    before = contents()
    messages = {"messages": [{"role": "user", "content": "When?", "said_at": said_at}]}
    for path, members in (("/conversations", CALL), (f"/conversations/{conversation}/messages", {})):
        answer = await operator.post(path, json=members | messages)
        assert code(answer) == (422, "invalid_input")
        assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/messages/0/said_at"]
    async with calling(app, "operator", **{"Memory-User": "ada"}) as client:
        assert code(await client.post("/v1/conversations/call-17/messages", json=messages)) == (422, "invalid_input")
    assert contents() == before


async def test_what_a_merged_person_said_goes_on_with_whom_they_are_now(
    operator: httpx.AsyncClient, memory: Memory, administrator: sa.Engine
) -> None:
    early = await begun(operator, user_id="before")
    memory.of(user="ada").items.set("a", "b", 1)
    with administrator.begin() as connection:
        ids = {row.id: row for row in connection.execute(sa.select(owners))}
        before = next(each for each, row in ids.items() if row.last_message)
        [ada] = ids.keys() - {before}
        connection.execute(sa.update(owners).where(owners.c.id == before).values(survivor_id=ada, merged_into=ada))
    assert len((await operator.get(f"/conversations/{early}/messages")).json()["messages"]) == 2
    more = await operator.post(f"/conversations/{early}/messages", json={"messages": SAID[1:]})
    assert (more.json()["message_count"], more.json()["id"] != early) == (1, True)
    assert len((await operator.get(f"/conversations/{early}/messages")).json()["messages"]) == 3


async def test_where_memory_is_switched_off_nothing_is_kept(
    operator: httpx.AsyncClient, operator_memory: Memory
) -> None:
    conversation = await begun(operator)
    operator_memory.configurations.set({"enabled": False})
    for route in ROUTES.values():
        method, path, body = route(conversation)
        assert code(await operator.request(method, path, json=body)) == (403, "memory_disabled")
    assert code(await operator.post("/conversations", json=CALL)) == (403, "memory_disabled")


async def test_on_postgresql_a_conversation_is_found_by_its_id_with_the_workers_url(
    memory: Memory, operator: httpx.AsyncClient
) -> None:
    conversation = await begun(operator)
    async with calling(app_of(memory, routers=[conversations_router()]), "operator") as client:
        answer = await client.get(f"/conversations/{conversation}/messages")
        if memory.database.on_postgresql:
            assert code(answer) == (503, "unsafe_role")
        else:
            assert answer.json()["message_count"] == 2
            assert code(await client.get(f"/conversations/{uuid4()}/messages")) == (404, "not_found")
