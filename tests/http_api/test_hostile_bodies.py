"""Hostile bodies: every route that takes one refuses it as Python does, keeps nothing, and every later read works."""

from collections.abc import Callable
from typing import Any, Final

import httpx
import pytest
from fastapi import FastAPI

from http_api.members import BODY_LIMIT
from memory_tools.memory import Memory
from memory_tools.upkeep import Upkeep
from storage.canonical import parse
from storage.errors import InvalidInput
from storage.work.sql_queue import SqlQueue
from tests.contents import Contents
from tests.hostile import HOSTILE
from tests.http_api.calling import TOKENS, UNPACED, calling, code
from tests.mcp_server.serving import Held
from usermemory.serve import create_service

JSON: Final = {"content-type": "application/json"}

AROUND: Final = {
    "PUT /v1/items/{namespace}/{key}": b'{"value":%b}',
    "POST /v1/items/{namespace}/{key}/entries": b'{"value":%b}',
    "PATCH /v1/document": b'{"changes":[{"pointer":"/x","value":%b}]}',
    "POST /v1/document/revert": b'{"version":%b}',
    "PUT /v1/profile": b'{"text":%b}',
    "POST /v1/conversations/{conversation}/messages": b'{"messages":[{"role":"user","content":%b}]}',
    "PUT /v1/conversations/{conversation}/memory": b'{"data":{"x":%b}}',
    "POST /v1/pending/{id}/accept": b"%b",
    "POST /v1/pending/{id}/reject": b"%b",
    "POST /v1/activity": b"%b",
    "PUT /v1/configuration": b'{"configuration":%b}',
    "POST /api/user/{user_id}/memory": b'{"key":"b","value":%b}',
    "POST /api/v1/memory": b'{"user_id":"ada","memory":%b}',
    "POST /conversations": b'{"name":"c","user_id":"ada","messages":[{"role":"user","content":%b}]}',
    "POST /conversations/{conversation_id}/messages": b'{"messages":[{"role":"user","content":%b}]}',
    "POST /memories": b'{"conversation_id":"{conversation_id}","memory_data":{"x":%b}}',
    "POST /tasks/trigger-memory-generation": b"%b",
    "POST /api/cron/memory-update": b'{"due_at":%b}',
}
"""Every route with a body, and where in it a text may stand."""

CHANGING: Final = frozenset({"/metrics"})
"""What says something else each time."""


def operations(app: FastAPI) -> list[tuple[str, str, dict[str, Any]]]:
    """Return the method, the path and the description of all that an app offers."""
    paths = app.openapi()["paths"].items()
    return [(method.upper(), path, said) for path, methods in paths for method, said in methods.items()]


def verdict(text: bytes) -> str:
    """Return the code with which Python refuses a text."""
    with pytest.raises(InvalidInput) as refused:
        parse(text, limit=BODY_LIMIT)
    return refused.value.code


def kept(memory: Memory, operators: Memory) -> dict[str, str]:
    """Keep something of every kind, and return what the places in the paths stand for."""
    ada = memory.of(user="ada")
    ada.items.set("a", "b", {"kept": True})
    ada.profile.set("kept")
    ada.document.append({"summary": "kept", "safety_notes": "kept"})
    held = ada.document.append({"summary": "kept"})
    ada.conversations.append("c", [{"role": "user", "content": "kept"}])
    ada.conversation_memories.set("c", {"kept": True})
    operators.configurations.set({"autoStore": True})
    batch = Upkeep(operators, SqlQueue(operators.database)).daily(organization="default")
    assert batch is not None
    return {
        **{"user_id": "ada", "namespace": "a", "key": "b", "conversation": "c"},
        "conversation_id": str(ada.conversations.all().entries[0].id),
        "id": str(held.pending_id),
        "batch_id": str(batch.id),
    }


async def asked(client: httpx.AsyncClient, method: str, path: str, body: bytes | None = None) -> httpx.Response:
    """Ask as an operator, who names a person by a header where neither path nor body does."""
    named = {"Memory-User": "ada"} if path.startswith("/v1/") else {}
    return await client.request(method, path, content=body, headers=named if body is None else named | JSON)


async def reads(client: httpx.AsyncClient, app: FastAPI, places: dict[str, str]) -> dict[str, bytes]:
    """Return what every route that reads answers."""
    found = {}
    for method, path, _ in operations(app):
        if method == "GET" and path not in CHANGING:
            query = "?before=0&after=1" if path.endswith("/difference") else ""
            answer = await asked(client, method, path.format(**places) + query)
            assert answer.status_code == 200, (path, answer.text)
            found[path] = answer.content
    return found


async def test_hostile_bodies_are_refused_as_python_refuses_them_and_leave_nothing(
    memory: Memory, operator_memory: Memory, contents: Callable[[], Contents]
) -> None:
    places = kept(memory, operator_memory)
    app = create_service(memory, operator_memory=operator_memory, verifiers=[Held(TOKENS)], pace=UNPACED)
    async with calling(app, "operator") as client:
        shown, before = await reads(client, app, places), contents()
        for route, around in AROUND.items():
            method, _, path = route.partition(" ")
            for text, _, _ in HOSTILE:
                inside = around.replace(b"{conversation_id}", places["conversation_id"].encode()).replace(b"%b", text)
                for body in filter(None, (text, inside)):  # nothing at all is no body
                    answer = await asked(client, method, path.format(**places), body)
                    expected = verdict(body)
                    status = 413 if expected == "too_large" else 400
                    assert code(answer) == (status, expected), (route, body[:60])
        assert contents() == before
        assert await reads(client, app, places) == shown


def test_every_route_with_a_body_is_tried(open_memory: Memory) -> None:
    app = create_service(open_memory, verifiers=[Held(TOKENS)])
    assert {f"{method} {path}" for method, path, said in operations(app) if "requestBody" in said} == AROUND.keys()
    assert len(HOSTILE) >= 60
