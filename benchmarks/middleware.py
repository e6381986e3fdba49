"""Middleware: what memory adds to each run of an agent, and to each of its model calls, in a long conversation.

The model answers at once and calls a tool that does nothing, so that a run has as many model calls as is wanted. What
a run of six calls costs more than a run of one, with memory and without, is the part of the model calls; the rest of
what a run of one costs more is the part of the run: it reads before and keeps after.
"""

import asyncio
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click
import sqlalchemy as sa
from langchain.agents import create_agent
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.outputs import ChatResult
from langchain_core.tools import BaseTool, tool
from langgraph.runtime import Runtime

from benchmarks.documents import document_of
from benchmarks.measuring import Act, Report, Timing, interleaved
from benchmarks.places import Place, postgresql_place, sqlite_place
from benchmarks.tools import tell, thread_of
from graphs.middleware import UserMemoryMiddleware
from graphs.recollection import BUDGET
from graphs.testing import Answer, ScriptedChatModel, calls
from memory_tools.context import MemoryContext
from memory_tools.known import read_known
from memory_tools.memory import Memory, UserMemory
from memory_tools.presentation import memory_text

CALL_LIMIT = 2.0
"""Milliseconds of CPU that memory may add to a model call."""

MESSAGES = 2_000
"""Messages of the conversation before the run."""

FEW, MANY = 1, 6
"""Model calls of a run."""

PEOPLE = 50
"""People who take turns, so that nobody's unsummarized conversation grows long."""

SIZES = {"4 KB": 4_096, "100 KB": 102_400}
"""Bytes of the documents whose first block is built."""

DOCUMENT = 4_096
"""Bytes of the document of each person in the runs."""


class LoopingModel(ScriptedChatModel):
    """Calls one tool after the other until the turn has as many answers of tools as it wants, then says that is all.

    Any number of runs may ask it at once, and nothing is kept of what it was asked. `pause` is in seconds, and only on
    an event loop.
    """

    tool: str = "noop"
    wanted: int = 1
    pause: float = 0

    def _asked(self, messages: list[BaseMessage], tools: Sequence[dict[str, Any]] = (), **_: Any) -> Answer:
        answered = 0
        for message in reversed(messages):
            if message.type == "human":
                break
            answered += message.type == "tool"
        return calls(self.tool, {}) if answered < self.wanted else "That is all."

    async def _agenerate(self, messages: list[BaseMessage], *_: Any, **kwargs: Any) -> ChatResult:
        await asyncio.sleep(self.pause)
        return await super()._agenerate(messages, **kwargs)


@tool
def noop() -> str:
    """Do nothing."""
    return "done"


NOOP: BaseTool = noop


def people_of(memory: Memory, number: int, size: int = DOCUMENT) -> list[UserMemory]:
    """Return people who are known already, each with a document."""
    people = [memory.of(user=f"person-{each}") for each in range(number)]
    for each, person in enumerate(people):
        person.document.append(document_of(size, seed=each))
    return people


def runs_of(wanted: int, middleware: Sequence[UserMemoryMiddleware]) -> Act:
    """Return a run of an agent in a long conversation, with as many calls of the model."""
    agent: Any = create_agent(
        LoopingModel(wanted=wanted - 1),
        [NOOP],
        system_prompt="You are a host.",
        middleware=middleware,
        context_schema=MemoryContext,
    )
    before = thread_of(MESSAGES)[:-1]

    def act(number: int) -> None:
        person = f"person-{number % PEOPLE}"
        asked = [*before, HumanMessage("What did I say?", id=f"question-{number}")]
        config = {"configurable": {"thread_id": f"t-{person}"}}
        agent.invoke({"messages": asked}, config, context=MemoryContext(user_id=person))

    return act


def measure_runs(place: Place, report: Report, rounds: int, operations: int) -> None:
    """Run agents without memory, with it, and with turns kept; few and many model calls each, in turns."""
    people_of(place.memory, PEOPLE)
    kinds: dict[str, Sequence[UserMemoryMiddleware]] = {
        "without": (),
        "told": (UserMemoryMiddleware(place.memory),),
        "told and kept": (UserMemoryMiddleware(place.memory, auto_store=True),),
    }
    contenders = {
        f"{kind}, {wanted}": runs_of(wanted, middleware) for kind, middleware in kinds.items() for wanted in (FEW, MANY)
    }
    timings = interleaved(contenders, rounds=rounds, operations=operations, server=place.server)
    for clock in ("CPU", "wall"):
        report_runs(report, place.name, timings, clock)
    for kind, transactions in (("told", 1), ("told and kept", 2)):
        for wanted in (FEW, MANY):
            with begun(place.memory) as statements:
                contenders[f"{kind}, {wanted}"](0)
            what = f"{place.name}: {kind}: transactions of a run of {wanted}"
            report.add(what, len(statements), transactions, unit="")


def report_runs(report: Report, where: str, timings: Mapping[str, Timing], clock: str) -> None:
    """Note what memory adds to a run and to a model call."""
    costs = {name: each.cpu if clock == "CPU" else each.wall for name, each in timings.items()}
    for wanted in (FEW, MANY):
        plain = statistics.median(costs[f"without, {wanted}"]) * 1_000
        report.add(f"{where}: a run of {wanted} without memory, {clock}", plain, unit=" ms")
    for kind in ("told", "told and kept"):
        few, many = (
            [ours - plain for ours, plain in zip(costs[f"{kind}, {n}"], costs[f"without, {n}"], strict=True)]
            for n in (FEW, MANY)
        )
        for wanted, more in ((FEW, few), (MANY, many)):
            report.add(
                f"{where}: {kind}: a run of {wanted}, added {clock}", statistics.median(more) * 1_000, unit=" ms"
            )
        each = statistics.median((b - a) / (MANY - FEW) for a, b in zip(few, many, strict=True)) * 1_000
        limit = CALL_LIMIT if clock == "CPU" else None
        report.add(f"{where}: {kind}: each model call, added {clock}", each, limit, " ms")
        report.add(f"{where}: {kind}: before and after, {clock}", statistics.median(few) * 1_000 - each, unit=" ms")
        spread = statistics.median(many) * 1_000 / MANY
        report.add(f"{where}: {kind}: all of a run of {MANY}, for each model call, {clock}", spread, unit=" ms")


@contextmanager
def begun(memory: Memory) -> Iterator[list[str]]:
    """Count the transactions that are begun."""
    statements: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("BEGIN"):
            statements.append(statement)

    sa.event.listen(memory.database.engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        sa.event.remove(memory.database.engine, "before_cursor_execute", note)


def measure_first_block(place: Place, report: Report, rounds: int, operations: int) -> None:
    """Build the first block of a small and of a large document, by itself and with all that is done before a run."""
    contenders: dict[str, Act] = {}
    for name, size in SIZES.items():
        person = place.memory.of(user=name)
        person.document.append(document_of(size))
        contenders |= first_block_of(person, name)
    timings = interleaved(contenders, rounds=rounds, operations=operations, server=place.server)
    for what, timing in timings.items():
        report.add(f"{place.name}: {what}, CPU", timing.cpu_median * 1_000, unit=" ms")
        report.add(f"{place.name}: {what}, wall", timing.wall_median * 1_000, unit=" ms")


def first_block_of(person: UserMemory, name: str) -> dict[str, Act]:
    """Return the build of the block, and the hook that reads and builds."""
    with person.read() as stores:
        known = read_known(stores)
    middleware = UserMemoryMiddleware(person)
    state: Any = {"messages": [HumanMessage("Hello", id="q")]}

    def build(_: int) -> None:
        memory_text(known, budget=BUDGET * 2 // 3)

    def recall(_: int) -> None:
        middleware.before_agent(state, Runtime())

    return {f"first block of {name}": build, f"before_agent with {name}": recall}


@click.command()
@click.option("--rounds", default=21, help="Rounds in which the contenders take turns.")
@click.option("--operations", default=8, help="Runs of each contender in a round.")
@click.option("--quick", is_flag=True, help="A short run: its figures say little.")
@click.option("--json", "save_to", help="Write the figures to this file.")
def main(rounds: int, operations: int, quick: bool, save_to: str | None) -> None:
    """Measure what memory adds to an agent, CPU of client and server with fsync off."""
    if quick:
        rounds, operations = 3, 1
    report = Report("middleware")
    for opened in (sqlite_place, postgresql_place):
        with opened() as place:
            measure_runs(place, report, rounds, operations)
            measure_first_block(place, report, rounds, operations * 5)
    tell(report, save_to)


if __name__ == "__main__":
    main()
