from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import httpx
import pytest
from mcp.server import MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import ToolAnnotations
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Asgi

from mcp_server import create_app, create_server
from mcp_server.asker import NAMED, PRINCIPAL, asker
from memory_tools.access import Named, Principal, Scope
from memory_tools.memory import Memory
from tests.mcp_server.conftest import UNPACED
from tests.mcp_server.serving import (
    Caller,
    Held,
    bearer,
    challenged,
    connected,
    holder,
    request,
    served,
    served_to,
    texts,
)

SCOPES: Final = {
    "nothing": [],
    "read": [Scope.READ],
    "write": [Scope.WRITE],
    "both": [Scope.READ, Scope.WRITE],
    "act-as": [Scope.ACT_AS],
    "act-as-read": [Scope.ACT_AS, Scope.READ],
    "act-as-both": [Scope.ACT_AS, Scope.READ, Scope.WRITE],
}
"""By the token."""

READS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "get_user_memory": ("tools/call", {"name": "get_user_memory", "arguments": {}}),
    "get_memory_history": ("tools/call", {"name": "get_memory_history", "arguments": {}}),
    "get_memory_item": ("tools/call", {"name": "get_memory_item", "arguments": {"key": "tone"}}),
    "list_memory_items": ("tools/call", {"name": "list_memory_items", "arguments": {}}),
    "a tool of nobody": ("tools/call", {"name": "nothing_like_it", "arguments": {}}),
    "document": ("resources/read", {"uri": "memory://me/document"}),
    "history": ("resources/read", {"uri": "memory://me/history"}),
    "context": ("prompts/get", {"name": "context"}),
    "completion": (
        "completion/complete",
        {
            "ref": {"type": "ref/resource", "uri": "memory://me/items/{namespace}/{key}"},
            "argument": {"name": "namespace", "value": ""},
        },
    ),
    "an unknown method": ("memory/everything", {}),
}
WRITES: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "update_user_memory": ("tools/call", {"name": "update_user_memory", "arguments": {"patch": []}}),
    "set_memory_item": ("tools/call", {"name": "set_memory_item", "arguments": {"key": "tone", "value": "warm"}}),
    "delete_memory_item": ("tools/call", {"name": "delete_memory_item", "arguments": {"key": "tone"}}),
}
FINDING: Final = {
    "legacy": ["initialize", "ping", "tools/list", "prompts/list", "resources/list", "resources/templates/list"],
    "2026-07-28": ["server/discover", "tools/list", "prompts/list", "resources/list", "resources/templates/list"],
}
"""What a client asks to find its way."""

HELLO: Final = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "tests", "version": "1"}}


@pytest.fixture(scope="module")
def scoped(open_memory: Memory) -> Iterator[str]:
    """The address of a server that knows a token for each set of scopes."""
    tokens = {name: holder(None if Scope.ACT_AS in scopes else "ada", scopes) for name, scopes in SCOPES.items()}
    with served_to(open_memory, tokens) as url:
        yield url


@pytest.mark.parametrize("token", SCOPES)
@pytest.mark.parametrize("what", [*READS, *WRITES])
def test_a_call_needs_the_scope_of_what_it_does(scoped: str, token: str, what: str, era: str) -> None:
    needed = Scope.READ if what in READS else Scope.WRITE
    method, params = (READS | WRITES)[what]
    named = {"Memory-User": "ada"} if Scope.ACT_AS in SCOPES[token] else {}
    answer = Caller(scoped, era, bearer(token)).ask(method, params, **named)
    if needed in SCOPES[token]:
        assert answer.status_code in ((200, 404) if what == "an unknown method" else (200,))
        assert "insufficient_scope" not in answer.text
    else:
        assert answer.status_code == 403
        assert challenged(answer)["error"] == "insufficient_scope"
        assert challenged(answer)["scope"] == needed


@pytest.mark.parametrize("token", SCOPES)
def test_to_find_its_way_a_client_needs_a_valid_token_and_no_scope(scoped: str, token: str, era: str) -> None:
    asking = Caller(scoped, era, bearer(token))
    for method in FINDING[era]:
        answer = asking.ask(method, HELLO if method == "initialize" else None)
        assert (method, answer.status_code, "result" in answer.json()) == (method, 200, True)


def test_notifications_say_nothing_and_need_no_scope(scoped: str) -> None:
    headers, _ = request("legacy", "")
    message = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    assert httpx.post(scoped, headers=headers | bearer("nothing"), json=message).status_code == 202


async def test_with_a_token_that_may_only_write_a_client_writes(scoped: str, open_memory: Memory, era: str) -> None:
    async with connected(scoped, era, **bearer("write")) as client:
        kept = await client.call_tool("set_memory_item", {"namespace": "w", "key": era, "value": 1})
        assert not kept.is_error
        with pytest.raises(MCPError):
            await client.call_tool("get_memory_item", {"namespace": "w", "key": era})
    assert open_memory.of(user="ada").items.get("w", era).value == 1


def test_a_call_is_what_its_message_says_and_not_what_its_headers_say(scoped: str) -> None:
    headers, message = request("2026-07-28", *WRITES["set_memory_item"])
    for disguise in ({"Mcp-Name": "get_user_memory"}, {"Mcp-Method": "tools/list"}):
        answer = httpx.post(scoped, headers=headers | bearer("read") | disguise, json=message)
        assert answer.status_code == 403


@contextmanager
def bypassed(server: MCPServer[Any], principal: Principal, named: Named | None) -> Iterator[str]:
    """Serve the SDK's app as if somebody had let everybody through to it as `principal`."""
    server.streamable_http_app(json_response=True, stateless_http=True)
    sessions = server.session_manager

    class Passing:
        async def __call__(self, scope: Asgi, receive: Receive, send: Send) -> None:
            scope[PRINCIPAL], scope[NAMED] = principal, named
            await sessions.handle_request(scope, receive, send)

    passing: ASGIApp = Passing()
    with served(Starlette(routes=[Route("/mcp", passing)], lifespan=lambda _: sessions.run())) as url:
        yield f"{url}/mcp"


@pytest.mark.parametrize("token", SCOPES)
def test_what_the_token_is_for_is_looked_at_again_where_memory_is_used(
    open_memory: Memory, token: str, era: str
) -> None:
    named = Named(user="ada") if Scope.ACT_AS in SCOPES[token] else None
    principal = holder(None if named else "ada", SCOPES[token])
    with bypassed(create_server(open_memory, pace=UNPACED), principal, named) as url:
        asking = Caller(url, era)
        refused = {
            what
            for what, (method, params) in (READS | WRITES).items()
            if "insufficient_scope" in asking.ask(method, params).text
        }
        listening = asking.ask("subscriptions/listen", {"notifications": {}}) if needs_read(token, era) else None
    expected = set() if Scope.READ in SCOPES[token] else set(READS) - {"a tool of nobody", "an unknown method"}
    assert refused == expected | (set() if Scope.WRITE in SCOPES[token] else set(WRITES))
    if listening is not None:
        assert listening.json()["error"]["data"] == {"code": "insufficient_scope"}


def needs_read(token: str, era: str) -> bool:
    """Tell whether a stream of events would be refused: else it would not end."""
    return era != "legacy" and Scope.READ not in SCOPES[token]


@pytest.mark.parametrize(
    ("annotations", "needed"),
    [
        (None, Scope.WRITE),
        (ToolAnnotations(read_only_hint=False), Scope.WRITE),
        (ToolAnnotations(read_only_hint=True), Scope.READ),
    ],
)
def test_a_tool_of_the_host_needs_a_token_that_may_write_unless_it_says_that_it_only_reads(
    open_memory: Memory, annotations: ToolAnnotations | None, needed: Scope, era: str
) -> None:
    server = create_server(open_memory)

    @server.tool(annotations=annotations)
    def whose() -> str:
        """Say whose memory it is."""
        return str(asker().person(needed).identity.user)

    tokens = {scope: holder("ada", [scope]) for scope in (Scope.READ, Scope.WRITE)}
    with served(create_app(server, open_memory, verifiers=[Held(tokens)])) as url:
        for scope in tokens:
            answer = Caller(f"{url}/mcp", era, bearer(scope)).call("whose")
            assert (scope, answer.status_code) == (scope, 200 if scope == needed else 403)
            assert answer.status_code == 403 or texts(answer) == "ada"
