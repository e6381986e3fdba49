"""A running server: a client that speaks to it over stdio, and what its process has used of the machine (Linux)."""

import ctypes
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp_types import CallToolResult, TextContent, Tool

ANSWERED_WITHIN = 300
"""Seconds after which a call counts as not acknowledged."""

Ask = tuple[str, dict[str, Any]]
"""A tool and its arguments."""

_libc = ctypes.CDLL(None)


def cpu_of(pid: int) -> float:
    """Return the seconds of CPU that a process has used, its ended threads included, to the nanosecond."""
    clock = ctypes.c_int()
    if _libc.clock_getcpuclockid(pid, ctypes.byref(clock)):
        raise ProcessLookupError(pid)
    return time.clock_gettime(clock.value)


def tree_of(pid: int) -> float:
    """Return the seconds of CPU of a process and all that it started, ended or not; 10 ms is the finest of the rest."""
    process = psutil.Process(pid)
    total = cpu_of(pid)
    for each in process.children(recursive=True):
        times = each.cpu_times()
        total += times.user + times.system + times.children_user + times.children_system
    ended = process.cpu_times()
    return total + ended.children_user + ended.children_system


def peak_of(pid: int) -> float:
    """Return the most memory that a process ever had resident, in MB (10^6 bytes)."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ProcessLookupError(pid)


@dataclass
class Running:
    """One server process and the client that speaks to it."""

    client: Client
    pid: int
    began: float

    def cpu(self) -> float:
        """Return the seconds of CPU of the server process so far."""
        return cpu_of(self.pid)

    async def call(self, ask: Ask) -> CallToolResult:
        """Call a tool; raises RuntimeError when it answers with an error: its time would say nothing."""
        answer = await self.client.call_tool(*ask)
        if answer.is_error:
            raise RuntimeError(f"{ask[0]}: {text_of(answer)[:300]}")
        return answer

    async def tools(self) -> list[Tool]:
        """Return what tools there are."""
        return (await self.client.list_tools()).tools


@asynccontextmanager
async def running(parameters: StdioServerParameters, log: Path) -> AsyncIterator[Running]:
    """Start a server, whose stderr goes to `log`; start one after the other, since this looks for the new process."""
    before = {child.pid for child in psutil.Process().children()}
    began = time.perf_counter()
    with log.open("a", encoding="utf-8") as stderr:
        transport = stdio_client(parameters, errlog=stderr)
        async with Client(transport, read_timeout_seconds=ANSWERED_WITHIN) as client:
            (pid,) = {child.pid for child in psutil.Process().children()} - before
            yield Running(client, pid, began)


async def acknowledged(server: Running, ask: Ask) -> str | None:
    """Return what a tool said to a call that it acknowledged, and None where it refused or never answered."""
    try:
        return text_of(await server.call(ask))
    except (MCPError, RuntimeError):
        return None


def text_of(answer: CallToolResult) -> str:
    """Return the text that a model is given."""
    return "\n".join(part.text for part in answer.content if isinstance(part, TextContent))


def compact(value: Any) -> str:
    """Return a value as the shortest JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


async def cost_of(server: Running, asks: Sequence[Ask]) -> float:
    """Return the seconds of CPU of the server for each call, one after the other."""
    before = server.cpu()
    for ask in asks:
        await server.call(ask)
    return (server.cpu() - before) / len(asks)
