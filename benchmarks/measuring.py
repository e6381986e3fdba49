"""Measuring: contenders take turns in one run, and what counts is the ratio of their CPU time.

The machines are small and noisy, so a figure by itself says little. Each contender runs a block of operations, then
the next one does, round after round; the medians of the rounds are compared. CPU time is that of this process plus
that of a database server where there is one (`Server`).
"""

import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

Act = Callable[[int], None]
"""One operation; it is given a running number."""


class Server:
    """The CPU time of a PostgreSQL cluster: its postmaster and every process under it."""

    def __init__(self, pid: int) -> None:
        self._postmaster = psutil.Process(pid)

    def cpu(self) -> float:
        """Return the seconds of CPU that the processes alive now have used."""
        processes = [self._postmaster, *self._postmaster.children(recursive=True)]
        return sum(cpu_of(process) for process in processes)


def cpu_of(process: psutil.Process) -> float:
    """Return the seconds of CPU that a process has used, 0 for one that is gone.

    To the nanosecond where the kernel says so; its other figures are counted in hundredths of a second, too coarse for
    a block of operations.
    """
    try:
        return sum(int(each.read_text().split()[0]) for each in _threads(process)) / 1e9
    except (OSError, ValueError):
        pass
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return times.user + times.system


def _threads(process: psutil.Process) -> list[Path]:
    """Return where Linux says what each thread of a process has used; one that has ended meanwhile is not counted."""
    found = list(Path(f"/proc/{process.pid}/task").glob("*/schedstat"))
    if not found:
        raise FileNotFoundError
    return found


@dataclass
class Timing:
    """Seconds for each operation, of every round."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)

    @property
    def cpu_median(self) -> float:
        """The median round's CPU seconds per operation."""
        return statistics.median(self.cpu)

    @property
    def wall_median(self) -> float:
        """The median round's seconds per operation."""
        return statistics.median(self.wall)


def interleaved(
    contenders: Mapping[str, Act], *, rounds: int, operations: int, server: Server | None = None
) -> dict[str, Timing]:
    """Let the contenders take turns and return the timing of each."""
    timings = {name: Timing() for name in contenders}
    number = 0
    for act in contenders.values():  # warm: statements prepared, pages cached
        for _ in range(min(operations, 20)):
            number += 1
            act(number)
    for _ in range(rounds):
        for name, act in random.sample(list(contenders.items()), len(contenders)):
            served, cpu, wall = server.cpu() if server else 0.0, time.process_time(), time.perf_counter()
            for _ in range(operations):
                number += 1
                act(number)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            cpu += (server.cpu() - served) if server else 0.0
            timings[name].cpu.append(cpu / operations)
            timings[name].wall.append(wall / operations)
    return timings


@dataclass
class Report:
    """Figures, each with the bound it must hold."""

    title: str
    rows: list[tuple[str, float, float | None, str]] = field(default_factory=list)

    def add(self, what: str, value: float, at_most: float | None = None, unit: str = "x") -> None:
        """Note a figure that must not exceed `at_most`."""
        self.rows.append((what, value, at_most, unit))
        bound = "" if at_most is None else f"   (at most {at_most:g}{unit}) {'ok' if value <= at_most else 'MISSED'}"
        print(f"  {what:<72} {value:>12.4g}{unit}{bound}", flush=True)

    @property
    def missed(self) -> Sequence[str]:
        """The figures that do not hold their bound."""
        return [what for what, value, bound, _ in self.rows if bound is not None and value > bound]

    def finish(self, save_to: str | None = None) -> None:
        """Write the figures as JSON where asked, and end with 1 when a bound was missed."""
        if save_to:
            rows: list[dict[str, Any]] = [
                {"figure": what, "value": value, "at_most": bound, "unit": unit}
                for what, value, bound, unit in self.rows
            ]
            Path(save_to).write_text(json.dumps({self.title: rows}, indent=2) + "\n", encoding="utf-8")
        if self.missed:
            print(f"{len(self.missed)} missed: {'; '.join(self.missed)}", file=sys.stderr)
            sys.exit(1)
