"""MCP: our server beside the reference memory server of npm and a Python peer, each a process spoken to over stdio.

What counts is the CPU of the server's process, since machines are shared; what the client takes is nobody's figure.
The same client speaks to all of them. Peers are installed into a cache folder (`benchmarks/over_mcp/peers.py`), and
each runs by its own interpreter without npx or uvx. Servers on SQLite and PostgreSQL are durable, as they come.
"""

import asyncio
import random
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from statistics import median

import click
from mcp_types import CallToolResult

from benchmarks.over_mcp.bench import QUICK, Bench, Sizes
from benchmarks.over_mcp.calls import measure_calls, ready
from benchmarks.over_mcp.peers import ENCODING, PeerMissing, basic_memory, npm_packages, tokens_of
from benchmarks.over_mcp.running import Running, acknowledged, compact, peak_of, running, text_of, tree_of
from benchmarks.over_mcp.servers import TEXTS, BasicMemory, Contender, Ours, Reference, key_of
from benchmarks.over_mcp.table import Table
from tests.postgres import running_cluster

START_LIMIT = 1.5
"""Seconds of CPU from the start of our server to its list of tools."""

MEMORY_LIMIT = 120
"""MB that the process may have had resident by then."""

TOOLS_LIMIT = 10
"""Tools that a model is shown."""

SCHEMA_LIMIT = 3_600
"""Bytes of compact JSON of what a model is shown of them."""

ANSWER_LIMIT = 2_000
"""Tokens of any answer that nobody asked to be longer."""


Start = tuple[float, float, float]
"""Seconds of CPU, seconds, and MB at the most."""


async def measure_writes(bench: Bench) -> None:
    """Write at once, to one process and to several, and let a fresh process read what was acknowledged."""
    for processes in (1, bench.sizes.processes):
        for name, contender in bench.contenders().items():
            slow = isinstance(contender, BasicMemory)
            await write_at_once(
                bench, name, contender, processes, bench.sizes.slow_writes if slow else bench.sizes.writes
            )


async def write_at_once(bench: Bench, name: str, contender: Contender, processes: int, writes: int) -> None:
    """Note how many acknowledged writes of one server are kept."""
    texts = {key_of(number): f"what is kept as {number * 7_919:08}" for number in range(processes * writes)}

    async def write(server: Running, key: str) -> str | None:
        said = await acknowledged(server, contender.write(key, texts[key]))
        return key if said is not None and contender.took(said) else None

    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(running(contender.parameters, bench.log)) for _ in range(processes)]
        cpu, began = sum(server.cpu() for server in servers), time.perf_counter()
        answers = await asyncio.gather(*(write(servers[at % processes], key) for at, key in enumerate(texts)))
        wall, cpu = time.perf_counter() - began, sum(server.cpu() for server in servers) - cpu
    said_to_be_kept = [key for key in answers if key]
    kept = 0
    async with running(contender.parameters, bench.log) as fresh:
        for key in said_to_be_kept:
            kept += texts[key] in (await acknowledged(fresh, contender.read(key)) or "")
    section, who = "Writes at once", "1 process" if processes == 1 else f"{processes} processes"
    bench.add(section, f"{who}: writes", name, len(texts))
    bench.add(section, f"{who}: refused or never answered", name, len(texts) - len(said_to_be_kept), 0)
    bench.add(section, f"{who}: acknowledged and lost", name, len(said_to_be_kept) - kept, 0)
    bench.add(section, f"{who}: CPU of the servers for each write, ms", name, 1_000 * cpu / len(texts))
    bench.add(section, f"{who}: writes per second", name, len(texts) / wall)


async def measure_starts(bench: Bench) -> None:
    """Start each server to its list of tools, in turns: on a new store, which it may have to make, and once more."""
    first: dict[str, list[Start]] = {}
    again: dict[str, list[Start]] = {}
    contenders: list[tuple[str, Contender]] = []
    for turn in range(bench.sizes.starts):
        contenders = list(bench.with_the_floor().items())
        for name, contender in random.sample(contenders, len(contenders)):
            if isinstance(contender, BasicMemory) and turn >= bench.sizes.slow_starts:
                continue
            for seen in (first, again):
                async with running(contender.parameters, bench.log) as server:
                    await server.tools()
                    start = tree_of(server.pid), time.perf_counter() - server.began, peak_of(server.pid)
                seen.setdefault(name, []).append(start)
    section = "Start to the list of tools"
    for name, _ in contenders:
        cpu, wall, peak = (list(each) for each in zip(*again[name], strict=True))
        bench.add(section, "CPU of all its processes, s", name, median(cpu), START_LIMIT)
        bench.add(section, "the same on a new store, s", name, median(each for each, _, _ in first[name]), START_LIMIT)
        bench.add(section, "wall time, s", name, median(wall))
        bench.add(section, "peak memory of the server process, MB", name, max(peak), MEMORY_LIMIT)


async def measure_schemas(bench: Bench) -> None:
    """Weigh what a model is shown of the tools: name, description and inputSchema."""
    section = "What a model is shown"
    for name, contender in bench.contenders().items():
        async with running(contender.parameters, bench.log) as server:
            tools = await server.tools()
            said = server.client.instructions or ""
        visible = compact(
            [{"name": each.name, "description": each.description, "inputSchema": each.input_schema} for each in tools]
        )
        full = compact([each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in tools])
        tokens, all_tokens, told = tokens_of([visible, full, said])
        bench.add(section, "tools", name, len(tools), TOOLS_LIMIT)
        bench.add(section, "bytes", name, len(visible.encode()), SCHEMA_LIMIT)
        bench.add(section, f"tokens ({ENCODING})", name, tokens)
        bench.add(section, "tokens of the whole tools/list", name, all_tokens)
        bench.add(section, "tokens of the instructions of the server", name, told)


async def measure_answers(bench: Bench) -> None:
    """Count the tokens of what every read tool answers by default from a large memory, in several kinds of text."""
    sizes = bench.sizes
    for kind, text in TEXTS.items():
        ours = bench.ours()
        ours.fill_all(text, items=sizes.memories, document=sizes.document, versions=sizes.versions)
        await weigh_answers(bench, ours, kind, sizes.memories)
    for peer in bench.peers:
        contender = peer(bench.place())
        items = sizes.slow_memories if isinstance(contender, BasicMemory) else sizes.memories
        contender.fill(items)
        await weigh_answers(bench, contender, "English", items)


async def weigh_answers(bench: Bench, contender: Contender, kind: str, items: int) -> None:
    """Note the longest text that a read tool gives a model, and of ours all of them."""
    section, name = f"Default answers, tokens ({ENCODING})", contender.name
    async with running(contender.parameters, bench.log) as server:
        await ready(server, contender, items)
        answers = await default_answers(server, contender)
    names, texts = list(answers), [text_of(answer) for answer in answers.values()]
    tokens = dict(zip(names, tokens_of(texts), strict=True))
    structured = max(tokens_of([compact(answer.structured_content or {}) for answer in answers.values()]))
    longest = max(tokens, key=tokens.__getitem__)
    click.echo(f"  {name}: {longest} is the longest of {', '.join(names)}", err=True)
    bench.add(section, f"memories, {kind}", name, items)
    bench.add(section, f"the longest, {kind}", name, tokens[longest], ANSWER_LIMIT)
    bench.add(section, f"the longest structured content, {kind}", name, structured)
    if isinstance(contender, Ours):
        for tool, count in tokens.items():
            bench.add(section, f"{tool}, {kind}", name, count, ANSWER_LIMIT)


async def default_answers(server: Running, contender: Contender) -> dict[str, CallToolResult]:
    """Return what each read tool answers to the arguments that it demands, and tell which refuses."""
    answers = {}
    for tool in await server.tools():
        arguments = contender.reads().get(tool.name, {})
        lacks = set(tool.input_schema.get("required", ())) - set(arguments)
        if lacks or not (tool.annotations and tool.annotations.read_only_hint):
            continue
        try:
            answers[tool.name] = await server.call((tool.name, arguments))
        except RuntimeError as error:
            click.echo(f"  {contender.name}: {error}", err=True)
    return answers


SECTIONS: dict[str, Callable[[Bench], Coroutine[None, None, None]]] = {
    "writes": measure_writes,
    "starts": measure_starts,
    "schemas": measure_schemas,
    "calls": measure_calls,
    "answers": measure_answers,
}
"""What can be measured."""


def peers_of(wanted: Sequence[str]) -> Iterator[type[Reference] | type[BasicMemory]]:
    """Yield the peers that can be installed, and say why another is missing."""
    for peer, install in ((Reference, npm_packages), (BasicMemory, basic_memory)):
        if peer.name not in wanted:
            continue
        try:
            install()
        except PeerMissing as error:
            click.echo(f"  without {peer.name}: {error}", err=True)
        else:
            yield peer


@contextmanager
def bench_of(sizes: Sizes, peers: Sequence[str], postgresql: bool) -> Iterator[Bench]:
    """Make room for the stores, and start PostgreSQL where it is wanted."""
    with ExitStack() as stack:
        folder = tempfile.TemporaryDirectory(prefix="usermemory-bench-", ignore_cleanup_errors=True)
        cluster = stack.enter_context(running_cluster()) if postgresql else None
        yield Bench(Path(stack.enter_context(folder)), Table(), sizes, list(peers_of(peers)), cluster)


@click.command()
@click.option("--section", "sections", multiple=True, type=click.Choice(list(SECTIONS)), help="Only this; repeat.")
@click.option(
    "--peer",
    "peers",
    multiple=True,
    type=click.Choice([Reference.name, BasicMemory.name, "none"]),
    default=(Reference.name, BasicMemory.name),
    help="Only beside this; repeat.",
)
@click.option("--postgresql", is_flag=True, help="Ours on PostgreSQL too.")
@click.option("--quick", is_flag=True, help="A short run: its figures say little.")
@click.option("--json", "save_to", help="Write the figures to this file.")
def main(sections: Sequence[str], peers: Sequence[str], postgresql: bool, quick: bool, save_to: str | None) -> None:
    """Measure MCP servers side by side; progress goes to stderr, the table to stdout."""
    with bench_of(QUICK if quick else Sizes(), peers, postgresql) as bench:
        for section in sections or SECTIONS:
            click.echo(f"{section} ...", err=True)
            asyncio.run(SECTIONS[section](bench))
        bench.table.show()
        if save_to:
            bench.table.save(save_to)
    if bench.table.missed:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
