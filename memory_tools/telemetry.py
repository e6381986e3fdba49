"""Telemetry: what OpenTelemetry is told of an operation: how it was called, how long it took, how it ended.

The names are those of the GenAI memory conventions (semantic-conventions-genai, in development), our own begin with
`usermemory.`. Whose memory it is never stands in them, and what it says only on request. Only the API is used: nothing
is recorded until the host sets providers.
"""

import json
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from time import perf_counter
from typing import Any, Final

from opentelemetry import metrics, trace

from memory_tools.operation import Effect, Operation
from storage.errors import UserMemoryError

CAPTURE_CONTENT: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
"""The environment variable that must be `true` for spans to hold what memory says."""

_SCOPE: Final = "usermemory"
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48)
"""Where the buckets of the durations end: those of the conventions, and finer ones, for memory that is near."""

_EFFECTS: Final = {
    Effect.READ: "search_memory",
    Effect.WRITE: "upsert_memory",
    Effect.ERASE: "delete_memory",
}
_WRITES: Final = {
    "append_messages": "create_memory",
    "update_user_memory": "update_memory",
    "revert_user_memory": "update_memory",
    "accept_pending_version": "update_memory",
}
"""The operations that only create, or only change what is there, and may not do either."""


@dataclass(slots=True)
class Observation:
    """What becomes known of an operation while it runs."""

    span: trace.Span
    error: str | None = None
    """Its stable code, once it has failed."""

    def records(self, count: int) -> None:
        """Say how many records were read, or were to be written or deleted."""
        self.span.set_attribute("gen_ai.memory.record.count", count)

    def content(self, text: str | Callable[[], str]) -> None:
        """Say what was read or written, if that is wanted; a function is not called otherwise."""
        if self._wanted():
            said = text if isinstance(text, str) else text()
            self.span.set_attribute("gen_ai.memory.records", json.dumps([{"content": said}], ensure_ascii=False))

    def query(self, text: str) -> None:
        """Say what was searched for, if that is wanted."""
        if self._wanted():
            self.span.set_attribute("gen_ai.memory.query.text", text)

    def failed(self, code: str) -> None:
        """Say that it failed, for an error that does not leave the block."""
        self.error = code
        self.span.set_attribute("error.type", code)
        self.span.set_status(trace.StatusCode.ERROR, code)

    def _wanted(self) -> bool:
        return self.span.is_recording() and os.environ.get(CAPTURE_CONTENT, "").lower() == "true"


@contextmanager
def observed(operation: str, *, name: str, store: str, door: str) -> Generator[Observation]:
    """Observe the block as one operation on memory: a span, and a duration.

    `operation` is the word of the conventions (see `memory_operation`), `name` that of the catalog or of a step,
    `store` the kind of memory, `door` the way it came. What leaves the block counts as failed: its code is kept, unless
    `failed` gave one before, and its message, which may quote memory, is not.
    """
    attributes: dict[str, str] = {
        "gen_ai.operation.name": operation,
        "gen_ai.memory.store.id": store,
        "usermemory.operation": name,
        "usermemory.door": door,
    }
    span = _tracer().start_span(operation, attributes=attributes)
    observation = Observation(span)
    began = perf_counter()
    with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield observation
        except BaseException as error:
            if observation.error is None:
                observation.failed(error_type(error))
            raise
        finally:
            if observation.error is not None:
                attributes["error.type"] = observation.error
            _durations().record(perf_counter() - began, attributes)


def memory_operation(operation: Operation[Any, Any]) -> str:
    """Return what the conventions call an operation of the catalog."""
    return word(operation.name, operation.effect)


def word(name: str, effect: Effect) -> str:
    """Return what the conventions call something of this name and effect."""
    return _WRITES.get(name) or _EFFECTS[effect]


def error_type(error: BaseException) -> str:
    """Return the stable code of an error of ours, `_OTHER` for any other."""
    return error.code if isinstance(error, UserMemoryError) else "_OTHER"


def count_outcome(status: str) -> None:
    """Count what became of an update: saved, unchanged, held, failed or nothing_new."""
    _outcomes().add(1, {"usermemory.update.status": status})


def count_unavailable(code: str) -> None:
    """Count that an agent went on without memory, by the code of the error."""
    _unavailable().add(1, {"error.type": code})


# Asked for once: what the API hands out before the host has set a provider passes on to it afterwards.
@cache
def _tracer() -> trace.Tracer:
    return trace.get_tracer(_SCOPE)


@cache
def _meter() -> metrics.Meter:
    return metrics.get_meter(_SCOPE)


@cache
def _durations() -> metrics.Histogram:
    return _meter().create_histogram(
        "gen_ai.client.operation.duration",
        unit="s",
        description="How long operations on memory take.",
        explicit_bucket_boundaries_advisory=_SECONDS,
    )


@cache
def _outcomes() -> metrics.Counter:
    return _meter().create_counter("usermemory.update.outcomes", "{update}", "What became of updates of memory.")


@cache
def _unavailable() -> metrics.Counter:
    return _meter().create_counter("usermemory.memory.unavailable", "{run}", "Runs that went on without memory.")
