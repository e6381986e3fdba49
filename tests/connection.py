"""Connection: a connection to a server, over which a request goes that no client would send so."""

import json
import socket
from typing import Any, Final
from urllib.parse import urlsplit

from memory_tools.unread import LINGER_BYTES

WAIT: Final = 30.0
"""Seconds after which a server must have answered, or taken what was sent."""

PIECE: Final = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
"""64 KB of a body in chunks."""

PIECES: Final = 16 * LINGER_BYTES // len(PIECE)
"""More of them than any server takes that does not read on for ever."""


class Connection:
    """A connection to a server, and the bytes that go over it."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.socket = socket.create_connection((parts.hostname, parts.port), timeout=WAIT)
        self.answers = self.socket.makefile("rb")

    def ask(self, line: str, *headers: str) -> None:
        """Send the head of a request."""
        lines = [f"{line} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json", *headers, "", ""]
        self.socket.sendall("\r\n".join(lines).encode())

    def send_all(self, pieces: int) -> None:
        """Send so much more of a body."""
        for _ in range(pieces):
            self.socket.sendall(PIECE)

    def answer(self) -> tuple[int, dict[str, str], Any]:
        """Read one answer: its status, its headers and its JSON."""
        status = int(self.answers.readline().split()[1])
        headers = {}
        while line := self.answers.readline().strip():
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        return status, headers, json.loads(self.answers.read(int(headers["content-length"])))

    def is_ended(self) -> bool:
        """Tell whether the server has closed the connection, once there is nothing more to read."""
        try:
            return self.answers.read(1) == b""
        except ConnectionError:
            return True
