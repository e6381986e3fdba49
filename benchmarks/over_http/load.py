"""Load: requests per second with so many connections at once, four reads to each write, and how long they take."""

import asyncio
import json
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.measuring import Report
from benchmarks.over_http.places import ITEMS, NAMESPACE, PERSON, Place, value_of
from benchmarks.over_http.serving import NOTHING, Ask, serve_command, served

CONNECTIONS: Final = (1, 8, 64)
"""How many are open at once; on each, one request follows the other."""

WRITE_EVERY: Final = 5
"""Of that many requests one writes."""

REQUESTS: Final = 500
"""Different requests, which are sent again and again."""

WARM: Final = 1.0
"""Seconds of load before anything is measured."""

SCRIPT: Final = """
local requests = {%s}
local number, running = 0, nil
function setup(thread) running = thread end
function init() statuses = {} end
function request() number = number + 1; return requests[number %% #requests + 1] end
function response(status) statuses[status] = (statuses[status] or 0) + 1 end
function done(summary, latency)
  local errors = summary.errors
  local unanswered = errors.connect + errors.read + errors.write + errors.timeout
  io.write(string.format("figures %%d %%f %%f %%d", summary.duration, latency:percentile(50), latency:percentile(99),
    unanswered))
  for status, count in pairs(running:get("statuses")) do io.write(" ", status, ":", count) end
  io.write("\\n")
end
"""
"""What wrk does: it sends the requests in order and counts the statuses of the answers."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of one run."""

    seconds: float
    median: float
    """Seconds that a request took."""

    p99: float
    unanswered: int
    statuses: Counter[int]

    @property
    def per_second(self) -> float:
        """Answers in a second."""
        return self.statuses.total() / self.seconds

    def between(self, least: int, most: int) -> int:
        """Return how many answers had such a status."""
        return sum(count for status, count in self.statuses.items() if least <= status <= most)


def measure_load(places: Sequence[Place], report: Report, *, seconds: float, by_wrk: bool) -> None:
    """Load each server by itself: with keys of many people, as one person, and the one that does nothing."""
    folder = places[0].folder
    log = folder / "load.log"
    wrk = shutil.which("wrk") if by_wrk else None
    print(f"  load by {wrk or 'asyncio, which takes more of the machine than wrk'}", flush=True)
    contenders: list[tuple[str, Sequence[str], Sequence[str | None]]] = [("empty route", NOTHING, [None])]
    for place in places:
        for who in ("by key", "--user"):
            filled = place.filled()
            whose = ["--api-keys"] if who == "by key" else ["--user", PERSON]
            tokens: Sequence[str | None] = filled.tokens if who == "by key" else [None]
            contenders.append((f"{place.name}, {who}", serve_command(filled.url, *whose), tokens))
    for name, command, tokens in contenders:
        with ExitStack() as stack:
            server = stack.enter_context(served(command, log))
            asks = [_ask(number, tokens, empty=command is NOTHING) for number in range(REQUESTS)]
            wire = [ask.on_the_wire(server.port) for ask in asks]
            for connections in CONNECTIONS:
                for lasting in (WARM, seconds):
                    seen = (
                        asyncio.run(_by_asyncio(wire, server.port, connections, lasting))
                        if wrk is None
                        else _by_wrk(wrk, wire, server.port, connections, lasting, folder)
                    )
                _tell(report, f"{name}, {connections} connections", seen)
        said = log.read_text(encoding="utf-8").splitlines()[1:]
        for line, times in Counter(said).most_common(5):
            print(f"    {name} said {times} times: {line}", flush=True)


def _ask(number: int, tokens: Sequence[str | None], *, empty: bool) -> Ask:
    token = tokens[number % len(tokens)]
    writes = number % WRITE_EVERY == number // WRITE_EVERY % WRITE_EVERY  # not always the same people
    path = "/nothing" if empty else f"/v1/items/{NAMESPACE}/key-{number * 7 % ITEMS}"
    return Ask("PUT" if writes else "GET", path, {"value": value_of(number)} if writes else None, token)


def _tell(report: Report, name: str, seen: Seen) -> None:
    report.add(f"load, {name}: requests per second", seen.per_second, unit="/s")
    report.add(f"load, {name}: median", 1e3 * seen.median, unit=" ms")
    report.add(f"load, {name}: p99", 1e3 * seen.p99, unit=" ms")
    report.add(f"load, {name}: answers of 500 and above", seen.between(500, 999), 0, "")
    report.add(f"load, {name}: other refusals, and no answer", seen.between(300, 499) + seen.unanswered, 0, "")


def _by_wrk(wrk: str, wire: Iterable[bytes], port: int, connections: int, seconds: float, folder: Path) -> Seen:
    script = folder / "load.lua"
    script.write_text(SCRIPT % ",\n".join(json.dumps(each.decode("ascii")) for each in wire), encoding="ascii")
    lasting = f"{max(1, round(seconds))}s"
    said = subprocess.run(
        [
            wrk,
            "-t1",
            f"-c{connections}",
            f"-d{lasting}",
            "--timeout",
            "60s",
            "-s",
            str(script),
            f"http://127.0.0.1:{port}",
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    (line,) = (line for line in said.stdout.splitlines() if line.startswith("figures "))
    _, duration, middle, p99, unanswered, *statuses = line.split()
    counted = Counter({int(status): int(count) for status, _, count in (each.partition(":") for each in statuses)})
    return Seen(float(duration) / 1e6, float(middle) / 1e6, float(p99) / 1e6, int(unanswered), counted)


async def _by_asyncio(wire: Sequence[bytes], port: int, connections: int, seconds: float) -> Seen:
    took: list[float] = []
    statuses: Counter[int] = Counter()
    end = time.perf_counter() + seconds

    async def connection(first: int) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        number = first
        try:
            while (began := time.perf_counter()) < end:
                writer.write(wire[number % len(wire)])
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (line[16:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b"0"
                )
                await reader.readexactly(int(length))
                took.append(time.perf_counter() - began)
                statuses[int(head[9:12])] += 1
                number += 1
        except (asyncio.IncompleteReadError, ConnectionError):
            return 1
        finally:
            writer.close()
        return 0

    began = time.perf_counter()
    failed = await asyncio.gather(*(connection(each * len(wire) // connections) for each in range(connections)))
    took.sort()
    at = len(took) - 1
    return Seen(time.perf_counter() - began, took[at // 2], took[at * 99 // 100], sum(failed), statuses)
