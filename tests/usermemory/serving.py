"""Serving: commands that listen, as processes of their own on a free port of this machine."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Timer
from typing import Final

import httpx
import pytest

START_LIMIT: Final = 60.0
"""Seconds in which the command must have begun to listen, or ended; then it is killed."""


@dataclass
class Running:
    """A server as a process of its own."""

    process: "subprocess.Popen[str]"
    url: str
    """Where it listens: `http://address:port`, and perhaps a path."""

    stderr: str
    """What it said until it began to listen, and once it has ended all that it said."""

    def client(self, token: str | None = None, **headers: str) -> httpx.Client:
        """Return a client, of the holder of a token where one is given."""
        said = headers | ({"Authorization": f"Bearer {token}"} if token else {})
        return httpx.Client(base_url=self.url, headers=said, trust_env=False, timeout=START_LIMIT)

    def end(self, by: int = signal.SIGTERM) -> int:
        """Ask it to stop and return how it ended."""
        self.process.send_signal(by)
        return self.process.wait(START_LIMIT)


@contextmanager
def running(database: str, *options: str, **variables: str) -> Iterator[Running]:
    """Start `usermemory serve` on a free port, as a shell does that has set these variables."""
    with started(["serve", "--database", database, *options], **variables) as server:
        yield server


@contextmanager
def started(words: list[str], **variables: str) -> Iterator[Running]:
    """Start a command that listens, on a free port; it ends with the block, and says nothing on stdout."""
    with subprocess.Popen(
        [sys.executable, "-m", "usermemory", *words, "--port", "0"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=without_ours() | variables,
    ) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        with limited(process):
            first = process.stderr.readline()
        said = re.fullmatch(r"Listening on (http://\S+).*\n", first)
        if said is None:
            process.kill()
            pytest.fail(first + process.stderr.read())
        server = Running(process, said[1], first)
        try:
            yield server
        finally:
            with limited(process):
                if process.poll() is None:
                    process.terminate()
                server.stderr += process.stderr.read()
                assert process.stdout.read() == ""


@contextmanager
def limited(process: "subprocess.Popen[str]") -> Iterator[None]:
    """Kill the process, and fail, where what is waited for in the block does not come in time."""
    late = Event()

    def end() -> None:
        late.set()
        process.kill()

    watchdog = Timer(START_LIMIT, end)
    watchdog.start()
    try:
        yield
    finally:
        watchdog.cancel()
    assert not late.is_set(), f"it was waited for {START_LIMIT} seconds in vain"


def without_ours() -> dict[str, str]:
    """Return the environment without what whoever runs the tests has set up for their own memory."""
    return {name: value for name, value in os.environ.items() if not name.startswith("USERMEMORY_")}
