"""stdio: a process that serves one client and says nothing but the protocol."""

import json
import os
import signal
import sqlite3
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp_types import ResourceTemplateReference

from mcp_server.gate import BODY_LIMIT
from memory_tools.memory import Memory, UserMemory
from storage.errors import NotFound
from tests.mcp_server.asking import EVERY_CALL, ask
from tests.mcp_server.wire import COMMAND, Wire, call, environment, running


def served(url: str, cwd: Path, era: str) -> Client:
    """Return a client that starts `usermemory mcp` for ada."""
    arguments = [*COMMAND, "--database", url]
    parameters = StdioServerParameters(command=sys.executable, args=arguments, cwd=cwd, env=environment())
    return Client(parameters, mode=era)


@pytest.mark.parametrize(("backend", "era"), [("sqlite", "legacy"), ("postgresql", "2026-07-28")])
async def test_everything_works_through_a_process_and_is_there_after_a_restart(
    database_url: str, memory: Memory, person: UserMemory, tmp_path: Path, era: str
) -> None:
    async with served(database_url, tmp_path, era) as client:
        names = [each.name for each in (await client.list_tools()).tools]
        assert names == list(EVERY_CALL)
        changes = [{"pointer": "/summary", "value": "Ada plays chess."}]
        assert (await ask(client, "update_user_memory", changes=changes))["status"] == "saved"
        for key in ("tone", "null"):
            await ask(client, "set_memory_item", key=key, value='{"a":1}')
            assert (await ask(client, "get_memory_item", key=key))["value"] == '{"a":1}'
        await ask(client, "delete_memory_item", key="null")
        assert [each["key"] for each in (await ask(client, "list_memory_items"))["entries"]] == ["tone"]
        assert len((await ask(client, "get_memory_history"))["entries"]) == 1
        assert "Ada plays chess." in (await client.read_resource("memory://me/document")).model_dump_json()
        assert "chess" in (await client.read_resource("memory://me/history")).model_dump_json()
        assert "chess" in (await client.read_resource("memory://me/document/1")).model_dump_json()
        assert (await client.read_resource("memory://me/items/default/tone")).contents
        assert "chess" in (await client.get_prompt("context")).model_dump_json()
        assert "likes tea" in (await client.get_prompt("remember", {"what": "She likes tea."})).model_dump_json()
        assert (await client.get_prompt("review_memory")).messages
        templates = (await client.list_resource_templates()).resource_templates
        reference = ResourceTemplateReference(uri=templates[1].uri_template)
        assert (await client.complete(reference, {"name": "key", "value": "t"})).completion.values == ["tone"]
    async with served(database_url, tmp_path, era) as client:
        assert (await ask(client, "get_user_memory"))["value"]["summary"] == "Ada plays chess."
    assert person.items.get("default", "tone").value == '{"a":1}'
    assert list(tmp_path.iterdir()) == []


PROMPT = '{"jsonrpc":"2.0","id":%d,"method":"prompts/get","params":{"name":"remember","arguments":{"what":%s}}}'

HOSTILE: list[tuple[bytes, str]] = [
    (b'{"key":"a","value":NaN}', "invalid_json"),
    (b'{"key":"a","value":Infinity}', "invalid_json"),
    (b'{"key":"a","value":1e400}', "invalid_json"),
    (b'{"key":"a","value":18446744073709551616}', "invalid_json"),
    (b'{"key":"a","value":"a\\u0000b"}', "invalid_json"),
    (b'{"key":"a","value":1,"value":2}', "invalid_json"),
    (b'{"key":"a","key":"b","value":1}', "invalid_json"),
    (b'{"key":"a","value":"\\ud800"}', "invalid_json"),
    (b'{"key":"a","value":' + b"[" * 200 + b"]" * 200 + b"}", "invalid_json"),
    (b'{"key":"a","value":"' + b"x" * 20_000 + b'"}', "too_large"),
    (b'{"key":"a"}', "invalid_input"),
    (b'{"key":"a","value":1,"user":"bob"}', "invalid_input"),
]
"""Arguments of a call, and how it is refused."""

NO_MESSAGES = [
    b"not json",
    b'"\xff"',
    b"\x00",
    b"[" * 100_000,
    b'{"jsonrpc":"2.0","id":"\\ud800","method":"tools/list","params":{"a":NaN}}',
    b'{"jsonrpc":"2.0","id":' + b"1" * 5_000 + b',"method":"tools/list"}',
    b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":"' + b"x" * (BODY_LIMIT + 10) + b'"}',
    b"y" * (3 * BODY_LIMIT),
]
"""Lines whose id nobody can know, or send back."""


def test_whatever_a_client_writes_it_is_answered_and_served_on(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'memory.db'}"
    with running(*COMMAND, "--database", url, cwd=tmp_path) as wire:
        wire.begin()
        for number, (arguments, code) in enumerate(HOSTILE):
            line = json.dumps(call(number, "set_memory_item", {})).encode()
            wire.send(line.replace(b'"arguments": {}', b'"arguments": ' + arguments))
            answer = wire.answer()
            assert answer["id"] == number
            assert answer["result"]["isError"] is True
            (content,) = answer["result"]["content"]
            assert content["text"].startswith(f"{code}: ")
        for line in NO_MESSAGES:
            wire.send(line)
            answer = wire.answer()
            assert answer["id"] is None
            assert answer["error"]["data"]["code"] in ("invalid_json", "too_large")
            assert len(json.dumps(answer)) < 1_000
        wire.send((PROMPT % (70, '"a\\u0000b"')).encode())
        answer = wire.answer()
        assert (answer["id"], answer["error"]["data"]) == (70, {"code": "invalid_json"})
        wire.send(b"", b"   ", b"\r", json.dumps(call(71, "list_memory_items", {})).encode() + b"\r")
        assert wire.answer()["result"]["structuredContent"] == {"entries": [], "next": None}
        wire.ask(72, "set_memory_item", key="a", value="null")
        assert wire.answer()["result"]["isError"] is False
        with sqlite3.connect(tmp_path / "memory.db", isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")  # as a second client that writes: the call has to wait
            wire.ask(73, "set_memory_item", key="a", value=2)
            wire.ask(74, "get_memory_item", key="a")
            assert wire.answer()["id"] == 74
            ended, output, errors = wire.end()  # who waited for the other client would not end by itself: see SECONDS
            other.execute("ROLLBACK")
        other.close()
    assert (ended, errors) == (0, b"")
    assert [json.loads(line)["id"] for line in output.splitlines()] == [73]
    with Memory.open(url) as memory:
        ada = memory.of(user="ada")
        assert [(item.key, item.value) for item in ada.items.in_namespace().entries] == [("a", "null")]
        assert ada.document.current().version == 0


NOISY = '''
import ctypes, json, logging, os, subprocess, sys, warnings
from memory_tools.memory import Memory, UserMemory
from memory_tools.operation import Effect, Input, operation
from memory_tools.operations import CATALOG
from mcp_server import create_server
from mcp_server.stdio import run_stdio

class Nothing(Input):
    """No input."""

@operation(Effect.READ, "GET /noise", example={})
def make_noise(memory: UserMemory, ask: Nothing) -> object:
    """Print in every way there is, and say what was found."""
    print("noise 1", flush=True)
    sys.__stdout__.write("noise 2\\n"); sys.__stdout__.flush()
    os.write(1, b"noise 3\\n")
    subprocess.run([sys.executable, "-c", "print('noise 4')"], check=True)
    logging.getLogger("anybody").warning("noise 5")
    warnings.warn("noise 6")
    heavy = ("langchain", "langchain_core", "langgraph", "fastmcp", "jwt", "psycopg", "mcp_server.app")
    loaded = [name for name in heavy if name in sys.modules]
    return {"read": sys.stdin.read(), "loaded": loaded}

CATALOG["make_noise"] = make_noise
with Memory.open(sys.argv[1]) as memory:
    run_stdio(create_server(memory, person=memory.of(user="ada")))
'''
"""A server with a tool that prints, takes what it can from standard input, and looks at what is loaded."""


def test_nothing_but_the_protocol_gets_out_and_nobody_takes_what_comes_in(tmp_path: Path) -> None:
    with running("-c", NOISY, f"sqlite:///{tmp_path / 'memory.db'}", cwd=tmp_path) as wire:
        wire.begin()
        wire.ask(1, "make_noise")
        wire.ask(2, "set_memory_item", key="a", value=1)
        answers = {answer["id"]: answer["result"] for answer in (wire.answer(), wire.answer())}
        code, output, errors = wire.end()
    assert answers[1]["structuredContent"] == {"value": {"read": "", "loaded": []}}
    assert answers[2]["isError"] is False
    assert (code, output) == (0, b"")
    assert all(f"noise {number}".encode() in errors for number in range(1, 7))


@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
def test_ctrl_c_and_a_request_to_end_are_obeyed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'memory.db'}"
    with ExitStack() as stack:
        wires = [stack.enter_context(running(*COMMAND, "--database", url, cwd=tmp_path)) for _ in range(2)]
        for wire, sent, code in zip(wires, (signal.SIGINT, signal.SIGTERM), (130, 0), strict=True):
            wire.begin()
            wire.process.send_signal(sent)
            assert wire.process.wait() == code
            assert wire.process.stdout is not None
            assert wire.process.stdout.read() == b""


def acknowledged(wire: Wire, count: int) -> list[str]:
    """Return the keys of the next `count` writes that were acknowledged."""
    return [wire.answer()["result"]["structuredContent"]["key"] for _ in range(count)]


def test_a_process_that_is_killed_loses_nothing_that_it_acknowledged(
    database_url: str, memory: Memory, person: UserMemory, tmp_path: Path
) -> None:
    person.items.set("default", "first", 0)
    arguments = (*COMMAND, "--database", database_url)
    kept: list[str] = ["first"]
    with ExitStack() as stack:
        wires = [stack.enter_context(running(*arguments, cwd=tmp_path)) for _ in range(2)]
        for wire in wires:
            wire.begin()
        for number in range(100):
            for name, wire in enumerate(wires):
                wire.ask(number, "set_memory_item", key=f"{name}-{number}", value=[name, number])
        for wire in wires:
            kept += acknowledged(wire, 40)
        wires[0].process.kill()
        assert wires[0].process.stdout is not None
        rest = wires[0].process.stdout.read().splitlines(keepends=True)
        kept += [json.loads(line)["result"]["structuredContent"]["key"] for line in rest if line.endswith(b"\n")]
        kept += acknowledged(wires[1], 60)  # the other one goes on
        wires[0] = stack.enter_context(running(*arguments, cwd=tmp_path))  # and so does a new one
        wires[0].begin()
        wires[0].ask("after", "set_memory_item", key="after", value="after")
        assert acknowledged(wires[0], 1) == ["after"]
        assert wires[0].end()[0] == wires[1].end()[0] == 0
    assert len(kept) == len(set(kept)) >= 141
    for key in kept:
        value: Any = person.items.get("default", key).value
        assert value == (0 if key == "first" else [int(part) for part in key.split("-")])
    with pytest.raises(NotFound):
        person.items.get("default", "0-100")
