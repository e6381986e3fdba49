"""Tasks: the routes that set work off, for schedulers and operators: seeds 003 and 001."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter
from pydantic import AwareDatetime, BeforeValidator, Field
from starlette.requests import Request
from starlette.responses import Response

from http_api.answers import NUMBER, TEXT, known, maybe
from http_api.asking import Trigger, triggered
from http_api.description import described
from http_api.operations import Plain
from http_api.problems import InvalidQuestion
from memory_tools.access import Scope
from memory_tools.operation import Effect, Input, Omittable
from memory_tools.upkeep import EARLIEST, Upkeep
from storage.errors import NotFound
from storage.json_types import Json
from storage.work.batches import Batch, get_batch

AHEAD: Final = timedelta(minutes=5)
"""How far a due time may lie ahead of the clock: whoever claimed a later one would have that day left out."""


def _as_time(value: Any) -> Any:
    """Refuse numbers, also as text: nobody says whether they count seconds or milliseconds, and 0 is everybody."""
    if isinstance(value, str) and "-" in value[1:]:
        return value
    raise ValueError("write the time as 2026-11-20T09:00:00+00:00")


class Nothing(Input):
    """There is nothing to say."""


class Due(Input):
    """When the daily job is due."""

    due_at: Annotated[
        Omittable[Annotated[AwareDatetime, Field(ge=EARLIEST), BeforeValidator(_as_time)]],
        Field(
            description="The due time, with a zone, which counts once whoever comes with it, and is not in the future; "
            "the full hour of now."
        ),
    ]


class BatchWanted(Input):
    """One batch."""

    batch_id: Annotated[UUID, Field(description="The id of the batch.")]


_SUMS: Final = ("total", "waiting", "updated", "unchanged", "held", "skipped", "failed")
_COSTS: Final = ("input_tokens", "output_tokens", "cost_micros")
_BATCH: Final = known(
    id=TEXT,
    kind=TEXT,
    created_at=TEXT,
    finished_at=maybe(TEXT),
    **{name: NUMBER for name in (*_SUMS, *_COSTS)},
)
_BEGUN: Final = known(status={"const": "ok"}, enqueued=NUMBER, batch=maybe(_BATCH))
_WHO: Final = "For who has the token of the jobs, and for operators of one organization, whose own people are meant."


def tasks_router(upkeep: Upkeep | None) -> APIRouter:
    """Return the routes; without an upkeep there are none."""
    router = APIRouter(route_class=Plain)
    if upkeep is None:
        return router

    def end_of_conversations(trigger: Trigger, _: Nothing) -> Json:
        return _begun(upkeep.conversations_ended(trigger.organization, trigger.idempotency_key))

    def day(trigger: Trigger, ask: Due) -> Json:
        due_at = ask.due_at or _this_hour(upkeep)
        if due_at > upkeep.database.clock() + AHEAD:
            raise InvalidQuestion([{"pointer": "/due_at", "message": "the due time lies in the future"}])
        return _begun(upkeep.daily(due_at, trigger.organization, trigger.idempotency_key))

    def progress(trigger: Trigger, ask: BatchWanted) -> Json:
        batch = get_batch(upkeep.database, ask.batch_id)
        if trigger.organization not in (None, batch.organization):
            raise NotFound("there is no such batch")
        return shown(batch)

    def add(
        route: str, name: str, act: Any, question: type[Input], answer: Any, summary: str, said: str, status: int
    ) -> None:
        method, _, path = route.partition(" ")

        async def endpoint(request: Request) -> Response:
            return await triggered(request, act, question, name=name, status=status)

        effect = Effect.READ if method == "GET" else Effect.WRITE
        description = described(
            name,
            method,
            path,
            question,
            summary=summary,
            description=f"{said} {_WHO}",
            effect=effect,
            answer=answer,
            status=status,
            tag="tasks",
            scope=Scope.OPERATE,
            named_by_header=False,
        )
        router.add_api_route(path, endpoint, methods=[method], **description)

    add(
        "POST /tasks/trigger-memory-generation",
        "trigger_memory_generation",
        end_of_conversations,
        Nothing,
        _BEGUN,
        "Have conversations remembered that have ended",
        "Everything goes into one message of the queue; where there is nothing to do, `batch` is null.",
        202,
    )
    add(
        "POST /api/cron/memory-update",
        "run_daily_update",
        day,
        Due,
        _BEGUN,
        "Have the memory of everybody updated who was active in the last 24 hours",
        "Once for each due time: `batch` is null where somebody else came first.",
        202,
    )
    add(
        "GET /tasks/batches/{batch_id}",
        "get_batch",
        progress,
        BatchWanted,
        _BATCH,
        "See what has become of a batch so far",
        "`cost_micros` are millionths of the currency of the prices that the workers know.",
        200,
    )
    return router


def shown(batch: Batch) -> dict[str, Json]:
    """Return a batch as JSON: its sums, and nothing about anybody."""
    return {
        "id": str(batch.id),
        "kind": batch.kind,
        "created_at": batch.created_at.isoformat(),
        "finished_at": None if batch.finished_at is None else batch.finished_at.isoformat(),
        **{name: getattr(batch, name) for name in (*_SUMS, *_COSTS)},
    }


def _begun(batch: Batch | None) -> Json:
    return {
        "status": "ok",
        "enqueued": 0 if batch is None else batch.total,
        "batch": None if batch is None else shown(batch),
    }


def _this_hour(upkeep: Upkeep) -> datetime:
    return upkeep.database.clock().replace(minute=0, second=0, microsecond=0)
