"""Calls: the CPU of a server for one read and one write, with more and more items in the memory."""

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from statistics import fmean, median

import click

from benchmarks.measuring import Server
from benchmarks.over_mcp.bench import POSTGRESQL, Bench
from benchmarks.over_mcp.running import Ask, Running, cost_of, peak_of, running, text_of
from benchmarks.over_mcp.servers import (
    LENGTH,
    BareSDK,
    BasicMemory,
    Contender,
    Ours,
    Reference,
    english,
    items_of,
    key_of,
)

READ_LIMIT, WRITE_LIMIT = 2.0, 2.5
"""Milliseconds of CPU of the server for each call."""

FLAT = 1.2
"""How many times what the cheapest size costs the dearest may cost."""

TOO_SLOW = 2.0
"""Seconds of one call after which a server is not measured with so many items."""

BLOCK = 1.0
"""Seconds that the calls of one turn may take: a slow server is asked less often."""

FOUND_WITHIN = 300
"""Seconds that a server may take to find files that were put there."""

SECTION = "CPU of the server for a call, ms"
"""The heading of the figures."""

Measured = tuple[str, str, int]
"""A server, a kind of call, and how many items there are."""


@dataclass
class Turns:
    """Calls of one kind to one server with so many items, block after block."""

    server: Running
    calls: int
    ask: Callable[[int], Ask]
    database: Server | None
    costs: list[float] = field(default_factory=list)
    database_costs: list[float] = field(default_factory=list)
    made: int = 0

    async def turn(self) -> None:
        """Do one block of calls."""
        asks = [self.ask(self.made + number) for number in range(self.calls)]
        self.made += self.calls
        before = self.database.cpu() if self.database else 0.0
        self.costs.append(1_000 * await cost_of(self.server, asks))
        if self.database:
            self.database_costs.append(1_000 * (self.database.cpu() - before) / self.calls)


def kinds_of(contender: Contender, items: int) -> dict[str, Callable[[int], Ask]]:
    """Return what is measured: kinds of calls, each made of a running number."""
    random_ = random.Random(3)
    kinds: dict[str, Callable[[int], Ask]] = {
        "read one": lambda number: contender.read(key_of(random_.randrange(items))),
        "write a new one": lambda number: contender.write(f"new-{number:06}", english(random_, LENGTH)),
    }
    if isinstance(contender, Ours):
        kinds["write over one"] = lambda number: contender.write(
            key_of(random_.randrange(items)), english(random_, LENGTH)
        )
        kinds["list the first page"] = lambda number: ("list_memory_items", {})
    return kinds


async def measure_calls(bench: Bench) -> None:
    """Read and write. Ours of all sizes take turns with the bare SDK; then the sizes of each peer do.

    Peers do not run beside ours: some of them work even when nobody asks.
    """
    smallest, *_ = bench.sizes.items
    ours = [(items, name, each) for items in bench.sizes.items for name, each in bench.ours_on_all().items()]
    await take_turns(bench, [*ours, (smallest, BareSDK.name, BareSDK())])
    for peer in bench.peers:
        sizes = [items for items in bench.sizes.items if peer is Reference or items <= bench.sizes.slow_items]
        await take_turns(bench, [(items, peer.name, peer(bench.place())) for items in sizes])


async def take_turns(bench: Bench, contenders: Sequence[tuple[int, str, Contender]]) -> None:
    """Run servers at once, each with so many items, and call one after the other."""
    measured: dict[Measured, Turns] = {}
    async with AsyncExitStack() as stack:
        for items, name, contender in contenders:
            contender.fill(items)
            server = await stack.enter_async_context(running(contender.parameters, bench.log))
            await ready(server, contender, items)
            measured |= await turns_of(bench, name, contender, items, server)
        for _ in range(bench.sizes.rounds):
            for turns in random.sample(list(measured.values()), len(measured)):
                await turns.turn()
        peaks = {name: peak_of(turns.server.pid) for (name, _, _), turns in measured.items()}
    tell(bench, measured)
    for name, peak in peaks.items():
        bench.add(SECTION, "peak memory with the most items, MB", name, peak)


async def turns_of(bench: Bench, name: str, contender: Contender, items: int, server: Running) -> dict[Measured, Turns]:
    """Return what can be measured of a server: each kind of call is tried, and left out where it takes too long."""
    whose = Server(bench.cluster.pid) if bench.cluster and name == POSTGRESQL else None
    measured = {}
    for kind, ask in kinds_of(contender, items).items():
        await server.call(ask(10**5))
        began = time.perf_counter()
        await server.call(ask(10**5 + 1))
        took = time.perf_counter() - began
        if took > TOO_SLOW:
            bench.add(SECTION, f"{kind}, {items:,} items", name, f"skipped: {took:.1f} s")
            continue
        each = max(1, min(bench.sizes.calls, int(BLOCK / took)))
        measured[name, kind, items] = Turns(server, each, ask, whose)
    return measured


async def ready(server: Running, contender: Contender, items: int) -> None:
    """Wait until a server that finds its files by itself knows the last one."""
    if not isinstance(contender, BasicMemory):
        return
    key = key_of(items - 1)
    sought, end = dict(items_of(items))[key], time.perf_counter() + FOUND_WITHIN
    while sought not in text_of(await server.call(contender.read(key))):
        if time.perf_counter() > end:
            raise click.ClickException(f"{contender.name} does not find its {items} notes")
        await asyncio.sleep(1)


def tell(bench: Bench, measured: dict[Measured, Turns]) -> None:
    """Note the median of the turns, and how much dearer the dearest size is, by the smallest's of the round."""
    for kind in dict.fromkeys(kind for _, kind, _ in measured):
        of_kind = [(name, items, turns) for (name, each, items), turns in measured.items() if each == kind]
        shares: dict[str, list[float]] = {}
        for name, items, turns in of_kind:
            limit = WRITE_LIMIT if kind.startswith("write") else READ_LIMIT
            bench.add(SECTION, f"{kind}, {items:,} items", name, median(turns.costs), limit)
            if turns.database:
                besides = fmean(turns.database_costs)
                bench.add(SECTION, f"{kind}, {items:,} items: of the database besides", name, besides)
            smallest = next(other for whose, _, other in of_kind if whose == name)
            share = median(cost / first for cost, first in zip(turns.costs, smallest.costs, strict=True))
            shares.setdefault(name, []).append(share)
        for name, each in shares.items():
            if len(each) > 1:
                bench.add(SECTION, f"{kind}: the dearest size / the cheapest", name, max(each) / min(each), FLAT)
