import logging
from typing import Any

import mcp.shared._otel
import pytest
from mcp import Client
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.shared.exceptions import MCPError
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from mcp_server import create_server
from memory_tools.memory import Memory
from tests.mcp_server.conftest import ERAS


class Surprise(Exception):
    """What nobody foresaw."""


@pytest.mark.parametrize("era", ERAS)
async def test_what_nobody_foresaw_is_told_without_its_text(
    era: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter, tracers = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(mcp.shared._otel, "_tracer", tracers.get_tracer("mcp"))

    async def surprise(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        if ctx.method == "resources/list":
            raise Surprise("quetzalcoatl")
        return await call_next(ctx)

    with Memory.open("sqlite://", through="mcp") as memory, caplog.at_level(logging.DEBUG):
        server = create_server(memory, person=memory.of(user="ada"))
        server.middleware.append(surprise)
        async with Client(server, mode=era) as client:
            with pytest.raises(MCPError, match="internal_error: The memory could not be used") as told:
                await client.list_resources()
    assert told.value.code == -32603
    assert "resources/list failed: Surprise" in caplog.text
    spans = exporter.get_finished_spans()
    assert "resources/list" in [span.name for span in spans]
    assert "quetzalcoatl" not in f"{told.value} {caplog.text} {[span.to_json() for span in spans]}"


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    ("name", "arguments"), [("quetzalcoatl", {}), ("remember", {}), ("remember", {"what": "quetzalcoatl" * 1_000})]
)
async def test_a_prompt_that_is_none_is_the_clients_mistake(
    era: str, name: str, arguments: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with Memory.open("sqlite://", through="mcp") as memory, caplog.at_level(logging.WARNING):
        async with Client(create_server(memory, person=memory.of(user="ada")), mode=era) as client:
            with pytest.raises(MCPError) as told:
                await client.get_prompt(name, arguments)
    assert told.value.code == -32602
    assert caplog.text == ""
    assert "quetzalcoatl" not in str(told.value)
