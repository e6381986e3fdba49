"""A LangGraph agent that uses memory through the MCP server: over stdio on Monday, over HTTP on Tuesday.

    python examples/mcp_agent.py

It needs `langchain[mcp]`. The server is a process of its own, so the agent may run anywhere, and whose memory it is was
decided where the server was started. A stand-in answers, so that no key is needed. Memory is in memory.db of the
current folder, or where USERMEMORY_DATABASE says.
"""

import asyncio
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain_core._api import LangChainBetaWarning
from langchain_core.messages import AIMessage, BaseMessage

warnings.filterwarnings("ignore", category=LangChainBetaWarning)  # what follows is in beta, and says so at each start
from fastmcp.client.transports import StdioTransport  # noqa: E402
from langchain.mcp import MCPAdapter  # noqa: E402

from graphs.testing import ScriptedChatModel, calls  # noqa: E402

DATABASE = os.environ.get("USERMEMORY_DATABASE", f"sqlite:///{Path('memory.db').absolute()}")

SERVE = ["-m", "usermemory", "mcp", "--user", "ada", "--database", DATABASE]
"""One person's memory, for whoever starts this command or reaches it on this machine."""


def stand_in(prompt: list[BaseMessage]) -> str | AIMessage:
    """Answer as a model would that has the tools."""
    last = prompt[-1]
    if last.type == "human" and (wish := re.search(r"I drink (\w+)", last.text)):
        return calls("set_memory_item", {"namespace": "prefs", "key": "drink", "value": wish[1]})
    if last.type == "human":
        return calls("get_memory_item", {"namespace": "prefs", "key": "drink"})
    kept = re.search(r'"value":"(\w+)"', last.text)
    return f"A cup of {kept[1]}, as always?" if kept else "I will keep that in mind."


async def talk(server: Any, text: str) -> str:
    """Return what an agent answers that has the tools of a server: its address, or how to start it."""
    async with MCPAdapter(server) as memory:
        agent = create_agent(ScriptedChatModel.of(stand_in, stand_in), await memory.list_tools())
        answered = await agent.ainvoke({"messages": [{"role": "user", "content": text}]})
    return str(answered["messages"][-1].text)


@contextmanager
def http_server() -> Iterator[str]:
    """Start the server over HTTP on a free port of this machine, and give its address."""
    command = [sys.executable, *SERVE, "--http", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            yield process.stderr.readline().split()[-1]  # Listening on http://127.0.0.1:43211/mcp
        finally:
            process.terminate()


async def main() -> None:
    """Talk twice. The second agent has another server, and the same memory."""
    print("stdio  Ada    I drink tea.")
    print("       Agent ", await talk(StdioTransport(sys.executable, SERVE, keep_alive=False), "I drink tea."))
    with http_server() as address:
        print("http   Ada    What shall I have?")
        print("       Agent ", await talk(address, "What shall I have?"))


if __name__ == "__main__":
    asyncio.run(main())
