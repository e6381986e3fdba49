"""Crowd: who comes while many are being answered is told to come back, and nobody keeps a place for ever."""

import asyncio
from typing import Any

import pytest

from memory_tools.crowd import Crowd


async def asked(app: Any, path: str = "/x", kind: str = "http") -> Any:
    """Return the first message that a request is answered with."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    await app({"type": kind, "path": path}, receive, send)
    return sent[0]["status"]


async def test_whoever_is_one_too_many_comes_back_later() -> None:
    go_on = asyncio.Event()

    async def slow(_: Any, __: Any, send: Any) -> None:
        await go_on.wait()
        await send({"status": 200})

    app = Crowd(slow, most=3, open_paths=["/health"])
    first = [asyncio.create_task(asked(app)) for _ in range(3)]
    await asyncio.sleep(0)
    assert [await asked(app) for _ in range(2)] == [503, 503]
    open_one = asyncio.create_task(asked(app, "/health"))
    await asyncio.sleep(0)
    go_on.set()
    assert await asyncio.gather(*first, open_one) == [200] * 4
    assert await asked(app) == 200


async def test_a_request_that_fails_or_is_given_up_keeps_no_place() -> None:
    async def failing(scope: Any, *_: Any) -> None:
        if scope["path"] == "/fails":
            raise ValueError("no")
        await asyncio.Event().wait()

    app = Crowd(failing, most=1)
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            await asked(app, "/fails")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asked(app), 0.01)


async def test_what_is_no_request_passes() -> None:
    async def answer(_: Any, __: Any, send: Any) -> None:
        await send({"status": "app"})

    assert await asked(Crowd(answer, most=0), kind="websocket") == "app"
