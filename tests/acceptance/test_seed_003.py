"""Seed 003, its sequence diagram arrow by arrow: backend over HTTP, a queue of SQS over real HTTP, brain, database."""

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import httpx
import pytest
from fastapi import FastAPI

from graphs.testing import ScriptedChatModel
from graphs.work.worker import Worker
from memory_tools.memory import Memory
from storage.database import Database
from storage.json_types import Json
from storage.work.queue import Message, Queue
from storage.work.queues import open_queue
from tests.acceptance.conftest import JOBS, Serve
from tests.http_api.calling import calling
from tests.queues import SqsServer


@pytest.fixture
def url(sqs: SqsServer) -> str:
    return sqs.new_queue(dead_letters=sqs.new_queue())


@pytest.fixture
def queue(url: str, operators_database: Database) -> Iterator[Queue]:
    with closing(open_queue(url, operators_database)) as opened:
        yield opened


@pytest.fixture
def service(serve: Serve, queue: Queue) -> FastAPI:
    return serve(queue=queue)


async def conversation(http: httpx.AsyncClient, user: str, *said: str, hours_ago: float) -> str:
    moment = (datetime.now(UTC) - timedelta(hours=hours_ago)).isoformat()
    messages = [{"role": "user", "content": text, "said_at": moment} for text in said]
    answer = await http.post("/conversations", json={"user_id": user, "name": "call-1", "messages": messages})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


async def triggered(http: httpx.AsyncClient) -> Any:
    """User -> Backend: POST /tasks/trigger-memory-generation."""
    answer = await http.post("/tasks/trigger-memory-generation", json={}, headers=JOBS)
    assert answer.status_code == 202, answer.text
    return answer.json()


async def worked(memory: Memory, queue: Queue, model: ScriptedChatModel, **options: Any) -> None:
    """SQS -> Brain: consume what is there."""
    worker = Worker(memory, queue, model=model, wait=0.1, **options)
    await anyio.to_thread.run_sync(worker.drain)


def bodies(queue: Queue) -> list[Json]:
    """Look at what is in the queue, and leave it there."""
    deliveries = queue.receive(limit=10)
    for delivery in deliveries:
        queue.extend(delivery, 0)
    return [dict(delivery.body) for delivery in deliveries]


async def test_a_trigger_becomes_one_message_and_each_conversation_of_it_a_memory(
    service: FastAPI, memory: Memory, queue: Queue
) -> None:
    async with calling(service, "operator") as http:
        ada = await conversation(http, "ada", "I live in Bonn.", "I like tea.", hours_ago=5)
        bob = await conversation(http, "bob", "This one is poison.", hours_ago=4)
        eve = await conversation(http, "eve", "I sail.", hours_ago=3)
        await conversation(http, "kim", "I am still here.", hours_ago=1)

        # The backend finds what ended, groups all ids into one message, and enqueues it.
        assert (await triggered(http))["enqueued"] == 3
        [message] = bodies(queue)
        assert isinstance(message, dict)
        assert message["task_type"] == "GENERATE_MEMORY_BATCH"
        assert sorted(message["conversation_ids"]) == sorted([ada, bob, eve])
        assert set(message) == {"task_type", "conversation_ids"}

        # The brain loops through the ids: history, summary, upsert; what fails does not stop the others.
        def about(prompt: list[Any]) -> Any:
            text = str(prompt)
            if "poison" in text:
                return ConnectionError("no answer")
            return json.dumps({"summary": "Lives in Bonn and likes tea." if "Bonn" in text else "Sails."})

        model = ScriptedChatModel.of(about, about, about)
        await worked(memory, queue, model)
        assert (model.left, queue.waiting(), queue.dead()) == (0, 0, [])
        for which, data in ((ada, {"summary": "Lives in Bonn and likes tea."}), (eve, {"summary": "Sails."})):
            kept = (await http.get(f"/conversations/{which}/memory")).json()
            assert kept["memory_data"] == data
        assert (await http.get(f"/conversations/{bob}/memory")).status_code == 404

        # Nothing is left to do, so nothing is sent; the one that failed waits for its next attempt.
        assert (await triggered(http))["enqueued"] == 0
        assert bodies(queue) == []


async def test_newer_messages_make_a_conversation_eligible_again_and_its_memory_is_replaced(
    service: FastAPI, memory: Memory, queue: Queue
) -> None:
    async with calling(service, "operator") as http:
        ada = await conversation(http, "ada", "I live in Bonn.", hours_ago=5)
        await triggered(http)
        await worked(memory, queue, ScriptedChatModel.of({"summary": "Lives in Bonn."}))
        first = (await http.get(f"/conversations/{ada}/memory")).json()
        await conversation(http, "ada", "I moved to Rome.", hours_ago=3)
        assert (await triggered(http))["enqueued"] == 1
        model = ScriptedChatModel.of({"summary": "Lives in Rome."})
        await worked(memory, queue, model)
        second = (await http.get(f"/conversations/{ada}/memory")).json()
        assert second["memory_data"] == {"summary": "Lives in Rome."}
        assert second["created_at"] == first["created_at"]
        assert second["updated_at"] > first["updated_at"]
        assert "Lives in Bonn." in str(model.prompts[0])


async def test_regular_messages_go_their_existing_way(memory: Memory, queue: Queue) -> None:
    heard: list[Any] = []
    queue.send([Message({"task_type": "REGULAR", "text_id": 7}), Message({"anything": True})])
    await worked(memory, queue, ScriptedChatModel.of(), handler=heard.append)
    assert sorted(map(str, heard)) == sorted(map(str, [{"task_type": "REGULAR", "text_id": 7}, {"anything": True}]))
    assert queue.waiting() == 0


async def test_what_is_no_json_is_given_up_and_stops_nothing(
    memory: Memory, queue: Queue, url: str, sqs: SqsServer
) -> None:
    heard: list[Any] = []
    for text in ("hello", "[1]", '{"task_type": "REGULAR"}'):
        sqs.client.send_message(QueueUrl=url, MessageBody=text)
    await worked(memory, queue, ScriptedChatModel.of(), handler=heard.append)
    assert heard == [{"task_type": "REGULAR"}]
    assert sorted((letter.raw, letter.reason) for letter in queue.dead()) == [
        ("[1]", "malformed"),
        ("hello", "malformed"),
    ]
