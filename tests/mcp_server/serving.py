"""Serving: an app on a free port of this machine, in a thread of its own, and the ways to ask it."""

import re
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from threading import Thread
from typing import Any, Final

import httpx
import httpx2
import uvicorn
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from starlette.types import ASGIApp

from mcp_server import create_app, create_server
from memory_tools.access import Principal, Scope
from memory_tools.memory import Memory
from storage.identity import Identity
from tests.mcp_server.conftest import UNPACED
from usermemory.listening import bound, configuration

STOP_LIMIT: Final = 30.0
"""Seconds after which a server must have stopped."""

MODERN: Final = "2026-07-28"
HANDSHAKE: Final = "2025-11-25"

READ_AND_WRITE: Final = frozenset({Scope.READ, Scope.WRITE})


@contextmanager
def served(app: ASGIApp, host: str = "127.0.0.1") -> Iterator[str]:
    """Serve as `usermemory mcp --http` does, and yield `http://host:port`."""
    with bound(host, 0) as listener:
        server = uvicorn.Server(configuration(app))
        thread = Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            name = f"[{host}]" if ":" in host else host
            yield f"http://{name}:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(STOP_LIMIT)
            assert not thread.is_alive()


class Held:
    """Verifies tokens that a test has given out."""

    def __init__(self, principals: Mapping[str, Principal]) -> None:
        self._principals = principals

    def verify(self, token: str) -> Principal | None:
        return self._principals.get(token)


def holder(user: str | None, scopes: Collection[Scope] = READ_AND_WRITE, organization: str = "default") -> Principal:
    """Return who holds a token of a person, or of nobody."""
    identity = None if user is None else Identity.of(organization=organization, user=user)
    return Principal(f"token of {user}", organization, frozenset(scopes), identity)


@contextmanager
def served_to(memory: Memory, principals: Mapping[str, Principal], **options: Any) -> Iterator[str]:
    """Serve everybody who has one of the tokens, and yield the address of the protocol."""
    server = create_server(memory, **({"pace": UNPACED} | options))
    with served(create_app(server, memory, verifiers=[Held(principals)])) as url:
        yield f"{url}/mcp"


@dataclass(frozen=True)
class Caller:
    """Asks by single requests of one era; what it is answered is looked at as it comes."""

    url: str
    era: str = MODERN
    headers: Mapping[str, str] = field(default_factory=dict)

    def ask(self, method: str, params: Mapping[str, Any] | None = None, **headers: str) -> httpx.Response:
        """Send one request and return the response."""
        sent, message = request(self.era, method, params)
        with httpx.Client(verify=False, trust_env=False, timeout=30) as client:
            return client.post(self.url, headers={**sent, **self.headers, **headers}, json=message)

    def call(self, tool: str, arguments: Mapping[str, Any] | None = None, **headers: str) -> httpx.Response:
        """Call a tool."""
        return self.ask("tools/call", {"name": tool, "arguments": arguments or {}}, **headers)


def request(era: str, method: str, params: Mapping[str, Any] | None = None) -> tuple[dict[str, str], dict[str, Any]]:
    """Return the headers and the message of a request."""
    given = dict(params or {})
    headers = {"Accept": "application/json, text/event-stream"}
    if era == MODERN:
        headers |= {"MCP-Protocol-Version": MODERN, "Mcp-Method": method}
        if named := given.get("name") or (given.get("uri") if method == "resources/read" else None):
            headers["Mcp-Name"] = named
        given["_meta"] = {
            "io.modelcontextprotocol/protocolVersion": MODERN,
            "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        }
    else:
        headers["MCP-Protocol-Version"] = HANDSHAKE
    return headers, {"jsonrpc": "2.0", "id": 1, "method": method, "params": given}


def bearer(token: str) -> dict[str, str]:
    """Return the header that shows a token."""
    return {"Authorization": f"Bearer {token}"}


@asynccontextmanager
async def connected(url: str, era: str, **headers: str) -> AsyncIterator[Client]:
    """Connect the SDK's client."""
    async with (
        httpx2.AsyncClient(headers=headers, verify=False, trust_env=False, timeout=30) as http,
        Client(streamable_http_client(url, http_client=http), mode=era) as client,
    ):
        yield client


def texts(response: httpx.Response) -> str:
    """Return what a tool that was called answered to the model."""
    return "\n".join(each["text"] for each in response.json()["result"]["content"])


def challenged(response: httpx.Response) -> dict[str, str]:
    """Return the parameters of the challenge in an answer."""
    kind, _, parameters = response.headers["www-authenticate"].partition(" ")
    assert kind == "Bearer"
    return dict(re.findall(r'(\w+)="([^"]*)"', parameters))
