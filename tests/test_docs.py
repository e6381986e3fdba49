"""The pages under docs: their tables are those of the code, what they name is there, and their examples run."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from itertools import chain, pairwise
from pathlib import Path
from runpy import run_path

import pytest

from memory_tools.operations import CATALOG
from storage import errors, limits
from storage.errors import UserMemoryError
from usermemory.commands.failure import report
from usermemory.commands.worker import command as worker

ROOT = Path(__file__).parents[1]
OPERATIONS = ROOT / "docs" / "operations.md"
WORK = ROOT / "docs" / "work.md"
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SHELL = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
FILE = re.compile(
    r"`((?:storage|memory_tools|graphs|http_api|mcp_server|usermemory|tests|benchmarks|docs|scripts)/[\w./-]*)`"
)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")

WITH_CATALOG = run_path(str(ROOT / "scripts" / "write_catalog.py"))["with_catalog"]

Row = tuple[str, ...]


def table(heading: str, page: Path = OPERATIONS) -> list[Row]:
    """Return the rows of the first table under a heading of a page."""
    section = page.read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines[2:]]


def constants() -> Iterator[Row]:
    """Yield the name, the value and the docstring of every limit, in the order of the file."""
    body = ast.parse(Path(limits.__file__).read_text(encoding="utf-8")).body
    for statement, following in pairwise(body):
        if isinstance(statement, ast.Assign):
            assert isinstance(statement.targets[0], ast.Name)
            assert isinstance(following, ast.Expr)
            name = statement.targets[0].id
            yield f"`{name}`", f"{getattr(limits, name):,}", ast.literal_eval(following.value)


def all_errors(kind: type[UserMemoryError] = UserMemoryError) -> Iterator[type[UserMemoryError]]:
    """Yield a class of error and those under it, in the order in which they are defined."""
    yield kind
    for below in kind.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from all_errors(below)


def test_the_table_of_limits_is_the_code() -> None:
    assert table("Limits") == list(constants())


def test_the_table_of_error_codes_is_the_code(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        (f"`{kind.code}`", f"`{kind.__name__}`", str(report(kind(), as_json=True)), str(kind()))
        for kind in all_errors()
    ]
    assert table("Error codes") == rows
    assert len(rows) == len(capsys.readouterr().err.splitlines())


def test_the_table_of_operations_is_the_catalog() -> None:
    page = OPERATIONS.read_text(encoding="utf-8")
    assert WITH_CATALOG(page) == page, "run scripts/write_catalog.py"
    assert [row[0].strip("`") for row in table("Operations of the catalog")] == list(CATALOG)


def test_a_table_that_is_behind_the_catalog_is_written_anew() -> None:
    page = OPERATIONS.read_text(encoding="utf-8")
    behind = page.replace("| `get_user_memory` |", "| `get_memory` |")
    assert behind != page
    assert WITH_CATALOG(behind) == page
    with pytest.raises(ValueError, match="catalog"):
        WITH_CATALOG("a page without markers")


def written(constant: object) -> str:
    """Return a constant as the tables write it."""
    return f"{constant:,}" if isinstance(constant, int | float) else str(constant)


@pytest.mark.parametrize(
    ("page", "heading"), [(OPERATIONS, "Further bounds"), (WORK, "Limits")], ids=["operations", "work"]
)
def test_the_bounds_beside_the_limits_are_the_code(page: Path, heading: str) -> None:
    rows = table(heading, page)
    assert rows
    for name, value, _ in rows:
        module, _, constant = name.strip("`").rpartition(".")
        assert value == written(getattr(import_module(module), constant)), name


def test_the_table_of_the_worker_is_its_help() -> None:
    rows = table("The worker", WORK)
    helps = {name: getattr(option, "help", "") for option in worker.params for name in option.opts}
    named = [re.findall(r"--[a-z-]+", row[0]) for row in rows]
    assert {*chain(*named), "--database", "--json"} == set(helps)
    for options, row in zip(named, rows, strict=True):
        if row[1] not in ("", "none", "0"):
            assert f"[default: {row[1].strip('`')}]" in " ".join(helps[option] for option in options), options


def test_the_shell_lines_of_a_page_run_as_they_are_written(tmp_path: Path) -> None:
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("USERMEMORY_")}
    blocks = SHELL.findall(WORK.read_text(encoding="utf-8"))
    assert blocks
    for block in blocks:
        done = subprocess.run(
            ["sh", "-euc", block],
            cwd=tmp_path,
            env=environment | {"PATH": programs},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert "1 conversation: 1 updated." in done.stdout
        assert "Nothing was given up." in done.stdout


@pytest.mark.parametrize("page", [*PAGES, *DECISIONS], ids=lambda page: page.name)
def test_what_a_page_names_is_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = [ROOT / name for name in FILE.findall(text)] + [page.parent / name for name in LINK.findall(text)]
    assert [str(path) for path in named if not path.exists()] == []


EXAMPLES = {
    f"{page.name}-{number}": code
    for page in PAGES
    for number, code in enumerate(EXAMPLE.findall(page.read_text(encoding="utf-8")), start=1)
}


def test_there_are_examples_to_run() -> None:
    assert {name.partition("-")[0] for name in EXAMPLES} >= {"README.md", "architecture.md", "operations.md", "work.md"}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_as_it_is_written(name: str, tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("USERMEMORY_")}
    command = [sys.executable, "-W", "error", "-c", EXAMPLES[name]]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
