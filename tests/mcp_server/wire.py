"""The wire: `usermemory mcp` as a process of its own, spoken to in bytes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer
from typing import Any

ROOT = Path(__file__).parents[2]

SECONDS = 60
"""A process that is not done after so long is ended, and what it should have said is missing."""

COMMAND = ("-m", "usermemory", "mcp", "--user", "ada")

HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "test", "version": "1"},
}


class Wire:
    """A running server, and the two ends of the pipes to it."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process

    def send(self, *lines: bytes | dict[str, Any]) -> None:
        """Write lines, those that are no bytes as JSON."""
        assert self.process.stdin is not None
        for line in lines:
            self.process.stdin.write((line if isinstance(line, bytes) else json.dumps(line).encode()) + b"\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        """Return the next line, which has to be a message."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the server has ended"
        message = json.loads(line)
        assert message["jsonrpc"] == "2.0"
        return message

    def begin(self) -> None:
        """Shake hands as clients before 2026-07-28 do."""
        self.send({"jsonrpc": "2.0", "id": "hello", "method": "initialize", "params": HELLO})
        assert self.answer()["id"] == "hello"
        self.send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def ask(self, identifier: int | str, tool: str, **arguments: Any) -> None:
        """Call a tool without waiting for its answer."""
        self.send(call(identifier, tool, arguments))

    def end(self) -> tuple[int, bytes, bytes]:
        """Close its input, wait until it ends, and return the exit code and the rest of its stdout and stderr."""
        output, errors = self.process.communicate()
        return self.process.returncode, output, errors


def call(identifier: int | str, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the call of a tool as a message."""
    params = {"name": tool, "arguments": arguments}
    return {"jsonrpc": "2.0", "id": identifier, "method": "tools/call", "params": params}


def environment(**others: str) -> dict[str, str]:
    """Return the environment without what a developer may have set for their own memory."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith("USERMEMORY_")}
    return {**mine, "PYTHONPATH": str(ROOT), **others}


@contextmanager
def running(*arguments: str, cwd: Path, **variables: str) -> Iterator[Wire]:
    """Start Python with the arguments; the process ends with the block."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=cwd,
        env=environment(**variables),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    watchdog = Timer(SECONDS, process.kill)
    watchdog.start()
    try:
        yield Wire(process)
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            assert pipe is not None
            if not pipe.closed:
                with suppress(BrokenPipeError):
                    pipe.close()
