"""stdio: serve one client through this process's standard streams, until it closes them."""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, BinaryIO, Final, cast

import anyio
import anyio.to_thread
from anyio.streams.memory import MemoryObjectSendStream
from mcp.server import MCPServer
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage

from mcp_server.gate import BODY_LIMIT, objection

GRACE_SECONDS: Final = 1.0
"""How long the process may still take once it has served: to close its memory, and for threads to end."""

INTERRUPTED: Final = 130
"""Exit code after Ctrl-C, as shells have it."""

_CHUNK: Final = 64 * 1024


def run_stdio(server: MCPServer[Any]) -> None:
    """Serve as `serve_stdio` does; GRACE_SECONDS later the process is gone. For a process that does nothing else."""
    try:
        asyncio.run(serve_stdio(server))
    except KeyboardInterrupt:
        _end_soon(INTERRUPTED)
        raise
    _end_soon(0)


async def serve_stdio(server: MCPServer[Any]) -> None:
    """Serve until standard input ends. Nothing but the protocol gets to standard output, whoever prints."""
    lines = _Lines(_taken_standard_input())
    async with stdio_server(stdin=cast(Any, lines)) as (read, write):
        lines.answers = write
        # The SDK offers no way to run a server on streams of one's own but through the one below it.
        lowlevel = server._lowlevel_server
        await lowlevel.run(read, write, lowlevel.create_initialization_options())


def _end_soon(status: int) -> None:
    """End even though a thread still waits, for a lock of the database or for standard input: Python would join it."""
    end = threading.Timer(GRACE_SECONDS, os._exit, [status])
    end.daemon = True
    end.start()


def _taken_standard_input() -> BinaryIO:
    """Return standard input, and leave an empty one to everybody else in this process: they could read our messages."""
    try:
        mine = os.dup(sys.stdin.fileno())
    except (OSError, ValueError):  # no descriptor behind it
        return sys.stdin.buffer
    with suppress(OSError), open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), sys.stdin.fileno())
    return os.fdopen(mine, "rb", buffering=0, closefd=False)  # a thread may still wait in it when the server has ended


class _Lines:
    """The lines of a stream that pass the gate; what does not pass is answered here."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.answers: MemoryObjectSendStream[SessionMessage] | None = None

    async def __aiter__(self) -> AsyncIterator[str]:
        async for line in self._all():
            if not line.strip():
                continue
            answer = objection(line)
            if answer is None:
                yield line.decode()
            elif self.answers is not None:
                await self.answers.send(SessionMessage(answer))

    async def _all(self) -> AsyncIterator[bytes]:
        """Yield every line; of one that is too long only as much as shows that it is."""
        pending = bytearray()
        while chunk := await anyio.to_thread.run_sync(self._stream.read, _CHUNK, abandon_on_cancel=True):
            first, *rest = chunk.split(b"\n")
            pending += first[: BODY_LIMIT + 1 - len(pending)]
            for following in rest:
                yield bytes(pending)
                pending = bytearray(following)
        if pending:
            yield bytes(pending)
