"""Agents: a hundred at once on one event loop, each for another person, and how late that loop gets around to others.

Each run reads memory, asks a model that takes its time twice (it calls one tool, then answers), and keeps the turn.
The very same runs without memory, with a tool that does nothing, take turns with them. Nothing may block the loop:
blockbuster watches, also over what waits for PostgreSQL, which it does not know by itself; planted calls show that it
sees them. What the middleware would survive (it goes on without memory) fails the run here.
"""

import asyncio
import gc
import logging
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import click
import psycopg
from blockbuster import BlockBusterFunction, BlockingError, blockbuster_ctx
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage

from benchmarks.measuring import Report
from benchmarks.middleware import NOOP, LoopingModel, people_of
from benchmarks.places import Place, postgresql_place, sqlite_place
from benchmarks.tools import NAME, tell
from graphs.middleware import UserMemoryMiddleware
from memory_tools.context import MemoryContext
from memory_tools.memory import UserMemory
from storage.prepared_calls import PreparedCalls
from storage.settings import DatabaseSettings

THINKING = 0.05
"""Seconds that the model takes for an answer."""

NAP = 0.005
"""Seconds that the watcher of the loop wants to sleep."""

SPOKEN = 3
"""Messages of a turn that are kept: the question, the answer of the tool, and the answer."""


@dataclass
class Seen:
    """What all rounds of one kind showed."""

    late: list[float] = field(default_factory=list)
    """Seconds that the watcher woke too late, each time."""

    wall: list[float] = field(default_factory=list)
    """Seconds that all agents of a round took together."""

    cpu: list[float] = field(default_factory=list)
    """Seconds of CPU of a round, of this process and the server."""

    errors: list[str] = field(default_factory=list)


class Unavailable(logging.Handler):
    """Collects what is logged as a warning or worse: so it is told that an agent goes on without memory."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._errors = errors

    def emit(self, record: logging.LogRecord) -> None:
        """Note a record as an error of the round."""
        self._errors.append(record.getMessage())


def agents_of(place: Place) -> dict[str, Any]:
    """Return the agent with memory and the one without."""
    memory = UserMemoryMiddleware(place.memory, auto_store=True, tools=[NAME])
    return {
        "without memory": create_agent(
            LoopingModel(tool=NOOP.name, pause=THINKING), [NOOP], context_schema=MemoryContext
        ),
        "with memory": create_agent(
            LoopingModel(tool=NAME, pause=THINKING), middleware=[memory], context_schema=MemoryContext
        ),
    }


async def together(agent: Any, people: Sequence[UserMemory], seen: Seen) -> None:
    """Let the agent run for everybody at once, and note what went wrong and how late the loop was meanwhile."""

    async def run(person: UserMemory) -> Any:
        user = person.identity.user
        config = {"configurable": {"thread_id": f"t-{user}"}}
        asked = {"messages": [HumanMessage("What do you know about me?")]}
        return await agent.ainvoke(asked, config, context=MemoryContext(user_id=user))

    watcher = asyncio.create_task(watch(seen.late))
    began = time.perf_counter()
    answers = await asyncio.gather(*map(run, people), return_exceptions=True)
    seen.wall.append(time.perf_counter() - began)
    watcher.cancel()
    seen.errors += [fault for answer in answers for fault in faults_of(answer)]


async def watch(late: list[float]) -> None:
    """Note how late each nap ends, until cancelled."""
    while True:
        began = time.perf_counter()
        await asyncio.sleep(NAP)
        late.append(time.perf_counter() - began - NAP)


def faults_of(answer: Any) -> Iterator[str]:
    """Yield what is wrong with the outcome of a run, without what was said in it."""
    if isinstance(answer, BaseException):
        yield f"{type(answer).__name__}"
        return
    spoken = answer["messages"]
    if [each.type for each in spoken] != ["human", "ai", "tool", "ai"]:
        yield "a run went another way"
    if any(each.type == "tool" and each.status != "success" for each in spoken):
        yield "a tool answered with an error"


@contextmanager
def guarded() -> Iterator[None]:
    """Let every blocking call on an event loop raise BlockingError; waiting for PostgreSQL counts as one."""
    waiting = (BlockBusterFunction(psycopg.Connection, "wait"), BlockBusterFunction(PreparedCalls, "call"))
    with blockbuster_ctx(), ExitStack() as stack:
        for each in waiting:
            each.activate()
            stack.callback(each.deactivate)
        yield


def require_watchful(person: UserMemory) -> None:
    """Raise RuntimeError where a read on the loop goes unnoticed: then a run without errors would prove nothing."""

    async def by_statement() -> None:
        person.document.current()

    async def in_a_transaction() -> None:
        with person.read() as stores:
            stores.snapshots.current()

    pool = logging.getLogger("sqlalchemy.pool")
    pool.setLevel(logging.CRITICAL + 1)  # it tells at length that nothing can be rolled back on the loop either
    try:
        for blocking in (by_statement, in_a_transaction):
            with guarded(), suppress(BlockingError):
                asyncio.run(blocking())
                raise RuntimeError("a call that blocks the event loop was not noticed")
    finally:
        pool.setLevel(logging.NOTSET)


def measure(place: Place, report: Report, agents: int, rounds: int, threads: int | None) -> list[str]:
    """Let the two kinds take turns; return what went wrong."""
    people = people_of(place.memory, agents)
    require_watchful(people[0])
    kinds = {name: (agent, Seen()) for name, agent in agents_of(place).items()}
    with asyncio.Runner() as runner:
        if threads is not None:
            set_threads(runner, threads)
        for number in range(rounds + 1):
            for agent, seen in list(kinds.values())[:: 1 if number % 2 else -1]:
                round_of(place, runner, agent, people, seen)
            if number == 0:  # warm: connections open, statements prepared, threads begun
                for _, seen in kinds.values():
                    seen.late, seen.wall, seen.cpu = [], [], []
    for name, (_, seen) in kinds.items():
        report_seen(report, f"{place.name}: {agents} agents {name}", seen)
    errors = [error for _, seen in kinds.values() for error in seen.errors]
    kept = sum(person.conversations.totals().messages for person in people)
    if kept != SPOKEN * agents * (rounds + 1):
        errors.append(f"{kept} messages were kept, not {SPOKEN * agents * (rounds + 1)}")
    return errors


def set_threads(runner: asyncio.Runner, threads: int) -> None:
    """Give the loop as many threads."""
    runner.get_loop().set_default_executor(ThreadPoolExecutor(threads))


def round_of(place: Place, runner: asyncio.Runner, agent: Any, people: Sequence[UserMemory], seen: Seen) -> None:
    """Run one round under guard; what is logged as a warning is an error."""
    log, handler = logging.getLogger(), Unavailable(seen.errors)
    log.addHandler(handler)
    gc.collect()
    served, used = place.server.cpu() if place.server else 0.0, time.process_time()
    try:
        with guarded():
            runner.run(together(agent, people, seen))
    finally:
        log.removeHandler(handler)
    used = time.process_time() - used
    seen.cpu.append(used + (place.server.cpu() - served if place.server else 0.0))


def report_seen(report: Report, what: str, seen: Seen) -> None:
    """Note the lag of the loop, and how long all took."""
    cuts = statistics.quantiles(seen.late, n=100)
    report.add(f"{what}: loop late, median", cuts[49] * 1_000, unit=" ms")
    report.add(f"{what}: loop late, p99", cuts[98] * 1_000, unit=" ms")
    report.add(f"{what}: loop late, most", max(seen.late) * 1_000, unit=" ms")
    report.add(f"{what}: naps in all rounds", len(seen.late), unit="")
    report.add(f"{what}: wall time of a round", statistics.median(seen.wall) * 1_000, unit=" ms")
    report.add(f"{what}: CPU of a round", statistics.median(seen.cpu) * 1_000, unit=" ms")
    report.add(f"{what}: errors", len(seen.errors), 0, unit="")


@click.command()
@click.option("--agents", default=100, help="Agents at once.")
@click.option("--rounds", default=10, help="Rounds in which the two kinds take turns.")
@click.option("--threads", type=int, help="Threads of the event loop; by default those that asyncio gives it.")
@click.option("--quick", is_flag=True, help="A short run: its figures say little.")
@click.option("--json", "save_to", help="Write the figures to this file.")
def main(agents: int, rounds: int, threads: int | None, quick: bool, save_to: str | None) -> None:
    """Measure the lag of the event loop, durable; ends with 1 when anything went wrong in a run."""
    if quick:
        rounds = 2
    by_default = min(32, (os.cpu_count() or 1) + 4)
    pool = DatabaseSettings().pool_size
    print(f"  {threads or by_default} threads for the loop, {pool} connections for transactions, {pool} for statements")
    report = Report("agents")
    errors: list[str] = []
    for opened in (postgresql_place, sqlite_place):
        with opened(durable=True) as place:
            errors += measure(place, report, agents, rounds, threads)
    tell(report, save_to)
    if errors:
        print(f"{len(errors)} errors: {'; '.join(sorted(set(errors)))}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
