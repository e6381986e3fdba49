"""Seed 001, the update process in its six steps: the cron route finds who was active, and a worker updates them."""

import json
from datetime import timedelta
from typing import Any

import anyio
import httpx
import pytest
from fastapi import FastAPI

from graphs.testing import ScriptedChatModel, said
from graphs.work.worker import Worker
from memory_tools.memory import Memory
from storage.json_types import Document
from storage.patch import apply
from storage.transaction import utc_now
from storage.work.sql_queue import SqlQueue
from tests.acceptance.conftest import JOBS, Serve
from tests.http_api.calling import calling

KNOWN: Document = {
    "summary": "Ada wants to feel safer when she presents.",
    "parts": {"critic": {"name": "Inner Critic", "status": "active", "recency_score": 0.9, "influence_score": 0.7}},
    "safety_notes": "Never call before nine.",
}


@pytest.fixture
def service(serve: Serve) -> FastAPI:
    return serve()


async def ticked(http: httpx.AsyncClient, **members: Any) -> Any:
    """Let a scheduler call the route, as it does once a day."""
    answer = await http.post("/api/cron/memory-update", json=members, headers=JOBS)
    assert answer.status_code == 202, answer.text
    return answer.json()


async def progress(http: httpx.AsyncClient, batch: str) -> Any:
    answer = await http.get(f"/tasks/batches/{batch}", headers=JOBS)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_the_six_steps_of_the_daily_job(service: FastAPI, app: Memory, memory: Memory) -> None:
    async with calling(service, "operator") as http:
        ada, bob = app.of(user="ada"), app.of(user="bob")
        ada.document.append(KNOWN)
        ada.conversations.append("session-7", [{"role": "user", "content": "The critic was quiet on Tuesday."}])
        bob.items.set("insights", "mood", "calm")

        due_at = utc_now().isoformat()
        begun = await ticked(http, due_at=due_at)
        assert (begun["enqueued"], begun["batch"]["kind"]) == (2, "daily")
        assert (await ticked(http, due_at=due_at))["batch"] is None, "once for each due time"

        def new_memory(prompt: list[Any]) -> Any:
            text = str(prompt)
            assert "Never call before nine." in text  # 1 and 3: the memory as it is stands in the prompt
            assert "The critic was quiet on Tuesday." in text  # 2 and 3: and so does what is new
            quiet = KNOWN["parts"]["critic"] | {"status": "quiet"}
            return said(json.dumps(KNOWN | {"parts": {"critic": quiet}}))  # 4: the whole new memory comes back

        worker = Worker(memory, SqlQueue(memory.database), model=ScriptedChatModel.of(new_memory), wait=0.1)
        await anyio.to_thread.run_sync(worker.drain)

        entry = ada.document.history().entries[0]
        assert entry.version == 2
        assert entry.patch == [{"op": "replace", "path": "/parts/critic/status", "value": "quiet"}]  # 5
        assert apply(dict(KNOWN), entry.patch)["parts"]["critic"]["status"] == "quiet"
        assert ada.document.current().document["parts"]["critic"]["status"] == "quiet"  # 6
        assert ada.document.as_of(1).document["parts"]["critic"]["status"] == "active"
        done = await progress(http, begun["batch"]["id"])
        assert (done["total"], done["updated"], done["unchanged"], done["waiting"]) == (2, 1, 1, 0)
        assert (done["input_tokens"], done["output_tokens"]) == (10, 5)


async def test_who_was_not_active_in_the_last_day_costs_nothing(
    service: FastAPI, database_url: str, memory: Memory
) -> None:
    with Memory.open(database_url, clock=lambda: utc_now() - timedelta(days=2)) as earlier:
        earlier.of(user="ada").conversations.append("session-7", [{"role": "user", "content": "Hello."}])
    async with calling(service, "operator") as http:
        begun = await ticked(http)
        assert begun["enqueued"] == 0
        assert SqlQueue(memory.database).waiting() == 0


async def test_one_persons_failure_does_not_stop_the_others(service: FastAPI, app: Memory, memory: Memory) -> None:
    async with calling(service, "operator") as http:
        for user in ("ada", "bob", "eve"):
            app.of(user=user).conversations.append("session-7", [{"role": "user", "content": f"I am {user}."}])
        begun = await ticked(http)

        def but_bob(prompt: list[Any]) -> Any:
            return TimeoutError("no answer") if "bob" in str(prompt) else '{"summary": "Said who they are."}'

        # The loop itself tries a model again that does not answer in time.
        model = ScriptedChatModel.of(*[but_bob] * 10)
        worker = Worker(memory, SqlQueue(memory.database), model=model, wait=0.1)
        await anyio.to_thread.run_sync(worker.drain)
        done = await progress(http, begun["batch"]["id"])
        assert (done["updated"], done["failed"], done["waiting"]) == (2, 0, 1)
        assert app.of(user="eve").document.current().version == 1
        assert app.of(user="bob").document.current().version == 0
