"""HTTP: what a request to `usermemory serve` costs, and how many it answers in a second.

`costs` compares the CPU of a request with that of an empty route of FastAPI on the same uvicorn and of the bare call of
the storage, on SQLite and on PostgreSQL with fsync off; `load` asks the command itself, durable as it comes, with 1, 8
and 64 connections at once, by wrk where it is on the PATH.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import click

from benchmarks.measuring import Report
from benchmarks.over_http.costs import measure_costs
from benchmarks.over_http.load import measure_load
from benchmarks.over_http.places import places


@click.command()
@click.option("--section", "sections", multiple=True, type=click.Choice(["costs", "load"]), help="Only this; repeat.")
@click.option("--rounds", default=25, help="Turns that each contender takes.")
@click.option("--calls", default=40, help="Requests of each turn.")
@click.option("--seconds", default=8.0, help="How long each run under load lasts.")
@click.option("--no-wrk", is_flag=True, help="Load by asyncio, even where there is wrk.")
@click.option("--json", "save_to", help="Write the figures to this file.")
def main(sections: Sequence[str], rounds: int, calls: int, seconds: float, no_wrk: bool, save_to: str | None) -> None:
    """Measure the HTTP API."""
    report = Report("http")
    with tempfile.TemporaryDirectory(prefix="usermemory-bench-", ignore_cleanup_errors=True) as made:
        folder = Path(made)
        if "costs" in sections or not sections:
            with places(folder / "costs", durable=False) as where:
                measure_costs(where, report, rounds=rounds, calls=calls)
        if "load" in sections or not sections:
            with places(folder / "load", durable=True) as where:
                measure_load(where, report, seconds=seconds, by_wrk=not no_wrk)
    report.finish(save_to)


if __name__ == "__main__":
    main()
