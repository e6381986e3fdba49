"""docs/http.md: its tables are those of the code."""

import re
from importlib import import_module
from pathlib import Path
from typing import Final

from http_api.conversations import conversations_router
from http_api.problems import INTERNAL, STATUSES
from http_api.tasks import tasks_router
from http_api.user_items import user_items_router
from http_api.user_text import user_text_router
from memory_tools.memory import Memory
from memory_tools.upkeep import Upkeep
from storage.work.sql_queue import SqlQueue

PAGE: Final = (Path(__file__).parents[2] / "docs" / "http.md").read_text(encoding="utf-8")

OF_THE_SERVER: Final = {(405, "method_not_allowed"), (421, "access_denied"), (500, INTERNAL)}
"""What is refused, or goes wrong, without an error of ours."""


def table(heading: str) -> list[list[str]]:
    """Return the rows of the first table under a heading."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_code_stands_beside_its_status() -> None:
    written = [(int(status), code) for status, codes in table("Errors") for code in re.findall("`([a-z_]+)`", codes)]
    assert len(written) == len(set(written))
    assert set(written) == {(status, kind.code) for kind, status in STATUSES.items()} | OF_THE_SERVER


def test_the_limits_are_the_code() -> None:
    for name, value, _ in table("Limits"):
        module, _, constant = name.strip("`").rpartition(".")
        assert value == f"{getattr(import_module(module), constant):,}", name


def test_every_route_of_the_seeds_is_listed(open_memory: Memory) -> None:
    written = {route for cell, *_ in table("Routes") for route in re.findall("`([A-Z]+ [^`]+)`", cell)}
    upkeep = Upkeep(open_memory, SqlQueue(open_memory.database))
    routers = (user_items_router(), user_text_router(), conversations_router(), tasks_router(upkeep))
    routes = {
        f"{method} {getattr(route, 'path', '')}"
        for router in routers
        for route in router.routes
        for method in getattr(route, "methods", ())
    }
    assert written - {"GET /health", "GET /metrics"} == routes
