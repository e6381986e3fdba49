"""The routes of seed 002: one text for each user, answered in the seed's own words."""

from typing import Any, Final

import pytest
from fastapi import FastAPI

from http_api.user_text import user_text_router
from memory_tools.memory import Memory
from storage.errors import NotFound
from storage.limits import DOCUMENT_LIMIT
from tests.http_api.calling import TOKENS, app_of, calling, code
from tests.mcp_server.serving import Held, holder

PATH: Final = "/api/v1/memory"
SAVED: Final = {"status": "ok", "message": "Memory saved successfully"}


@pytest.fixture
def app(memory: Memory) -> FastAPI:
    held = Held({**TOKENS, "17": holder("17")})
    return app_of(memory, verifiers=[held], routers=[user_text_router()])


async def test_a_text_is_saved_read_and_replaced_as_the_seed_says(app: FastAPI) -> None:
    async with calling(app, "17") as client:
        assert (await client.get(f"{PATH}/17")).json() == {"status": "ok", "memory": None}
        assert (await client.post(PATH, json={"user_id": 17, "content": "Drinks tea."})).json() == SAVED
        first = (await client.get(f"{PATH}/17")).json()
        assert first["status"] == "ok"
        assert first["memory"].keys() == {"content", "created_at", "updated_at"}
        assert first["memory"]["content"] == "Drinks tea."
        assert (await client.post(PATH, json={"user_id": "17", "content": "Drinks coffee."})).json() == SAVED
        memory = (await client.get(f"{PATH}/17")).json()["memory"]
    assert (memory["content"], memory["created_at"]) == ("Drinks coffee.", first["memory"]["created_at"])
    assert memory["updated_at"] > first["memory"]["updated_at"]


@pytest.mark.parametrize("user", [18, "18", "017", 0, -17, 10**15, "nobody"], ids=repr)
async def test_another_user_is_answered_like_one_who_is_not_there(app: FastAPI, memory: Memory, user: Any) -> None:
    memory.of(user="18").profile.set("secret")
    async with calling(app, "17") as client:
        write = await client.post(PATH, json={"user_id": user, "content": "mine"})
        read = await client.get(f"{PATH}/{user}")
        missing = await client.get(f"{PATH}/nobody-at-all")
    assert code(write) == (404, "not_found")
    assert read.content == write.content == missing.content
    assert memory.of(user="18").profile.get().text == "secret"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"user_id": 17}, (422, "invalid_input")),
        ({"content": "x"}, (422, "invalid_input")),
        ({"user_id": 17, "content": 5}, (422, "invalid_input")),
        ({"user_id": 17, "content": None}, (422, "invalid_input")),
        ({"user_id": True, "content": "x"}, (422, "invalid_input")),
        ({"user_id": 17.0, "content": "x"}, (422, "invalid_input")),
        ({"user_id": None, "content": "x"}, (422, "invalid_input")),
        ({"user_id": [17], "content": "x"}, (422, "invalid_input")),
        ({"user_id": "", "content": "x"}, (404, "not_found")),
        ({"user_id": 17, "content": "x", "organization": "acme"}, (422, "invalid_input")),
        ({"user_id": 17, "content": "x" * (DOCUMENT_LIMIT + 1)}, (413, "too_large")),
        ({"user_id": 17, "content": "a\x00b"}, (400, "invalid_json")),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_what_cannot_be_kept_is_refused(
    app: FastAPI, memory: Memory, body: dict[str, Any], said: tuple[int, str]
) -> None:
    async with calling(app, "17") as client:
        assert code(await client.post(PATH, json=body)) == said
    with pytest.raises(NotFound):
        memory.of(user="17").profile.get()


async def test_an_idempotency_key_has_a_text_saved_once(app: FastAPI, memory: Memory) -> None:
    async with calling(app, "17", **{"Idempotency-Key": "k"}) as client:
        body = {"user_id": 17, "content": "first"}
        assert (await client.post(PATH, json=body)).json() == SAVED
        memory.of(user="17").profile.set("second")
        again = await client.post(PATH, json=body)
        assert (again.json(), again.headers["idempotency-replayed"]) == (SAVED, "true")
        assert code(await client.post(PATH, json=body | {"content": "third"})) == (422, "idempotency_key_reused")
    assert memory.of(user="17").profile.get().text == "second"


async def test_an_operator_reads_and_saves_what_is_of_its_own_organization(app: FastAPI, memory: Memory) -> None:
    memory.of(user="17", organization="acme").profile.set("of acme")
    async with calling(app, "only-operator") as client:
        assert (await client.get(f"{PATH}/17")).json()["memory"] is None
        assert (await client.post(PATH, json={"user_id": 17, "content": "by an operator"})).json() == SAVED
    async with calling(app, "operator-of-acme") as client:
        assert (await client.get(f"{PATH}/17")).json()["memory"]["content"] == "of acme"
    assert memory.of(user="17").profile.get().text == "by an operator"


async def test_a_token_does_what_it_was_given_for(app: FastAPI) -> None:
    async with calling(app, "reader") as client:
        assert (await client.get(f"{PATH}/ada")).status_code == 200
        assert code(await client.post(PATH, json={"user_id": "ada", "content": "x"})) == (403, "insufficient_scope")
    async with calling(app, None) as client:
        assert code(await client.get(f"{PATH}/ada")) == (401, "unauthenticated")
