"""Tasks: the routes that set work off, for schedulers and operators: seeds 003 and 001."""

from datetime import datetime, timedelta
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter
from pydantic import Field

from http_api.answer_schemas import NUMBER, TEXT, known, maybe
from http_api.asking import Trigger, triggered
from http_api.problems import InvalidQuestion
from http_api.routes import Plain, add_route
from memory_tools.access import Scope
from memory_tools.operation import Effect, Input, Omittable
from memory_tools.upkeep import EARLIEST, Upkeep
from memory_tools.written_time import WrittenTime
from storage.errors import NotFound
from storage.json_types import Json
from storage.work.batches import Batch, get_batch
from storage.work.job_store import ENDED

AHEAD: Final = timedelta(minutes=5)
"""How far a due time may lie ahead of the clock: whoever claimed a later one would have that day left out."""


class Nothing(Input):
    """There is nothing to say."""


class Due(Input):
    """When the daily job is due."""

    due_at: Annotated[
        Omittable[Annotated[WrittenTime, Field(ge=EARLIEST)]],
        Field(
            description="The due time, with a zone, which counts once whoever comes with it, and is not in the future; "
            "the full hour of now."
        ),
    ]


class BatchWanted(Input):
    """One batch."""

    batch_id: Annotated[UUID, Field(description="The id of the batch.")]


_SUMS: Final = ("total", "waiting", *ENDED)
_COSTS: Final = ("input_tokens", "output_tokens", "cost_micros")
_BATCH: Final = known(
    id=TEXT,
    kind=TEXT,
    created_at=TEXT,
    finished_at=maybe(TEXT),
    **{name: NUMBER for name in (*_SUMS, *_COSTS)},
)
_BEGUN: Final = known(status={"const": "ok"}, enqueued=NUMBER, batch=maybe(_BATCH))
_TAG: Final = "tasks"
_WHO: Final = "For who has the token of the jobs, and for operators of one organization, whose own people are meant."


def tasks_router(upkeep: Upkeep) -> APIRouter:
    """Return the routes that set off the work of `upkeep`, and tell how far it is."""
    router = APIRouter(route_class=Plain)

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

    add_route(
        router,
        "POST /tasks/trigger-memory-generation",
        "trigger_memory_generation",
        end_of_conversations,
        Nothing,
        effect=Effect.WRITE,
        asking=triggered,
        scope=Scope.OPERATE,
        status=202,
        answer=_BEGUN,
        summary="Have conversations remembered that have ended",
        tag=_TAG,
        description="Everything goes into one message of the queue; where there is nothing to do, `batch` is null. "
        + _WHO,
        named_by_header=False,
    )
    add_route(
        router,
        "POST /api/cron/memory-update",
        "run_daily_update",
        day,
        Due,
        effect=Effect.WRITE,
        asking=triggered,
        scope=Scope.OPERATE,
        status=202,
        answer=_BEGUN,
        summary="Have the memory of everybody updated who was active in the last 24 hours",
        tag=_TAG,
        description="Once for each due time: `batch` is null where somebody else came first. " + _WHO,
        named_by_header=False,
    )
    add_route(
        router,
        "GET /tasks/batches/{batch_id}",
        "get_batch",
        progress,
        BatchWanted,
        effect=Effect.READ,
        asking=triggered,
        scope=Scope.OPERATE,
        answer=_BATCH,
        summary="See what has become of a batch so far",
        tag=_TAG,
        description="`cost_micros` are millionths of the currency of the prices that the workers know. " + _WHO,
        named_by_header=False,
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
