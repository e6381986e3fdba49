"""The examples: each runs as its first lines say, and does what it is there to show."""

import importlib.util
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from langchain_core.messages import BaseMessage
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import SecretStr

from graphs.testing import Answer, ScriptedChatModel, calls, said
from memory_tools.context import MemoryContext
from memory_tools.langchain import get_user_memory_tools
from memory_tools.memory import Memory
from storage.database import Database
from tests.examples.openai_stub import OpenAIStub

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.name for path in EXAMPLES.glob("*.py"))

SHOWN = {
    "agent.py": ("monday", "I will.", "tuesday", "You are Ada, and I speak slowly.", "'tone': 'slowly'"),
    "daily_run.py": ("anna   recall", "bob    failed: RuntimeError", "cleo   saved", "{'saved': 2, 'failed': 1}"),
    "host_worker.py": (
        "conversations: 1 of 1 updated for 12 millionths",
        "daily: 1 of 1 updated for 12 millionths",
        "Told of: conversation document",
        "Remembered: Ada moved to Bonn.",
    ),
    "mcp_agent.py": ("stdio", "I will keep that in mind.", "http", "A cup of tea, as always?"),
    "update_subgraph.py": (
        "saved as version 2",
        "saved as version 3",
        "The talk is in the checkpoints: True",
        "The memory is in the checkpoints: False",
    ),
    "voice_flow.py": ("Hello! I do not think we have met.", "Welcome back, Ada!", "Kept: 2 calls"),
    "worker.py": (
        "conversations: 2 of 2 updated",
        "daily: 1 of 1 updated",
        "call-1: My name is Ada.",
        "I want to sleep better.  (message 2)",
        "call-2: I prefer tea in the evening.",
        "The document: My name is Ada.",
    ),
}
"""What an example prints that needs nothing but itself, in this order."""

Load = Callable[[str], Any]


@pytest.fixture
def environment() -> dict[str, str]:
    """What a process finds around it: nothing about databases, providers or proxies."""
    about = re.compile(r"(USERMEMORY|OPENAI|LANGSMITH|LANGCHAIN)_|.*_proxy$", re.IGNORECASE)
    return {name: value for name, value in os.environ.items() if not about.match(name)}


@pytest.fixture
def load(database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Load]:
    """Import an example on the database of the test."""
    monkeypatch.setenv("USERMEMORY_DATABASE", database_url)
    modules: list[ModuleType] = []

    def imported(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        modules.append(module)
        return module

    yield imported
    for module in modules:
        if hasattr(module, "memory"):
            module.memory.close()


def run(name: str, folder: Path, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def asked(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def in_thread(name: str) -> Any:
    return {"configurable": {"thread_id": name}}


def assert_shown(name: str, done: subprocess.CompletedProcess[str]) -> None:
    assert (done.returncode, done.stderr) == (0, "")
    places = [done.stdout.find(text) for text in SHOWN[name]]
    assert -1 not in places, done.stdout
    if name != "daily_run.py":  # there several people take turns
        assert places == sorted(places)


@pytest.mark.parametrize("name", SHOWN)
def test_an_example_runs_in_an_empty_folder(name: str, tmp_path: Path, environment: dict[str, str]) -> None:
    assert_shown(name, run(name, tmp_path, environment))
    assert (tmp_path / "memory.db").exists()


@pytest.mark.parametrize("backend", ["postgresql"])
@pytest.mark.parametrize("name", SHOWN)
def test_an_example_runs_on_another_database(
    name: str, database: Database, database_url: str, worker_url: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    urls = {"USERMEMORY_DATABASE": database_url, "USERMEMORY_WORKER_DATABASE": worker_url}
    assert_shown(name, run(name, tmp_path, environment | urls))
    assert list(tmp_path.iterdir()) == []


def test_every_example_is_run_and_explained() -> None:
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert set(NAMES) == {*SHOWN, "provider.py"}
    for name in NAMES:
        text = (EXAMPLES / name).read_text(encoding="utf-8")
        assert f"[{name}]({name})" in page
        assert re.match(rf'"""[^\n]+\.\n\n(?:    .*)python examples/{re.escape(name)}', text), "how is it run?"
        assert len(text.splitlines()) <= 120


def test_the_agent_is_told_what_is_known_and_may_write_but_not_read(load: Load) -> None:
    model = ScriptedChatModel.of(
        calls("update_user_memory", {"changes": [{"pointer": "/tone", "value": "softly"}]}), "Yes.", "Ada, softly."
    )
    agent = load("agent").build_agent(model)
    ada = MemoryContext(user_id="ada")
    agent.invoke(asked("My name is Ada. Speak softly."), in_thread("t-1"), context=ada)
    agent.invoke(asked("Who am I?"), in_thread("t-2"), context=ada)
    told = model.prompts[-1][0].text
    assert told.startswith("You are a friendly host.")
    assert '"tone": "softly"' in told
    assert [tool["function"]["name"] for tool in model.bound_tools] == ["update_user_memory"]


def test_the_voice_flow_welcomes_whose_number_it_knows_and_nobody_else(load: Load) -> None:
    voice = load("voice_flow").voice
    ada, bob = MemoryContext(phone="+12025550123"), MemoryContext(phone="+12025550124")
    voice.invoke(asked("Hello! My name is Ada."), in_thread("call-1"), context=ada)
    again = voice.invoke(asked("It is me."), in_thread("call-2"), context=ada)
    other = voice.invoke(asked("It is me."), in_thread("call-3"), context=bob)
    assert list(again) == ["messages"]
    assert "Ada" in again["messages"][-1].text
    assert "Ada" not in other["messages"][-1].text


def test_the_host_of_the_update_loop_keeps_each_message_once(load: Load) -> None:
    example = load("update_subgraph")
    host = example.build_host(checkpointer=InMemorySaver())
    ada = MemoryContext(user_id="ada")
    versions = [
        host.invoke(asked(text), in_thread("t-1"), context=ada)["version"]
        for text in ("I live in Bonn.", "I like the sea.")
    ]
    assert versions == [1, 2]
    messages = example.memory.of(user="ada").conversations.messages("t-1").entries
    assert [message.content for message in messages] == [
        "I live in Bonn.",
        "Tell me more.",
        "I like the sea.",
        "Tell me more.",
    ]


def test_who_fails_in_the_daily_run_stops_nobody_and_is_seen_by_the_next_one(load: Load) -> None:
    example = load("daily_run")
    people = ["ada", "bob", "cleo", "bob"]
    for user in set(people):
        words = [{"role": "user", "content": f"My name is {user.title()}."}]
        example.memory.of(user=user).conversations.append("call-1", words)

    def write(prompt: list[BaseMessage]) -> Answer:
        if "Bob" in prompt[-1].text:
            return RuntimeError("canary: My name is Bob.")
        return {"document": {"summary": "Has a name."}}

    saver = InMemorySaver()
    graph = example.build_daily(ScriptedChatModel.of(*[write] * 3)).copy(update={"checkpointer": saver})
    events = list(graph.stream({"users": people}, in_thread("daily"), stream_mode=["custom", "values"]))
    day = events[-1][1]
    assert day["statuses"] == {"ada": "saved", "bob": "failed: RuntimeError", "cleo": "saved"}
    assert day["counts"] == {"saved": 2, "failed": 1}
    assert "canary" not in repr((events, saver.storage, saver.writes, saver.blobs))
    steps = [(value["user"], value["stage"]) for mode, value in events if mode == "custom"]
    assert ("ada", "save") in steps
    assert ("bob", "summarize") in steps
    assert ("bob", "save") not in steps

    later = example.daily.copy(update={"checkpointer": saver}).invoke({"users": ["bob"]}, in_thread("daily"))
    assert later["counts"] == {"saved": 1}


def test_the_daily_run_updates_so_many_at_once_and_no_more(load: Load) -> None:
    example = load("daily_run")
    people = [f"person-{number}" for number in range(2 * example.AT_ONCE)]
    for user in people:
        example.memory.of(user=user).conversations.append("call-1", [{"role": "user", "content": "I like the sea."}])
    together = threading.Barrier(example.AT_ONCE)
    lock = threading.Lock()
    running: list[int] = [0, 0]

    def write(prompt: list[BaseMessage]) -> Answer:
        with lock:
            running[0] += 1
            running[1] = max(running)
        together.wait(timeout=60)
        with lock:
            running[0] -= 1
        return {"document": {"summary": "Likes the sea."}}

    graph = example.build_daily(ScriptedChatModel.of(*[write] * len(people)))
    assert graph.invoke({"users": people})["counts"] == {"saved": len(people)}
    assert running == [0, example.AT_ONCE]


def test_a_daily_run_of_nobody_ends(load: Load) -> None:
    assert load("daily_run").daily.invoke({"users": []})["counts"] == {}


NOTE = {"changes": [{"pointer": "/tone", "value": "slowly"}]}
USER = "person-4711"


def script() -> OpenAIStub:
    return OpenAIStub(
        [
            calls("update_user_memory", NOTE, id="call_1", input_tokens=100, output_tokens=20),
            said("I will.", input_tokens=150, output_tokens=4),
            said("You are Ada.", input_tokens=90, output_tokens=6),
        ]
    )


def assert_spoken(stub: OpenAIStub, *, streaming: bool) -> None:
    """Look at what went over the wire in both conversations."""
    first, second, third = stub.requests
    assert [bool(each.body.get("stream")) for each in stub.requests] == [streaming] * 3
    with Memory.open("sqlite://") as memory:
        offered = list(map(convert_to_openai_tool, get_user_memory_tools(memory)))
    assert [each.body["tools"] for each in stub.requests] == [offered] * 3
    assert all("user_id" not in str(tool["function"]["parameters"]) for tool in offered)
    assert first.system == ["You are a friendly host. Write down what people ask you to remember."]

    assert second.roles == ["system", "user", "assistant", "tool"]
    called, answered = second.body["messages"][2:]
    assert called["tool_calls"][0]["function"]["name"] == "update_user_memory"
    assert answered["tool_call_id"] == called["tool_calls"][0]["id"] == "call_1"
    assert '"status":"saved"' in answered["content"]

    assert third.roles == ["system", "user"]
    prompt, known = third.system
    assert [prompt] == first.system
    assert '"tone": "slowly"' in known
    assert "My name is Ada." in known
    for request in stub.requests:
        assert USER not in request.raw


def test_on_a_provider_that_streams(
    database: Database, database_url: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    environment["USERMEMORY_DATABASE"] = database_url
    with script() as stub:
        done = run("provider.py", tmp_path, environment, "--base-url", stub.url, "--user", USER)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Agent  I will.\n" in done.stdout
    assert "Agent  You are Ada.\n" in done.stdout
    assert "Tokens: 370" in done.stdout
    assert_spoken(stub, streaming=True)
    assert Memory(database).of(user=USER).conversations.totals().tokens == 370


def test_on_a_provider_that_answers_whole(database: Database, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    memory = Memory(database)
    with script() as stub:
        model = ChatOpenAI(model="stub-1", base_url=stub.url, api_key=SecretStr("none"))
        agent = load("provider").build_agent(memory, model)
        for thread, text in (("monday", "My name is Ada. Slowly, please."), ("tuesday", "Who am I?")):
            agent.invoke(asked(text), in_thread(thread), context=MemoryContext(user_id=USER))
    assert_spoken(stub, streaming=False)
    assert memory.of(user=USER).conversations.totals().tokens == 370


def test_the_provider_must_be_named(tmp_path: Path, environment: dict[str, str]) -> None:
    done = run("provider.py", tmp_path, environment)
    assert done.returncode == 2
    assert "--base-url" in done.stderr
    assert list(tmp_path.iterdir()) == []
