"""Imports: what it costs to start, in CPU above a bare interpreter."""

import resource
import statistics
import subprocess
import sys

import click

from benchmarks.measuring import Report


def cpu_of(*command: str) -> float:
    """Return the CPU seconds of a process and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@click.command()
@click.option("--rounds", default=11, help="Starts of each.")
@click.option("--json", "save_to", help="Write the figures to this file.")
def main(rounds: int, save_to: str | None) -> None:
    """Measure imports and the help text in turns with a bare interpreter."""
    report = Report("imports")
    commands = {
        "bare": ("-c", "pass"),
        "import memory_tools": ("-c", "import memory_tools"),
        "import usermemory": ("-c", "import usermemory"),
        "usermemory --help": ("-c", "from usermemory.commands import main; main(['--help'])"),
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            times[name].append(cpu_of(*command))
    median = {name: statistics.median(each) * 1000 for name, each in times.items()}
    report.add("a bare interpreter", median["bare"], unit=" ms")
    for name in ("import memory_tools", "import usermemory"):
        report.add(f"{name}, above that", median[name] - median["bare"], 60, " ms")
    report.add("usermemory --help, in all", median["usermemory --help"], 200, " ms")
    report.finish(save_to)


if __name__ == "__main__":
    main()
