"""Saves: a versioned save of a 10 KB document against LangGraph's put without history, and against the literal seed."""

import click

from benchmarks.documents import document_of, small_edit
from benchmarks.measuring import Report, interleaved
from benchmarks.places import Place, postgresql_place, sqlite_place
from benchmarks.seed_001 import LiteralSeed

AT_MOST = {"SQLite": 2.0, "PostgreSQL": 1.0}


def measure(place: Place, report: Report, rounds: int, *, durable: bool) -> None:
    """Save small edits of one document through each contender in turns."""
    start = document_of(10_240)
    documents = {"ours": start, "first": start, "langgraph": start, "seed": start}
    seed = LiteralSeed(place.plain, "?" if place.server is None else "%s")
    place.person.document.append(start)
    seed.save("ada", start)

    def next_document(who: str, number: int) -> dict[str, object]:
        documents[who] = small_edit(documents[who], number)
        return documents[who]

    def ours(number: int) -> None:
        place.person.document.append(next_document("ours", number))

    stranger = "eve"
    place.memory.of(user=stranger).document.append(start)

    def by_a_new_object(number: int) -> None:
        place.memory.of(user=stranger).document.append(next_document("first", number))

    def langgraph(number: int) -> None:
        place.store.put(("memory", "ada"), "document", next_document("langgraph", number))

    def literal(number: int) -> None:
        seed.save("ada", next_document("seed", number))

    contenders = {"ours": ours, "new": by_a_new_object, "langgraph": langgraph, "seed": literal}
    timings = interleaved(contenders, rounds=rounds, operations=20 if durable else 100, server=place.server)
    kind = "wall" if durable else "CPU"
    value = {name: timing.wall_median if durable else timing.cpu_median for name, timing in timings.items()}
    for name, seconds in value.items():
        report.add(f"{place.name}: a save by {name}, {kind}", seconds * 1e6, unit=" us")
    bound = None if durable else AT_MOST[place.name]
    report.add(f"{place.name}: versioned save / LangGraph put, {kind}", value["ours"] / value["langgraph"], bound)
    report.add(f"{place.name}: the same by a new object each time, {kind}", value["new"] / value["langgraph"])
    report.add(
        f"{place.name}: versioned save / seed 001 literally, {kind}",
        value["ours"] / value["seed"],
        None if durable else 0.1,
    )


@click.command()
@click.option("--rounds", default=15, help="Rounds in which the contenders take turns.")
@click.option("--json", "save_to", help="Write the figures to this file.")
def main(rounds: int, save_to: str | None) -> None:
    """Measure saves, CPU with fsync off first, then durable wall time."""
    report = Report("saves")
    for durable in (False, True):
        for opened in (sqlite_place, postgresql_place):
            with opened(durable=durable) as place:
                measure(place, report, max(3, rounds // 3) if durable else rounds, durable=durable)
    report.finish(save_to)


if __name__ == "__main__":
    main()
