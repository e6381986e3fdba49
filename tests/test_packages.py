"""The packages: cheap to import, and sure to be the ones that belong together."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FRAMEWORKS = ("langchain", "langchain_core", "langgraph")
HEAVY = (*FRAMEWORKS, "sqlalchemy", "mcp", "fastapi", "pydantic", "alembic", "psycopg", "boto3", "redis")

LOOK = """
import json, sys, time
{statement}
print(json.dumps({{"modules": sorted(sys.modules), "cpu": time.process_time()}}), file=sys.stderr)
"""


def run(statement: str) -> tuple[set[str], float]:
    """Run a statement in a Python of its own; return the modules that are loaded then, and the seconds of CPU."""
    done = subprocess.run(
        [sys.executable, "-c", LOOK.format(statement=statement)], check=True, capture_output=True, text=True
    )
    seen = json.loads(done.stderr.splitlines()[-1])
    return set(seen["modules"]), seen["cpu"]


def cpu_above_nothing(statement: str) -> float:
    """Return the seconds of CPU that a statement costs above a bare interpreter, the best of several runs."""
    run(statement)  # writes the bytecode
    return min(run(statement)[1] for _ in range(5)) - min(run("pass")[1] for _ in range(5))


HELP = "from usermemory.commands import main\ntry: main(['--help'])\nexcept SystemExit: pass"


@pytest.mark.parametrize(
    "statement", ["import http_api", "import mcp_server", "import memory_tools", "import usermemory", HELP]
)
def test_nothing_heavy_is_loaded(statement: str) -> None:
    loaded, _ = run(statement)
    assert loaded.isdisjoint(HEAVY)


def test_the_help_imports_no_command() -> None:
    modules = {name for name in run(HELP)[0] if name.startswith("usermemory.")}
    mine = {"neighbours", "commands", "commands.group", "commands.failure", "commands.visible"}
    assert modules == {f"usermemory.{name}" for name in mine}


@pytest.mark.parametrize(
    ("statement", "limit"), [("import memory_tools", 0.06), ("import usermemory", 0.06), (HELP, 0.2)]
)
def test_the_front_is_cheap(statement: str, limit: float) -> None:
    assert cpu_above_nothing(statement) < limit


def test_storage_knows_no_agent_framework() -> None:
    folders = {"storage": ROOT / "storage", "storage.work": ROOT / "storage" / "work"}
    modules = ", ".join(
        f"{name}.{path.stem}" for name, folder in folders.items() for path in folder.glob("*.py") if path.stem[0] != "_"
    )
    loaded, _ = run(f"import storage, {modules}")
    assert "sqlalchemy" in loaded
    assert loaded.isdisjoint({*FRAMEWORKS, "memory_tools", "graphs"})


@pytest.mark.parametrize("module", ["changes", "operations", "presentation"])
def test_asking_and_showing_know_no_agent_framework(module: str) -> None:
    loaded, _ = run(f"import memory_tools.{module}")
    assert "pydantic" in loaded
    assert loaded.isdisjoint({*FRAMEWORKS, "graphs"})


@pytest.mark.parametrize(("door", "its", "others"), [("mcp_server", "mcp", "fastapi"), ("http_api", "fastapi", "mcp")])
def test_a_door_for_strangers_knows_no_agent_framework(door: str, its: str, others: str) -> None:
    modules = ", ".join(f"{door}.{path.stem}" for path in (ROOT / door).glob("*.py") if path.stem != "__init__")
    loaded, _ = run(f"import {door}, {modules}")
    assert its in loaded
    assert loaded.isdisjoint({*FRAMEWORKS, "graphs", others})


def run_beside(folder: Path, code: str) -> subprocess.CompletedProcess[str]:
    """Run a program that was started in `folder`, where Python looks first."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, check=False)


@pytest.mark.parametrize("statement", ["import usermemory", "import memory_tools.memory", "import graphs.update"])
def test_a_foreign_package_in_the_way_is_named_with_the_cure(tmp_path: Path, statement: str) -> None:
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "__init__.py").write_text("")
    done = run_beside(tmp_path, statement)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: usermemory needs its own package `storage`")
    assert str(tmp_path / "storage") in last
    assert "Rename that folder" in last


@pytest.mark.parametrize("package", ["memory_tools", "graphs", "http_api", "mcp_server"])
def test_every_package_is_looked_for(tmp_path: Path, package: str) -> None:
    (tmp_path / f"{package}.py").write_text("")
    done = run_beside(tmp_path, "import usermemory")
    assert f"usermemory needs its own package `{package}`" in done.stderr


def test_a_folder_without_init_is_not_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "storage").mkdir()
    assert run_beside(tmp_path, "import usermemory, storage.names").returncode == 0


def test_a_foreign_package_in_the_way_of_the_command_line_is_a_message(tmp_path: Path) -> None:
    (tmp_path / "storage").mkdir()
    (tmp_path / "storage" / "__init__.py").write_text("")
    code = "from usermemory.commands import main\nmain(['show', '--user', 'ada'])"
    done = run_beside(tmp_path, code)
    assert done.returncode == 1
    assert "usermemory needs its own package `storage`" in done.stderr


def test_the_module_can_be_run() -> None:
    done = subprocess.run([sys.executable, "-m", "usermemory", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("usermemory, version ")


def without_langchain(code: str) -> subprocess.CompletedProcess[str]:
    """Run `code` where `langchain` is not installed."""
    hidden = "import sys; sys.modules['langchain'] = None\n"
    return subprocess.run([sys.executable, "-c", hidden + code], capture_output=True, text=True, check=False)


def test_without_langchain_the_middleware_says_what_is_missing() -> None:
    done = without_langchain("from usermemory import UserMemoryMiddleware")
    last = done.stderr.splitlines()[-1]
    assert last == "ImportError: the middleware needs langchain 1.2 or newer: pip install 'usermemory[agents]'"


def test_tools_nodes_and_messages_do_without_langchain() -> None:
    names = "get_user_memory_tools, memory_load_node, memory_messages, memory_store_node, build_update_graph"
    done = without_langchain(f"from usermemory import {names}, Memory\nget_user_memory_tools(Memory.open('sqlite://'))")
    assert (done.returncode, done.stderr) == (0, "")


def test_everything_else_can_be_imported_without_langchain() -> None:
    done = without_langchain(
        "from usermemory import *\nfrom graphs import *\nprint(Memory, UserMemory, build_update_graph)"
    )
    assert (done.returncode, done.stderr) == (0, "")
