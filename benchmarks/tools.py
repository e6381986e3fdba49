"""Tools: what a call of `get_user_memory` costs above the read it is for, and what a model pays to know of the tools.

A ToolNode costs something even around a tool that does nothing. That is measured beside it (`empty`), with the same
schema, so that our own share stands by itself. The config that the node is called with is that of a node of a graph.
"""

import asyncio
import statistics
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

import click
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, ToolRuntime

from benchmarks.documents import document_of
from benchmarks.measuring import Act, Report, Timing, interleaved
from benchmarks.places import Place, postgresql_place, sqlite_place
from graphs.testing import calls
from memory_tools.answer import as_text
from memory_tools.context import MemoryContext
from memory_tools.langchain import get_user_memory_tools
from storage.canonical import dumps

ADDED_LIMIT = 1.0
"""Milliseconds that a call may cost above the bare read."""

SCHEMA_LIMIT = 3_600
"""Bytes of compact JSON of all tools of an agent."""

DOCUMENT = 10_240
"""Bytes of the document that is read."""

STATES = (10, 2_000)
"""Messages in the state of the graph."""

NAME = "get_user_memory"

Said = tuple[str, Any]
"""What the tools here answer: a text for the model, and the artifact."""


def thread_of(size: int) -> list[AnyMessage]:
    """Return that many messages, the person and the model in turns, each with an id; the last is the person's."""
    spoken: list[AnyMessage] = []
    for number in reversed(range(size)):
        kind = AIMessage if number % 2 else HumanMessage
        spoken.append(kind(f"What was said as number {number} of this conversation.", id=f"m-{number}"))
    return spoken


def added(timings: Mapping[str, Timing], name: str, *below: str, cpu: bool) -> float:
    """Return the median milliseconds that an operation takes above others of the same round."""
    rounds = {each: timing.cpu if cpu else timing.wall for each, timing in timings.items()}
    costs = zip(rounds[name], *(rounds[each] for each in below), strict=True)
    return 1_000 * float(statistics.median(first - sum(rest) for first, *rest in costs))


def tell(report: Report, save_to: str | None) -> None:
    """Write the figures where asked and name what was missed, which is no failure of the run."""
    with suppress(SystemExit):
        report.finish(save_to)


def config_of_a_node(context: Any, *, on_a_loop: bool) -> RunnableConfig:
    """Return the config with which a graph calls its nodes."""
    seen: list[RunnableConfig] = []

    def node(state: MessagesState, config: RunnableConfig) -> None:
        seen.append(config)

    builder: Any = StateGraph(MessagesState, MemoryContext)
    builder.add_node("tools", node)
    builder.add_edge(START, "tools")
    graph, asked = builder.compile(), {"messages": [HumanMessage("Hello")]}
    asyncio.run(graph.ainvoke(asked, context=context)) if on_a_loop else graph.invoke(asked, context=context)
    return seen[0]


def nothing(*, runtime: ToolRuntime[Any, Any] = None, config: RunnableConfig, **asked: Any) -> Said:  # type: ignore[assignment]
    """Read what is known about the person. Use it first."""
    return "nothing", None


def called(tool: BaseTool, messages: list[AnyMessage], context: Any = None) -> Act:
    """Return a call of the tool in a ToolNode; raises RuntimeError when a first one ends with an error."""
    node, state, config = ToolNode([tool]), {"messages": messages}, config_of_a_node(context, on_a_loop=False)
    require_success(node.invoke(state, config))
    return lambda _: node.invoke(state, config)


def awaited(tool: BaseTool, messages: list[AnyMessage], loop: asyncio.AbstractEventLoop, context: Any = None) -> Act:
    """Do the same on an event loop."""
    node, state, config = ToolNode([tool]), {"messages": messages}, config_of_a_node(context, on_a_loop=True)

    def act(_: int) -> Any:
        return loop.run_until_complete(node.ainvoke(state, config))

    require_success(act(0))
    return act


def require_success(answered: Any) -> None:
    """Raise RuntimeError when a tool answered with an error: its time would say nothing."""
    for message in answered["messages"]:
        if message.status != "success":
            raise RuntimeError(message.content)


def measure_calls(place: Place, report: Report, rounds: int, operations: int) -> None:
    """Call the tool for a bound person, and for one whom the context names, beside the bare read and an empty tool."""
    place.person.document.append(document_of(DOCUMENT))
    (bound,) = get_user_memory_tools(place.person, operations=[NAME])
    (unbound,) = get_user_memory_tools(place.memory, operations=[NAME])
    empty = StructuredTool.from_function(
        nothing, name=NAME, args_schema=bound.args_schema, response_format="content_and_artifact"
    )
    ada, loop = MemoryContext(user_id="ada"), asyncio.new_event_loop()
    for size in STATES:
        messages: list[AnyMessage] = [*thread_of(size - 1), calls(NAME, {})]

        def bare(_: int) -> None:
            place.person.document.current()

        contenders: dict[str, Act] = {
            "bare": bare,
            "invoke, empty": called(empty, messages),
            "invoke, bound": called(bound, messages),
            "invoke, context": called(unbound, messages, ada),
            "invoke, one place": called(bound, [*messages[:-1], calls(NAME, {"pointer": "/safety_notes"})]),
            "ainvoke, empty": awaited(empty, messages, loop),
            "ainvoke, bound": awaited(bound, messages, loop),
            "ainvoke, context": awaited(unbound, messages, loop, ada),
            "ainvoke, one place": awaited(bound, [*messages[:-1], calls(NAME, {"pointer": "/safety_notes"})], loop),
        }
        timings = interleaved(contenders, rounds=rounds, operations=operations, server=place.server)
        report_calls(report, f"{place.name}, {size:,} messages", timings)
    loop.close()


def report_calls(report: Report, where: str, timings: Mapping[str, Timing]) -> None:
    """Note what the calls cost above the bare read, and what of it is ours."""
    for clock, cpu in (("CPU", True), ("wall", False)):
        bare = timings["bare"].cpu_median if cpu else timings["bare"].wall_median
        report.add(f"{where}: document.current(), {clock}", bare * 1_000, unit=" ms")
        for way in ("invoke", "ainvoke"):
            report.add(f"{where}: {way}, an empty tool, {clock}", added(timings, f"{way}, empty", cpu=cpu), unit=" ms")
            for whose in ("bound", "context", "one place"):
                name = f"{way}, {whose}"  # one place: of a bound person
                above = added(timings, name, "bare", cpu=cpu)
                report.add(f"{where}: {name}, above current(), {clock}", above, ADDED_LIMIT, " ms")
                share = added(timings, name, "bare", f"{way}, empty", cpu=cpu)
                report.add(f"{where}: {name}, our share of that, {clock}", share, unit=" ms")


def size_of(tools: Iterable[BaseTool]) -> int:
    """Return the bytes of compact JSON that a model is sent to know of the tools, in OpenAI's format."""
    return len(dumps([convert_to_openai_tool(tool) for tool in tools]).encode())


def measure_schemas(place: Place, report: Report) -> None:
    """Weigh our tools, and LangMem's two where it is installed."""
    ours = get_user_memory_tools(place.person)
    for tool in ours:
        report.add(f"schema of {tool.name}", size_of([tool]), unit=" bytes")
    report.add(f"schemas of all {len(ours)} tools", size_of(ours), SCHEMA_LIMIT, " bytes")
    theirs = langmem_tools()
    for tool in theirs:
        report.add(f"schema of {tool.name} (LangMem)", size_of([tool]), unit=" bytes")
    if theirs:
        report.add("schemas of both tools of LangMem", size_of(theirs), unit=" bytes")


def langmem_tools() -> list[BaseTool]:
    """Return LangMem's tools for one person's memories; none, and a word about it, where it is not installed."""
    try:
        from langmem import (  # type: ignore[import-untyped,unused-ignore]
            create_manage_memory_tool,
            create_search_memory_tool,
        )
    except ImportError:
        click.echo("  LangMem is not installed, so its schemas are not weighed: uv sync --group benchmarks", err=True)
        return []
    namespace = ("memories", "{langgraph_user_id}")
    return [create_manage_memory_tool(namespace), create_search_memory_tool(namespace)]


def same_function_with(place: Place) -> dict[str, BaseTool]:
    """Return tools that all read the document and write it for a model, and differ in how they know their arguments."""

    def read() -> Said:
        document = place.person.document.current().document
        return as_text(document), document

    def explicit(*, runtime: ToolRuntime[Any, Any] = None, **asked: Any) -> Said:  # type: ignore[assignment]
        return read()

    def without(at: int | datetime | None = None, pointer: str | None = None) -> Said:
        return read()

    def plain(runtime: ToolRuntime, at: int | datetime | None = None, pointer: str | None = None) -> Said:
        return read()

    def typed(runtime: ToolRuntime[Any, Any], at: int | datetime | None = None, pointer: str | None = None) -> Said:
        return read()

    (ours,) = get_user_memory_tools(place.person, operations=[NAME])
    functions: dict[str, tuple[Callable[..., Said], Any]] = {
        "explicit schema": (explicit, ours.args_schema),
        "inferred, no runtime": (without, None),
        "inferred, ToolRuntime": (plain, None),
        "inferred, ToolRuntime[Any, Any]": (typed, None),
    }
    made = {
        name: StructuredTool.from_function(
            function,
            name=NAME,
            description=ours.description,
            args_schema=schema,
            response_format="content_and_artifact",
        )
        for name, (function, schema) in functions.items()
    }
    return {"ours, all of it": ours, **made}


def measure_inference(place: Place, report: Report, rounds: int, operations: int) -> None:
    """Call the same function with a schema that was written, and with one inferred from its signature."""
    messages: list[AnyMessage] = [*thread_of(STATES[-1] - 1), calls(NAME, {})]
    tools = same_function_with(place)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydantic's, about a state it cannot write
        contenders = {name: called(tool, messages) for name, tool in tools.items()}
        timings = interleaved(contenders, rounds=rounds, operations=operations, server=place.server)
    for name, tool in tools.items():
        report.add(f"{name}: schema", size_of([tool]), unit=" bytes")
        report.add(f"{name}: a call, {STATES[-1]:,} messages, CPU", timings[name].cpu_median * 1_000, unit=" ms")


@click.command()
@click.option("--rounds", default=15, help="Rounds in which the contenders take turns.")
@click.option("--operations", default=40, help="Calls of each contender in a round.")
@click.option("--quick", is_flag=True, help="A short run: its figures say little.")
@click.option("--json", "save_to", help="Write the figures to this file.")
def main(rounds: int, operations: int, quick: bool, save_to: str | None) -> None:
    """Measure calls of a memory tool, CPU of client and server with fsync off, and weigh the schemas."""
    if quick:
        rounds, operations = 3, 10
    report = Report("tools")
    with sqlite_place() as place:
        measure_schemas(place, report)
        measure_calls(place, report, rounds, operations)
        measure_inference(place, report, rounds, max(1, operations // 3))
    with postgresql_place() as place:
        measure_calls(place, report, rounds, operations)
    tell(report, save_to)


if __name__ == "__main__":
    main()
