"""Voice: how long a call waits for the database when it begins and when it ends."""

import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import click
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.runtime import Runtime

from benchmarks.documents import document_of, sentence
from benchmarks.measuring import Report
from benchmarks.places import Place, postgresql_place, sqlite_place
from graphs.voice import memory_load_node, memory_store_node

NUMBER = "+1234567890"
DOCUMENT = 4_096
"""Bytes of what is known of the caller."""

TURNS = 10
"""What a caller says in one call, each time with an answer."""

AT_MOST = 50.0
"""Milliseconds that a caller may wait for the database."""


def measure(place: Place, report: Report, calls: int) -> None:
    """Let one person call again and again; fsync is on."""
    place.memory.of(phone=NUMBER).document.append(document_of(DOCUMENT))
    load, store = memory_load_node(place.memory), memory_store_node(place.memory)
    runtime: Any = Runtime(context={"metadata": {"phoneNumber": NUMBER}})
    chosen = random.Random(7)
    waits: dict[str, list[float]] = {"load": [], "store at the end": [], "store of one more turn": []}

    def timed(what: str, node: Callable[..., Any], state: Any) -> None:
        began = time.perf_counter()
        result = node(state, runtime, {})
        waits[what].append((time.perf_counter() - began) * 1e3)
        assert result.get("memory", result)["reason"] is None

    for number in range(calls):
        said = [
            message
            for turn in range(TURNS + 1)
            for message in (
                HumanMessage(sentence(chosen), id=f"{number}-{turn}-q"),
                AIMessage(sentence(chosen), id=f"{number}-{turn}-a"),
            )
        ]
        name = f"call-{number}"
        timed("load", load, {"conversation": name})
        timed("store at the end", store, {"conversation": name, "messages": said[: 2 * TURNS]})
        timed("store of one more turn", store, {"conversation": name, "messages": said})
    for what, wait in waits.items():
        wait = wait[min(10, calls // 10) :]  # the first ones prepare statements
        report.add(f"{place.name}: {what}, median", statistics.median(wait), AT_MOST, " ms")
        report.add(f"{place.name}: {what}, 99th percentile", statistics.quantiles(wait, n=100)[98], AT_MOST, " ms")


@click.command()
@click.option("--calls", default=300, help="Calls of the person.")
@click.option("--json", "save_to", help="Write the figures to this file.")
def main(calls: int, save_to: str | None) -> None:
    """Measure what a call waits for memory, by the clock, with fsync on."""
    report = Report("voice")
    for opened in (sqlite_place, postgresql_place):
        with opened(durable=True) as place:
            measure(place, report, calls)
    report.finish(save_to)


if __name__ == "__main__":
    main()
