"""Serving: how our server and the one that does nothing are started, and one connection to them that stays open."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final

from benchmarks.over_http.listening import PACE
from benchmarks.over_mcp.running import tree_of

STARTED_WITHIN: Final = 60.0
"""Seconds that a server may take until it listens."""

ANSWERED_WITHIN: Final = 60.0
"""Seconds after which a request counts as never answered."""

ROOT: Final = Path(__file__).parents[2]

NOTHING: Final = (sys.executable, "-m", "benchmarks.over_http.nothing")
"""The server that does nothing."""

OURS: Final = (sys.executable, "-m", "benchmarks.over_http.ours")
"""Our server without the fsync; the URL of the database follows, and perhaps whose memory it is."""

_LISTENING: Final = re.compile(r"Listening on http://127\.0\.0\.1:(\d+)")


def serve_command(url: str, *whose: str) -> Sequence[str]:
    """Return how users start our server on a database: `whose` is `--user ID` or `--api-keys`."""
    command = str(Path(sys.executable).with_name("usermemory"))
    return (command, "serve", "--port", "0", "--database", url, "--pace", PACE, *whose)


@dataclass(frozen=True, slots=True)
class Served:
    """A server process that listens."""

    pid: int
    port: int

    def cpu(self) -> float:
        """Return the seconds of CPU of the process and of all that it started, so far."""
        return tree_of(self.pid)


@contextmanager
def served(command: Sequence[str], log: Path) -> Generator[Served]:
    """Start a server and wait until it listens; it ends with the block. What it says goes to `log`."""
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr, cwd=ROOT)
    try:
        end = time.monotonic() + STARTED_WITHIN
        while (found := _LISTENING.search(log.read_text(encoding="utf-8"))) is None:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the server does not listen: {log.read_text(encoding='utf-8')[-2_000:]}")
            time.sleep(0.02)
        yield Served(process.pid, int(found[1]))
    finally:
        process.terminate()
        process.wait(STARTED_WITHIN)


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, the same as often as it is sent."""

    method: str
    path: str
    body: Any = None
    token: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What it says beside its body."""
        said = {} if self.token is None else {"Authorization": f"Bearer {self.token}"}
        return said if self.body is None else {**said, "Content-Type": "application/json"}

    @property
    def content(self) -> bytes | None:
        """Its body in bytes."""
        return None if self.body is None else json.dumps(self.body).encode()

    def on_the_wire(self, port: int) -> bytes:
        """Return all of its bytes."""
        content = self.content or b""
        headers = {"Host": f"127.0.0.1:{port}", **self.headers}
        if content:
            headers["Content-Length"] = str(len(content))
        lines = [f"{self.method} {self.path} HTTP/1.1", *(f"{name}: {said}" for name, said in headers.items())]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


class Client:
    """One connection, opened again where the server closed it because nobody asked for a while."""

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=ANSWERED_WITHIN)

    def renew(self) -> None:
        """Open the connection anew, so that it does not end in the middle of what is measured."""
        self._connection.close()
        self._connection.connect()

    def ask(self, ask: Ask) -> None:
        """Send a request and read its answer. Raises RuntimeError for a refusal: its time would say nothing."""
        self._connection.request(ask.method, ask.path, ask.content, ask.headers)
        answer = self._connection.getresponse()
        said = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{ask.method} {ask.path}: {answer.status} {said[:300]!r}")
