"""What a host hears of operations: OpenTelemetry providers that keep everything in memory."""

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import metrics, trace
from opentelemetry.metrics import _internal as metrics_api
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from memory_tools import telemetry
from memory_tools.telemetry import CAPTURE_CONTENT


def forget_instruments() -> None:
    for obtained in vars(telemetry).values():
        if hasattr(obtained, "cache_clear"):
            obtained.cache_clear()


class Heard:
    """What a host's providers were told."""

    def __init__(self, exporter: InMemorySpanExporter, reader: InMemoryMetricReader) -> None:
        self._exporter = exporter
        self._reader = reader

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()

    @property
    def span(self) -> ReadableSpan:
        (span,) = self.spans
        return span

    def points(self, name: str) -> list[Any]:
        data = self._reader.get_metrics_data()
        scopes = [scope for resource in data.resource_metrics for scope in resource.scope_metrics] if data else []
        found = [metric for scope in scopes for metric in scope.metrics if metric.name == name]
        return [point for metric in found for point in metric.data.data_points]

    def everything(self) -> str:
        data = self._reader.get_metrics_data()
        return "".join(span.to_json() for span in self.spans) + (data.to_json() if data else "")


def listen(monkeypatch: pytest.MonkeyPatch) -> Iterator[Heard]:
    """Set providers as a host does; take them back afterwards, which the API itself does not allow."""
    monkeypatch.delenv(CAPTURE_CONTENT, raising=False)
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracers = TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    meters = MeterProvider([reader], shutdown_on_exit=False)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", tracers)
    monkeypatch.setattr(metrics_api, "_METER_PROVIDER", meters)
    assert (trace.get_tracer_provider(), metrics.get_meter_provider()) == (tracers, meters)
    forget_instruments()
    yield Heard(exporter, reader)
    forget_instruments()
    tracers.shutdown()
    meters.shutdown()
