"""Reads: the present against LangGraph's get, flat in the number of versions; any past version against the present."""

import random

import click

from benchmarks.documents import document_of, small_edit
from benchmarks.measuring import Report, interleaved
from benchmarks.places import Place, postgresql_place, sqlite_place

AT_MOST = {"SQLite": 1.0, "PostgreSQL": 0.5}


def measure(place: Place, report: Report, rounds: int, versions: int) -> None:
    """Read a person with one version and a person with many, and LangGraph's copy of the same document."""
    document = document_of(10_240)
    place.person.document.append(document)
    old = place.memory.of(user="old")
    for number in range(versions):
        old.document.append(document)
        document = small_edit(document, number)
    place.store.put(("memory", "ada"), "document", document)
    last = old.document.current().version
    chosen = random.Random(7)

    def present(_: int) -> None:
        place.person.document.current()

    def present_of_many(_: int) -> None:
        old.document.current()

    def langgraph(_: int) -> None:
        place.store.get(("memory", "ada"), "document")

    def past(_: int) -> None:
        old.document.as_of(chosen.randint(1, last))

    contenders = {"one": present, "many": present_of_many, "langgraph": langgraph, "past": past}
    timings = interleaved(contenders, rounds=rounds, operations=150, server=place.server)
    value = {name: timing.cpu_median for name, timing in timings.items()}
    for name, seconds in value.items():
        report.add(f"{place.name}: a read of {name}, CPU", seconds * 1e6, unit=" us")
    report.add(f"{place.name}: the present / LangGraph get", value["one"] / value["langgraph"], AT_MOST[place.name])
    report.add(
        f"{place.name}: the present at version {last} / LangGraph get",
        value["many"] / value["langgraph"],
        AT_MOST[place.name],
    )
    apart = max(value["one"], value["many"]) / min(value["one"], value["many"])
    report.add(f"{place.name}: version 1 against version {last}, one of the other", apart, 1.2)
    report.add(f"{place.name}: any past version / the present", value["past"] / value["many"], 8)


@click.command()
@click.option("--rounds", default=15, help="Rounds in which the contenders take turns.")
@click.option("--versions", default=10_000, help="Versions of the person with many.")
@click.option("--json", "save_to", help="Write the figures to this file.")
def main(rounds: int, versions: int, save_to: str | None) -> None:
    """Measure reads, CPU of client and server."""
    report = Report("reads")
    for opened in (sqlite_place, postgresql_place):
        with opened() as place:
            measure(place, report, rounds, versions)
    report.finish(save_to)


if __name__ == "__main__":
    main()
