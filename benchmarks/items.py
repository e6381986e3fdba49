"""Items: set and get of a bound person against LangGraph's store; row security on for ours."""

import click

from benchmarks.measuring import Report, interleaved
from benchmarks.places import Place, postgresql_place, sqlite_place

AT_MOST = {"SQLite": {"set": 1.5, "get": 1.5}, "PostgreSQL": {"set": 1.0, "get": 0.5}}


def measure(place: Place, report: Report, rounds: int) -> None:
    """Set and get 50 small values in turns."""
    value = {"tone": "warm", "language": "en", "note": "x" * 60}

    def ours_set(number: int) -> None:
        place.person.items.set("prefs", f"key-{number % 50}", {**value, "number": number})

    def ours_get(number: int) -> None:
        place.person.items.get("prefs", f"key-{number % 50}")

    def their_set(number: int) -> None:
        place.store.put(("memory", "ada", "prefs"), f"key-{number % 50}", {**value, "number": number})

    def their_get(number: int) -> None:
        place.store.get(("memory", "ada", "prefs"), f"key-{number % 50}")

    for number in range(50):
        ours_set(number)
        their_set(number)
    contenders = {"our set": ours_set, "our get": ours_get, "LangGraph put": their_set, "LangGraph get": their_get}
    timings = interleaved(contenders, rounds=rounds, operations=200, server=place.server)
    cpu = {name: timing.cpu_median for name, timing in timings.items()}
    for name, seconds in cpu.items():
        report.add(f"{place.name}: {name}, CPU", seconds * 1e6, unit=" us")
    bounds = AT_MOST[place.name]
    report.add(f"{place.name}: set / LangGraph put", cpu["our set"] / cpu["LangGraph put"], bounds["set"])
    report.add(f"{place.name}: get / LangGraph get", cpu["our get"] / cpu["LangGraph get"], bounds["get"])


@click.command()
@click.option("--rounds", default=21, help="Rounds in which the contenders take turns.")
@click.option("--json", "save_to", help="Write the figures to this file.")
def main(rounds: int, save_to: str | None) -> None:
    """Measure items, CPU of client and server with fsync off."""
    report = Report("items")
    for opened in (sqlite_place, postgresql_place):
        with opened() as place:
            measure(place, report, rounds)
    report.finish(save_to)


if __name__ == "__main__":
    main()
