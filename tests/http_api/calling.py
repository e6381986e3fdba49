"""Calling: an app in this process, the tokens that it knows, and the ways to ask it."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final
from urllib.parse import unquote

import httpx
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive

from http_api import create_app
from memory_tools.access import Principal, Scope
from memory_tools.memory import Memory
from tests.mcp_server.serving import Held, holder

BASE: Final = "http://127.0.0.1"

UNPACED: Final = "1000000/second"
"""For tests that are not about the pace."""

TOKENS: Final[dict[str, Principal]] = {
    "ada": holder("ada"),
    "bob": holder("bob"),
    "reader": holder("ada", [Scope.READ]),
    "writer": holder("ada", [Scope.WRITE]),
    "gateway": holder(None, [Scope.READ, Scope.WRITE, Scope.ACT_AS]),
    "operator": holder(None, [Scope.READ, Scope.WRITE, Scope.OPERATE]),
    "only-operator": holder(None, [Scope.OPERATE]),
    "operator-of-acme": holder(None, [Scope.READ, Scope.WRITE, Scope.OPERATE], organization="acme"),
}


def app_of(memory: Memory, **options: Any) -> FastAPI:
    """Return an app that knows the tokens."""
    return create_app(memory, **({"verifiers": [Held(TOKENS)], "pace": UNPACED} | options))


@asynccontextmanager
async def calling(app: FastAPI, token: str | None = "ada", **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    """Run the app's lifespan, and yield a client of the holder of a token."""
    said = ({} if token is None else {"Authorization": f"Bearer {token}"}) | headers
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 50_000))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url=BASE, headers=said) as client,
    ):
        yield client


async def raw(
    app: ASGIApp, method: str, path: bytes, headers: Mapping[str, str] | None = None, receive: Receive | None = None
) -> tuple[int, dict[str, Any]]:
    """Return the status and the problem that a request gets whose path, or whose body, no client would send so."""
    said = {"host": "127.0.0.1", "authorization": "Bearer ada", **(headers or {})}
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path.decode()),
        "raw_path": path,
        "query_string": b"",
        "root_path": "",
        "client": ("127.0.0.1", 50_000),
        "headers": [(name.encode(), value.encode()) for name, value in said.items()],
    }
    sent: list[Message] = []

    async def nothing() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive or nothing, send)
    body = b"".join(message.get("body", b"") for message in sent)
    return sent[0]["status"], json.loads(body) if body else {}


def code(answer: httpx.Response) -> tuple[int, str]:
    """Return the status of a problem and its code, once it is seen to be one."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["type"] == f"urn:usermemory:problem:{problem['code']}"
    assert problem["title"]
    assert problem["detail"]
    return answer.status_code, problem["code"]
