"""The routes that set work off (seeds 003 and 001): what gets into the queue, how often, and by whose word."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from http_api.tasks import tasks_router
from memory_tools.memory import Memory
from memory_tools.upkeep import Upkeep
from storage.canonical import loads
from storage.database import Database
from storage.json_types import Json
from storage.provenance import TokenUsage
from storage.tables import queue_messages
from storage.work.job_store import Lease, Outcome
from storage.work.leases import lease
from storage.work.sql_queue import SqlQueue
from tests.clock import Clock
from tests.http_api.calling import app_of, calling, code
from tests.memories import memory_over

JOBS: Final = "a token of the jobs"
TRIGGER: Final = "/tasks/trigger-memory-generation"
CRON: Final = "/api/cron/memory-update"
NOTHING: Final = {"status": "ok", "enqueued": 0, "batch": None}


@pytest.fixture
def memory(clocked: Database) -> Iterator[Memory]:
    yield from memory_over(clocked, "http")


@pytest.fixture
def operator_memory(clocked_worker: Database) -> Iterator[Memory]:
    yield from memory_over(clocked_worker, "http")


@pytest.fixture
def app(memory: Memory, operator_memory: Memory) -> FastAPI:
    upkeep = Upkeep(operator_memory, SqlQueue(operator_memory.database))
    routers = [tasks_router(upkeep)]
    return app_of(memory, operator_memory=operator_memory, job_token=JOBS, routers=routers)


def ended(memory: Memory, clock: Clock, *users: str, organization: str = "default") -> list[str]:
    """Let each say something, and hours go by; return the ids of the conversations in the order of their ends."""
    ids = []
    for user in users:
        person = memory.of(user=user, organization=organization)
        person.conversations.append("call-1", [{"role": "user", "content": f"I am {user}."}])
        ids.append(str(person.conversations.all().entries[0].id))
        clock.move(1)
    clock.move(timedelta(hours=3).total_seconds())
    return ids


def queued(administrator: sa.Engine) -> list[Json]:
    """Return every message that is in the queue, whole and in order."""
    with administrator.connect() as connection:
        bodies = connection.scalars(sa.select(queue_messages.c.body).order_by(queue_messages.c.id))
        return [loads(body) for body in bodies]


async def test_the_trigger_sends_one_message_with_all_that_has_ended(
    app: FastAPI, memory: Memory, clock: Clock, administrator: sa.Engine
) -> None:
    ids = ended(memory, clock, "ada", "bob", "cleo")
    memory.of(user="ada").conversations.append("call-2", [{"role": "user", "content": "still talking"}])
    async with calling(app, JOBS) as client:
        answer = await client.post(TRIGGER)
        assert answer.status_code == 202
        said = answer.json()
        assert (said["status"], said["enqueued"]) == ("ok", 3)
        assert said["batch"].items() >= {"kind": "conversations", "total": 3, "waiting": 3, "finished_at": None}.items()
        [message] = queued(administrator)
        assert message.keys() == {"task_type", "conversation_ids"}
        assert message["task_type"] == "GENERATE_MEMORY_BATCH"
        assert sorted(message["conversation_ids"]) == sorted(ids)
        assert (await client.post(TRIGGER)).json() == NOTHING
        assert queued(administrator) == [message]


async def test_the_trigger_sends_nothing_where_there_is_nothing_to_do(
    app: FastAPI, memory: Memory, administrator: sa.Engine
) -> None:
    memory.of(user="ada").conversations.append("call-1", [{"role": "user", "content": "just now"}])
    async with calling(app, JOBS) as client:
        for answer in (await client.post(TRIGGER), await client.post(TRIGGER, json={})):
            assert (answer.status_code, answer.json()) == (202, NOTHING)
    assert queued(administrator) == []


async def test_the_same_key_gets_the_same_batch(
    app: FastAPI, memory: Memory, clock: Clock, administrator: sa.Engine
) -> None:
    ended(memory, clock, "ada")
    async with calling(app, JOBS, **{"Idempotency-Key": "k"}) as client:
        first, again = [await client.post(TRIGGER) for _ in range(2)]
        assert first.content == again.content
        assert first.json()["enqueued"] == 1
        ended(memory, clock, "bob")
        assert (await client.post(TRIGGER)).content == first.content
    assert len(queued(administrator)) == 1


async def test_an_operator_sets_off_what_is_of_its_own_organization(
    app: FastAPI, memory: Memory, clock: Clock, administrator: sa.Engine
) -> None:
    ended(memory, clock, "ada")
    theirs = ended(memory, clock, "ada", organization="acme")
    async with calling(app, "operator-of-acme") as client:
        batch = (await client.post(TRIGGER)).json()["batch"]
        assert [message["conversation_ids"] for message in queued(administrator)] == [theirs]
        due = {"due_at": (clock.now - timedelta(hours=2)).isoformat()}
        assert (await client.post(CRON, json=due)).json()["enqueued"] == 1
        assert (await client.post(CRON, json=due)).json() == NOTHING
    async with calling(app, JOBS) as client:
        assert (await client.post(CRON, json=due)).json()["enqueued"] == 2
        assert (await client.get(f"/tasks/batches/{batch['id']}")).json() == batch


async def test_the_cron_route_counts_once_for_each_due_time(
    app: FastAPI, memory: Memory, clock: Clock, administrator: sa.Engine
) -> None:
    clock.now = clock.now.replace(minute=59, second=0)
    memory.of(user="ada").items.set("a", "b", 1)
    memory.of(user="bob").conversations.append("call-1", [{"role": "user", "content": "hello"}])
    clock.move(60)
    async with calling(app, JOBS) as client:
        first = await client.post(CRON)
        assert (first.status_code, first.json()["enqueued"], first.json()["batch"]["kind"]) == (202, 2, "daily")
        messages = queued(administrator)
        assert [message["task_type"] for message in messages] == ["UPDATE_MEMORY"] * 2
        assert all(message.keys() == {"task_type", "owner_id"} for message in messages)
        clock.move(59 * 60)
        assert (await client.post(CRON)).json() == NOTHING, "it is the same hour"
        named = {"due_at": clock.now.replace(minute=0).isoformat()}
        assert (await client.post(CRON, json=named)).json() == NOTHING, "and the same hour by name"
        assert queued(administrator) == messages
        clock.move(60)
        assert (await client.post(CRON)).json()["batch"] is not None
        clock.move(timedelta(hours=26).total_seconds())
        nobody = (await client.post(CRON)).json()
        assert (nobody["enqueued"], nobody["batch"]["finished_at"] is None) == (0, False)


async def test_a_due_time_lies_ahead_of_the_clock_by_minutes_at_the_most(
    app: FastAPI, clock: Clock, administrator: sa.Engine
) -> None:
    async with calling(app, JOBS) as client:
        for ahead, status in ((timedelta(minutes=4), 202), (timedelta(minutes=6), 422), (timedelta(days=1), 422)):
            answer = await client.post(CRON, json={"due_at": (clock.now + ahead).isoformat()})
            assert answer.status_code == status, ahead
            if status == 422:
                assert code(answer) == (422, "invalid_input")
                assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/due_at"]
        tomorrow = clock.now + timedelta(days=1)
        clock.now = tomorrow
        assert (await client.post(CRON, json={"due_at": tomorrow.isoformat()})).json()["batch"] is not None
    assert queued(administrator) == []


async def test_who_was_said_to_be_active_is_updated(
    app: FastAPI, memory: Memory, clock: Clock, administrator: sa.Engine
) -> None:
    memory.of(user="ada").profile.set("Drinks tea.")
    async with calling(app, "only-operator", **{"Memory-User": "ada"}) as client:
        assert (await client.post(CRON)).json()["enqueued"] == 0
        assert (await client.post("/v1/activity")).json() == {"done": True}
        clock.move(3_600)
        assert (await client.post(CRON)).json()["enqueued"] == 1
        assert (await client.post("/v1/activity", headers={"Memory-User": "nobody"})).json() == {"done": True}
    for token, headers in (("ada", {}), ("gateway", {"Memory-User": "ada"})):
        async with calling(app, token, **headers) as client:
            assert code(await client.post("/v1/activity")) == (403, "insufficient_scope")


@pytest.mark.parametrize(
    "body",
    [
        {"due_at": "2026-11-20T09:00:00"},
        {"due_at": "0001-01-01T00:00:00Z"},
        {"due_at": "9999-12-31T23:59:59-12:00"},
        {"due_at": "soon"},
        {"due_at": 0},
        {"due_at": "1700000000"},
        {"due": "2026-11-20T09:00:00Z"},
        {"organization": "acme"},
    ],
    ids=str,
)
async def test_what_is_no_due_time_sets_nothing_off(app: FastAPI, administrator: sa.Engine, body: Any) -> None:
    async with calling(app, JOBS) as client:
        assert code(await client.post(CRON, json=body)) == (422, "invalid_input")
        assert code(await client.post(TRIGGER, json=body)) == (422, "invalid_input")
    assert queued(administrator) == []


@pytest.mark.parametrize(
    ("token", "said"),
    [
        (None, (401, "unauthenticated")),
        ("nobody's", (401, "unauthenticated")),
        (JOBS[:-1], (401, "unauthenticated")),
        (JOBS + "x", (401, "unauthenticated")),
        ("ada", (403, "insufficient_scope")),
        ("gateway", (403, "insufficient_scope")),
    ],
)
async def test_work_is_set_off_by_the_token_of_the_jobs_or_an_operator(
    app: FastAPI, memory: Memory, clock: Clock, administrator: sa.Engine, token: str | None, said: tuple[int, str]
) -> None:
    ended(memory, clock, "ada")
    async with calling(app, token) as client:
        for path in (TRIGGER, CRON):
            assert code(await client.post(path)) == said
            assert code(await client.get(path)) == (405, "method_not_allowed")
        assert code(await client.get(f"/tasks/batches/{uuid4()}")) == said
    assert queued(administrator) == []


async def test_the_token_of_the_jobs_opens_nobodys_memory(app: FastAPI, memory: Memory) -> None:
    memory.of(user="ada").profile.set("secret")
    async with calling(app, JOBS) as client:
        for headers in ({}, {"Memory-User": "ada"}):
            assert code(await client.get("/v1/profile", headers=headers)) == (401, "unauthenticated")


async def test_a_server_without_a_token_of_the_jobs_knows_none(memory: Memory, operator_memory: Memory) -> None:
    upkeep = Upkeep(operator_memory, SqlQueue(operator_memory.database))
    app = app_of(memory, operator_memory=operator_memory, routers=[tasks_router(upkeep)])
    for token in (None, "None", "x"):
        async with calling(app, token) as client:
            assert code(await client.post(TRIGGER)) == (401, "unauthenticated")
            assert code(await client.post(TRIGGER, headers={"Authorization": "Bearer "})) == (401, "unauthenticated")


async def test_a_batch_tells_how_far_it_is(app: FastAPI, memory: Memory, operator_memory: Memory, clock: Clock) -> None:
    ended(memory, clock, "ada", "bob")
    database = operator_memory.database
    async with calling(app, JOBS) as client:
        path = f"/tasks/batches/{(await client.post(TRIGGER)).json()['batch']['id']}"
        outcomes: list[tuple[str, Outcome]] = [("ada", "updated"), ("bob", "unchanged")]
        for done, (user, outcome) in enumerate(outcomes, start=1):
            [conversation] = memory.of(user=user).conversations.all().entries
            held = lease(database, "conversation", conversation.id, seconds=60)
            assert isinstance(held, Lease)
            with database.begin(held.owner) as stores:
                stores.jobs.finish(held, outcome, TokenUsage(100, 10))
            batch = (await client.get(path)).json()
            assert (batch["waiting"], batch["updated"], batch["unchanged"]) == (2 - done, 1, done - 1)
            assert (batch["input_tokens"], batch["output_tokens"]) == (100 * done, 10 * done)
            assert (batch["finished_at"] is not None) is (done == 2)
        assert code(await client.get(f"/tasks/batches/{uuid4()}")) == (404, "not_found")
        assert code(await client.get("/tasks/batches/17")) == (422, "invalid_input")


async def test_a_batch_of_everybody_or_of_others_is_answered_like_one_that_is_not_there(
    app: FastAPI, memory: Memory, clock: Clock
) -> None:
    ended(memory, clock, "ada")
    ended(memory, clock, "ada", organization="acme")
    async with calling(app, "operator") as client:
        own = (await client.post(TRIGGER)).json()["batch"]["id"]
        assert (await client.get(f"/tasks/batches/{own}")).status_code == 200
    async with calling(app, JOBS) as client:
        everybodys = (await client.post(TRIGGER)).json()["batch"]["id"]
    async with calling(app, "operator-of-acme") as client:
        answers = [await client.get(f"/tasks/batches/{each}") for each in (own, everybodys, uuid4())]
    assert {code(answer) for answer in answers} == {(404, "not_found")}
    assert len({answer.content for answer in answers}) == 1
