"""A table: figures of several servers side by side, ours with the bound it must hold."""

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WIDTH = 15
"""Characters of a column."""

FIGURE = 62
"""Characters of what a row says."""


@dataclass
class Cell:
    """One figure of one server, or a word in the place of one."""

    value: float | str
    at_most: float | None

    @property
    def missed(self) -> bool:
        """Whether it does not hold its bound."""
        return self.at_most is not None and (isinstance(self.value, str) or not self.value <= self.at_most)

    def __str__(self) -> str:
        shown = self.value if isinstance(self.value, str) else shortly(self.value)
        return f"{shown} MISSED" if self.missed else shown


def shortly(value: float) -> str:
    """Return a number with three digits that count, and every digit of its whole part."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


@dataclass
class Table:
    """Rows in the order in which they were first named."""

    rows: dict[tuple[str, str], dict[str, Cell]] = field(default_factory=dict)
    """Of each section and figure, the cell of each server."""

    def add(self, section: str, figure: str, server: str, value: float | str, at_most: float | None = None) -> None:
        """Note a figure, which must not exceed `at_most`, or why there is none."""
        cell = Cell(value, at_most)
        self.rows.setdefault((section, figure), {})[server] = cell
        print(f"  {section}: {figure}: {server}: {cell}", file=sys.stderr, flush=True)

    def show(self) -> None:
        """Print everything side by side."""
        servers = list(dict.fromkeys(server for cells in self.rows.values() for server in cells))
        heading = ""
        for (section, figure), cells in self.rows.items():
            if section != heading:
                heading = section
                print(f"\n{heading:<{FIGURE}}{'at most':>9}" + "".join(f"{server:>{WIDTH}}" for server in servers))
            bound = next((f"{cell.at_most:,g}" for cell in cells.values() if cell.at_most is not None), "")
            said = "".join(f"{cells.get(server, '')!s:>{WIDTH}}" for server in servers)
            print(f"  {figure:<{FIGURE - 2}}{bound:>9}{said}".rstrip())
        print(f"\n{len(self.missed)} missed")
        for missed in self.missed:
            print(f"  {missed}")

    @property
    def missed(self) -> list[str]:
        """The figures that do not hold their bound."""
        return [
            f"{section}, {figure} ({server})"
            for (section, figure), cells in self.rows.items()
            for server, cell in cells.items()
            if cell.missed
        ]

    def save(self, file: str) -> None:
        """Write everything as JSON."""
        figures: list[dict[str, Any]] = [
            {"section": section, "figure": figure, "server": server, "value": cell.value, "at_most": cell.at_most}
            for (section, figure), cells in self.rows.items()
            for server, cell in cells.items()
        ]
        Path(file).write_text(json.dumps({"mcp": figures}, indent=2) + "\n", encoding="utf-8")
