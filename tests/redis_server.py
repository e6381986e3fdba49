"""A Redis for tests, which goes down and comes up again at the same address.

`redis-server` or `valkey-server` where one is on PATH, else fakeredis, which speaks the protocol over TCP.
"""

import json
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import redis
from fakeredis import TcpFakeServer
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from tests.ports import reserved_port

PATIENCE = 30.0
"""Seconds for what should take one, on a busy machine."""


class RedisServer(Protocol):
    """A server that keeps nothing while it is down."""

    url: str

    def start(self) -> None:
        """Come up, and answer."""

    def stop(self) -> None:
        """Go down, with every connection."""


@contextmanager
def running_redis() -> Iterator[RedisServer]:
    """Start a server at a port of its own on this machine; it ends with the block."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    with reserved_port() as port, tempfile.TemporaryDirectory(prefix="usermemory-redis-") as folder:
        server = _Program(program, Path(folder), port) if program else _Fake(port)
        try:
            server.start()
            yield server
        finally:
            server.stop()


class Heard:
    """Whoever listens on a channel."""

    def __init__(self, url: str, channel: str) -> None:
        self._client = redis.Redis.from_url(url)
        self._subscription = self._client.pubsub()  # type: ignore[no-untyped-call]
        self._subscription.subscribe(channel)
        assert self._next()["type"] == "subscribe"

    def messages(self, count: int) -> list[dict[str, Any]]:
        """Return the next so many messages, which are JSON; fails where they do not come."""
        return [json.loads(self._next()["data"]) for _ in range(count)]

    def close(self) -> None:
        self._subscription.close()
        self._client.close()

    def _next(self) -> dict[str, Any]:
        heard: dict[str, Any] | None = self._subscription.get_message(timeout=PATIENCE)
        assert heard is not None, "nothing was published"
        return heard


@contextmanager
def heard_on(url: str, channel: str = "user-updates") -> Iterator[Heard]:
    """Listen while the block lasts."""
    heard = Heard(url, channel)
    try:
        yield heard
    finally:
        heard.close()


class _Program:
    """The real one."""

    def __init__(self, program: str, folder: Path, port: int) -> None:
        self.url = f"redis://127.0.0.1:{port}/0"
        options = {"port": port, "bind": "127.0.0.1", "dir": folder, "save": "", "appendonly": "no"}
        self._command = [program, *(str(part) for name, value in options.items() for part in (f"--{name}", value))]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _answers(self.url)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE)
            self._process = None


class _Fake:
    """The one in this process."""

    def __init__(self, port: int) -> None:
        self.url = f"redis://127.0.0.1:{port}/0"
        self._address = ("127.0.0.1", port)
        self._server: TcpFakeServer | None = None

    def start(self) -> None:
        self._server = TcpFakeServer(self._address)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        _answers(self.url)

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


def _answers(url: str) -> None:
    patient = Retry(ConstantBackoff(0.05), int(PATIENCE / 0.05))
    with redis.Redis.from_url(url, retry=patient) as client:
        client.ping()
