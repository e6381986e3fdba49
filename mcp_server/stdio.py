"""stdio: serve one client through this process's standard streams, until it closes them."""

import asyncio
import os
import select
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import IO, Any, Final, cast

import anyio
import anyio.lowlevel
import anyio.to_thread
from anyio.streams.memory import MemoryObjectSendStream
from mcp.server import MCPServer
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage

from mcp_server.gate import BODY_LIMIT, objection
from storage.errors import InvalidInput

GRACE_SECONDS: Final = 1.0
"""How long the process may still take once it has served: to close its memory, and for threads to end."""

INTERRUPTED: Final = 130
"""Exit code after Ctrl-C, as shells have it."""

_CHUNK: Final = 64 * 1024

_PIECE: Final = getattr(select, "PIPE_BUF", 512)
"""Bytes that a pipe takes at once when it says that it takes any."""

_POLLED: Final = sys.platform != "win32"
"""Whether one can be told when a pipe is ready; where not, a thread waits in it."""


def run_stdio(server: MCPServer[Any]) -> None:
    """Serve as `serve_stdio` does; GRACE_SECONDS later the process is gone. For a process that does nothing else."""
    try:
        asyncio.run(serve_stdio(server))
    except KeyboardInterrupt:
        _end_soon(INTERRUPTED)
        raise
    except BaseExceptionGroup as several:
        _, others = several.split(anyio.BrokenResourceError)
        if others is not None:
            raise
        _end_soon(INTERRUPTED)  # Ctrl-C, at the moment in which a message was handed on
        raise KeyboardInterrupt from None
    except SystemExit:  # asked to end
        _end_soon(0)
        raise
    _end_soon(0)


async def serve_stdio(server: MCPServer[Any]) -> None:
    """Serve until standard input ends. Nothing but the protocol gets to standard output, whoever prints.

    Raises InvalidInput where this process has no standard streams of its own.
    """
    with _taken(sys.stdin, os.devnull) as given, _taken(sys.stdout, None) as taken:
        lines, answers = _Lines(given), _Answers(taken)
        async with stdio_server(stdin=cast(Any, lines), stdout=cast(Any, answers)) as (read, write):
            lines.answers = write
            # The SDK offers no way to run a server on streams of one's own but through the one below it.
            lowlevel = server._lowlevel_server
            await lowlevel.run(read, write, lowlevel.create_initialization_options())


def _end_soon(status: int) -> None:
    """End even though a thread still waits, for a lock of the database or for standard input: Python would join it."""
    end = threading.Timer(GRACE_SECONDS, os._exit, [status])
    end.daemon = True
    end.start()


@contextmanager
def _taken(stream: IO[str], instead: str | None) -> Generator[int]:
    """Give a copy of a standard stream's descriptor; meanwhile everybody else in this process has `instead`.

    Who reads finds nothing, and could else read our messages; who prints, prints to standard error (None).
    """
    try:
        theirs = stream.fileno()
        mine = os.dup(theirs)
    except (OSError, ValueError):  # no descriptor behind it
        raise InvalidInput("stdio needs the standard input and output of a process") from None
    other = sys.stderr.fileno() if instead is None else os.open(instead, os.O_RDONLY)
    os.dup2(other, theirs)
    if instead is not None:
        os.close(other)
    try:
        yield mine  # and never closed: on Windows a thread may still wait in it
    finally:
        os.dup2(mine, theirs)


async def _ready(wait: Callable[[int], Awaitable[None]], descriptor: int) -> None:
    """Wait until a stream is ready. A file always is, and says so by an error."""
    try:
        await wait(descriptor)
    except PermissionError:
        await anyio.lowlevel.checkpoint()


class _Lines:
    """The lines of a stream that pass the gate; what does not pass is answered here."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
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
        while chunk := await self._read():
            first, *rest = chunk.split(b"\n")
            pending += first[: BODY_LIMIT + 1 - len(pending)]
            for following in rest:
                yield bytes(pending)
                pending = bytearray(following)
        if pending:
            yield bytes(pending)

    async def _read(self) -> bytes:
        if not _POLLED:
            return await anyio.to_thread.run_sync(os.read, self._descriptor, _CHUNK, abandon_on_cancel=True)
        await _ready(anyio.wait_readable, self._descriptor)
        return os.read(self._descriptor, _CHUNK)


class _Answers:
    """A stream as the SDK writes to it: without a thread, and a client that does not read blocks nobody."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._text = ""

    async def write(self, text: str) -> None:
        """Take a message."""
        self._text += text

    async def flush(self) -> None:
        """Write what was taken."""
        left, self._text = memoryview(self._text.encode()), ""
        while left:
            written = await self._write(left[:_PIECE])
            left = left[written:]

    async def _write(self, piece: memoryview) -> int:
        if not _POLLED:
            return await anyio.to_thread.run_sync(os.write, self._descriptor, piece, abandon_on_cancel=True)
        await _ready(anyio.wait_writable, self._descriptor)
        return os.write(self._descriptor, piece)
