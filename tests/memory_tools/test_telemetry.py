import asyncio
import json
import subprocess
import sys
from dataclasses import replace
from time import perf_counter
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from memory_tools.operation import Effect
from memory_tools.operations import CATALOG
from memory_tools.telemetry import (
    CAPTURE_CONTENT,
    count_outcome,
    count_unavailable,
    error_type,
    memory_operation,
    observed,
)
from storage.errors import NotFound, UserMemoryError, VersionConflict
from tests.telemetry import Heard

SECRET = "Ada drinks gunpowder tea"
READING: dict[str, Any] = {"name": "get_memory_item", "store": "items", "door": "langchain"}


def test_an_operation_is_a_span_by_the_names_of_the_conventions(heard: Heard) -> None:
    with observed("search_memory", **READING) as seen:
        seen.records(3)
    assert (heard.span.name, heard.span.kind) == ("search_memory", SpanKind.INTERNAL)
    assert heard.span.attributes == {
        "gen_ai.operation.name": "search_memory",
        "gen_ai.memory.store.id": "items",
        "gen_ai.memory.record.count": 3,
        "usermemory.operation": "get_memory_item",
        "usermemory.door": "langchain",
    }
    assert heard.span.status.status_code is StatusCode.UNSET
    assert heard.span.instrumentation_scope is not None
    assert heard.span.instrumentation_scope.name == "usermemory"


def test_its_duration_is_measured_in_seconds(heard: Heard) -> None:
    began = perf_counter()
    for _ in range(2):
        with observed("search_memory", **READING) as seen:
            seen.records(3)
    both = perf_counter() - began
    (point,) = heard.points("gen_ai.client.operation.duration")
    assert point.count == 2
    assert 0 < point.sum < both
    assert point.attributes == {
        "gen_ai.operation.name": "search_memory",
        "gen_ai.memory.store.id": "items",
        "usermemory.operation": "get_memory_item",
        "usermemory.door": "langchain",
    }
    assert {exemplar.span_id for exemplar in point.exemplars} <= {span.context.span_id for span in heard.spans}
    assert point.exemplars


def test_what_happens_inside_is_a_child(heard: Heard) -> None:
    with observed("update_memory", name="update", store="document", door="graph"), observed("search_memory", **READING):
        assert trace.get_current_span().is_recording()
    inner, outer = heard.spans
    assert inner.parent == outer.context
    assert not trace.get_current_span().is_recording()


def test_awaited_blocks_do_not_become_each_others_children(heard: Heard) -> None:
    async def one() -> None:
        with observed("search_memory", **READING):
            await asyncio.sleep(0)

    async def several() -> None:
        await asyncio.gather(*(one() for _ in range(3)))

    asyncio.run(several())
    assert [span.parent for span in heard.spans] == [None] * 3


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFound(SECRET), "not_found"),
        (VersionConflict(SECRET), "version_conflict"),
        (RuntimeError(SECRET), "_OTHER"),
        (asyncio.CancelledError(SECRET), "_OTHER"),
    ],
)
def test_an_error_that_leaves_is_kept_as_its_code_alone(heard: Heard, error: BaseException, code: str) -> None:
    with pytest.raises(type(error)), observed("search_memory", **READING):
        raise error
    assert heard.span.status.status_code is StatusCode.ERROR
    assert heard.span.status.description == code
    assert heard.span.events == ()
    assert heard.span.attributes is not None
    assert heard.span.attributes["error.type"] == code
    (point,) = heard.points("gen_ai.client.operation.duration")
    assert point.attributes["error.type"] == code
    assert SECRET not in heard.everything()


def test_an_error_that_stays_in_the_block_is_told(heard: Heard) -> None:
    with observed("search_memory", **READING) as seen:
        seen.failed("too_large")
    assert heard.span.status.description == "too_large"
    (point,) = heard.points("gen_ai.client.operation.duration")
    assert point.attributes["error.type"] == "too_large"


def test_the_code_that_was_told_outlives_the_error_of_a_door(heard: Heard) -> None:
    def answer_at_a_door() -> None:
        with observed("search_memory", **READING) as seen:
            seen.failed("not_found")
            raise ValueError(SECRET)

    with pytest.raises(ValueError):
        answer_at_a_door()
    assert heard.span.status.description == "not_found"
    assert SECRET not in heard.everything()


@pytest.mark.parametrize("switch", [None, "", "false", "1", "NO_CONTENT"])
def test_content_is_not_even_made_unless_asked_for(
    heard: Heard, monkeypatch: pytest.MonkeyPatch, switch: str | None
) -> None:
    if switch is not None:
        monkeypatch.setenv(CAPTURE_CONTENT, switch)
    made: list[str] = []

    def make() -> str:
        made.append(SECRET)
        return SECRET

    with observed("search_memory", **READING) as seen:
        seen.content(SECRET)
        seen.content(make)
        seen.query(SECRET)
    assert made == []
    assert SECRET not in heard.everything()


@pytest.mark.parametrize("switch", ["true", "TRUE", "True"])
def test_content_is_told_when_asked_for(heard: Heard, monkeypatch: pytest.MonkeyPatch, switch: str) -> None:
    monkeypatch.setenv(CAPTURE_CONTENT, switch)
    for text in (SECRET, lambda: SECRET):
        with observed("search_memory", **READING) as seen:
            seen.content(text)
            seen.query("tea?")
    for span in heard.spans:
        assert span.attributes is not None
        assert json.loads(str(span.attributes["gen_ai.memory.records"])) == [{"content": SECRET}]
        assert span.attributes["gen_ai.memory.query.text"] == "tea?"
    (point,) = heard.points("gen_ai.client.operation.duration")
    assert SECRET not in str(point.attributes)


def test_outcomes_and_runs_without_memory_are_counted(heard: Heard) -> None:
    for status in ("saved", "held", "saved"):
        count_outcome(status)
    count_unavailable("database_unavailable")
    outcomes = {
        point.attributes["usermemory.update.status"]: point.value
        for point in heard.points("usermemory.update.outcomes")
    }
    assert outcomes == {"saved": 2, "held": 1}
    (gone,) = heard.points("usermemory.memory.unavailable")
    assert (gone.attributes, gone.value) == ({"error.type": "database_unavailable"}, 1)


def test_every_operation_has_a_name_in_the_conventions() -> None:
    names = {name: memory_operation(operation) for name, operation in CATALOG.items()}
    assert {name for name, word in names.items() if word == "create_memory"} == {"append_messages"}
    changing = {"update_user_memory", "revert_user_memory", "accept_pending_version"}
    assert {name for name, word in names.items() if word == "update_memory"} <= changing
    words = {Effect.READ: {"search_memory"}, Effect.ERASE: {"delete_memory"}}
    writes = {"create_memory", "update_memory", "upsert_memory"}
    assert all(names[name] in words.get(operation.effect, writes) for name, operation in CATALOG.items())
    assert (names["set_memory_item"], names["revert_user_memory"]) == ("upsert_memory", "update_memory")


def test_a_change_of_the_document_is_an_update() -> None:
    def update_user_memory(memory: Any, ask: Any) -> None:
        """Change it."""

    operation = replace(CATALOG["set_memory_item"], function=update_user_memory)
    assert memory_operation(operation) == "update_memory"


def test_only_errors_of_ours_have_codes() -> None:
    foreign = KeyError("x")
    foreign.code = "looks_like_one"  # type: ignore[attr-defined]
    assert error_type(foreign) == "_OTHER"
    assert error_type(NotFound()) == "not_found"
    assert error_type(UserMemoryError()) == "user_memory_error"


LATE = """
from memory_tools.telemetry import count_outcome, observed
def use():
    count_outcome("saved")
    with observed("search_memory", name="recall", store="document", door="graph") as seen:
        seen.records(1)
        seen.content("nobody listens")
use()
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
exporter, reader, tracers = InMemorySpanExporter(), InMemoryMetricReader(), TracerProvider()
tracers.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(tracers)
metrics.set_meter_provider(MeterProvider([reader]))
use()
use()
scopes = reader.get_metrics_data().resource_metrics[0].scope_metrics
(ours,) = [scope for scope in scopes if scope.scope.name == "usermemory"]
print(len(exporter.get_finished_spans()), sorted(metric.name for metric in ours.metrics))
"""


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def test_providers_that_are_set_after_the_first_use_are_honoured() -> None:
    assert run(LATE) == "2 ['gen_ai.client.operation.duration', 'usermemory.update.outcomes']"


@pytest.mark.parametrize("module", ["usermemory", "memory_tools.memory", "memory_tools.operations", "storage.database"])
def test_who_does_not_need_it_does_not_load_it(module: str) -> None:
    assert run(f"import sys, {module}; print(any(name.startswith('opentelemetry') for name in sys.modules))") == "False"


def test_it_loads_no_agent_framework_and_no_sdk() -> None:
    heavy = ("langchain", "langchain_core", "langgraph", "opentelemetry.sdk")
    look = f"import sys, memory_tools.telemetry; print([name for name in {heavy!r} if name in sys.modules])"
    assert run(look) == "[]"
