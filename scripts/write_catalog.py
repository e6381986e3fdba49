"""Write the table of the catalog in docs/operations.md from the catalog itself.

Run it with `uv run python scripts/write_catalog.py`.
"""

import json
from pathlib import Path
from typing import Any

from memory_tools.operation import Operation
from memory_tools.operations import CATALOG

PAGE = Path(__file__).parents[1] / "docs" / "operations.md"
BEGIN, END = "<!-- catalog -->\n", "<!-- /catalog -->"
HEAD = "| name | effect | audience | route | what it does | example |\n|---|---|---|---|---|---|\n"


def with_catalog(page: str) -> str:
    """Return the page with the table of today between its markers. Raises ValueError where these are missing."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no {BEGIN.strip()} ... {END}")
    return before + begin + HEAD + "".join(map(_row, CATALOG.values())) + end + after


def _row(operation: Operation[Any, Any]) -> str:
    does = operation.description.partition(". ")[0].rstrip(".") + "."
    example = json.dumps(operation.example, separators=(",", ":"), ensure_ascii=False).replace("|", "\\|")
    cells = (f"`{operation.name}`", operation.effect, operation.audience, f"`{operation.route}`", does, f"`{example}`")
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    PAGE.write_text(with_catalog(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
