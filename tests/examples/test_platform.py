"""The graphs of langgraph.json, loaded and run as a LangGraph server does it."""

import asyncio
import importlib.util
import json
import sys
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from blockbuster import blockbuster_ctx
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph.state import CompiledStateGraph

from memory_tools.memory import Memory, UserMemory
from storage.database import Database
from storage.errors import NoIdentity

ROOT = Path(__file__).parents[2]
CONFIGURATION = json.loads((ROOT / "langgraph.json").read_text(encoding="utf-8"))
GRAPHS: dict[str, str] = CONFIGURATION["graphs"]

CANARY = "canary-in-the-document"
NOBODY = {"user_id": "", "langgraph_auth_user_id": ""}
"""What a server without authentication says of its user."""

Loaded = tuple[ModuleType, Any]
Load = Callable[[str], Awaitable[Loaded]]


@dataclass(frozen=True)
class Case:
    """What a client asks of a graph, and a word that the answer has when memory was there."""

    context: dict[str, Any] | None
    input: dict[str, Any]
    answer: str


SAID = {"messages": [{"role": "user", "content": "What do you know about me?"}]}
PHONE = "+12025550123"
CASES = {
    "agent": Case({"user_id": "ada"}, SAID, "You are Ada, and I speak slowly."),
    "voice": Case({"phone": PHONE}, SAID, "Welcome back, Ada!"),
    "update": Case({"user_id": "ada"}, {"messages": [{"role": "user", "content": "I live in Bonn."}]}, "saved"),
    "daily": Case(None, {"users": ["ada", "nobody", ""]}, "InvalidIdentity"),
}


@pytest.fixture
def load(database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Import a graph's file by its path, in a thread of a running loop, and take what is named there."""
    monkeypatch.setenv("USERMEMORY_DATABASE", database_url)
    monkeypatch.chdir(ROOT)
    modules: list[ModuleType] = []

    def imported(graph_id: str) -> Loaded:
        path, _, attribute = GRAPHS[graph_id].partition(":")
        name = path.replace("/", "__").replace(".py", "").lstrip(".")
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        modules.append(module)
        return module, module.__dict__[attribute]

    yield lambda graph_id: asyncio.to_thread(imported, graph_id)
    for module in modules:
        module.memory.close()


@pytest.fixture
def ada(database: Database) -> UserMemory:
    """A person whom the graphs know, by a user id as well as by a phone number."""
    person = Memory(database).of(user="ada", phone=PHONE, phone_verified=True)
    person.document.append({"summary": f"My name is Ada. {CANARY}", "tone": "slowly"})
    return person


def on_a_loop(once: Callable[[], Awaitable[Any]]) -> Any:
    """Run on an event loop that nothing may block."""

    async def guarded() -> Any:
        with blockbuster_ctx():
            return await once()

    return asyncio.run(guarded())


def served(graph: Any, saver: InMemorySaver) -> Any:
    """Return the graph with the server's checkpointer, as `langgraph_api.graph.get_graph` does."""
    made = graph() if callable(graph) else graph
    return made.copy(update={"checkpointer": saver, "store": None})


def asked(graph_id: str, context: dict[str, Any] | None) -> Any:
    """Return the config of a run: the server mirrors the context in it."""
    ids = {"thread_id": "t-1", "assistant_id": f"assistant-{graph_id}", "graph_id": graph_id, "run_id": "r-1"}
    return {"configurable": NOBODY | (context or {}) | ids, "metadata": {"created_by": "system", **ids}}


def written(saver: InMemorySaver) -> str:
    return repr((saver.storage, saver.writes, saver.blobs))


@pytest.mark.parametrize("graph_id", GRAPHS)
def test_a_server_loads_every_graph_without_blocking_its_loop(graph_id: str, load: Load) -> None:
    _, graph = on_a_loop(lambda: load(graph_id))
    assert isinstance(graph, CompiledStateGraph)
    # The development server refuses graphs that bring their own.
    assert graph.checkpointer is None
    assert graph.store is None


@pytest.mark.parametrize("graph_id", GRAPHS)
def test_a_graph_answers_with_memory_and_leaves_none_in_the_checkpoints(
    graph_id: str, load: Load, ada: UserMemory
) -> None:
    case, saver = CASES[graph_id], InMemorySaver()

    async def once() -> Any:
        _, graph = await load(graph_id)
        return await served(graph, saver).ainvoke(case.input, asked(graph_id, case.context), context=case.context)

    assert case.answer in repr(on_a_loop(once))
    assert "t-1" in written(saver)
    assert CANARY not in written(saver)


@pytest.mark.parametrize("graph_id", GRAPHS)
def test_a_stream_and_the_values_that_a_server_keeps_of_it_hold_no_memory(
    graph_id: str, load: Load, ada: UserMemory
) -> None:
    case, saver = CASES[graph_id], InMemorySaver()

    async def stream() -> AsyncIterator[tuple[str, Any]]:
        _, graph = await load(graph_id)
        # The server adds `debug`, and keeps the values of the last checkpoint in it as those of the thread.
        modes = ["values", "updates", "messages", "custom", "debug"]
        config = asked(graph_id, case.context)
        async for event in served(graph, saver).astream(case.input, config, context=case.context, stream_mode=modes):
            yield event

    async def once() -> list[tuple[str, Any]]:
        return [event async for event in stream()]

    events = on_a_loop(once)
    kept = [event["payload"]["values"] for mode, event in events if mode == "debug" and event["type"] == "checkpoint"]
    shown = [event for mode, event in events if mode != "debug"]
    assert case.answer in repr(kept[-1])
    assert CANARY not in repr(kept)
    assert CANARY not in repr(shown)
    assert CANARY not in written(saver)


@pytest.mark.parametrize("graph_id", ["agent", "voice"])
def test_where_the_server_names_nobody_the_answer_is_without_memory(graph_id: str, load: Load, ada: UserMemory) -> None:
    async def once() -> Any:
        _, graph = await load(graph_id)
        return await served(graph, InMemorySaver()).ainvoke(SAID, asked(graph_id, None))

    answered = on_a_loop(once)["messages"][-1].text
    assert answered
    assert "Ada" not in answered


def test_where_the_server_names_nobody_nothing_is_updated(load: Load, ada: UserMemory) -> None:
    async def once() -> Any:
        _, graph = await load("update")
        return await served(graph, InMemorySaver()).ainvoke(SAID, asked("update", None))

    with pytest.raises(NoIdentity):
        on_a_loop(once)
    assert ada.document.current().version == 1


def test_every_graph_is_a_file_of_the_project() -> None:
    assert set(GRAPHS) == set(CASES)
    assert all(where.startswith("./examples/") for where in GRAPHS.values())
    assert "://" not in json.dumps(CONFIGURATION)
    assert CONFIGURATION["env"] == {}


def test_an_image_gets_what_the_graphs_import() -> None:
    """A server installs the project without its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert CONFIGURATION["dependencies"] == [".", *project["optional-dependencies"]["agents"]]
    assert project["requires-python"] == f">={CONFIGURATION['python_version']}"
