"""Serving: what `usermemory mcp` does once it knows what was asked for."""

import logging
import sys
from typing import Any

from mcp.server import MCPServer

from mcp_server.app import create_app
from mcp_server.server import create_server
from mcp_server.stdio import run_stdio
from memory_tools.memory import Memory
from storage.errors import InvalidInput, NoIdentity
from usermemory.commands.listening import listen, require_address
from usermemory.commands.options import bound, default_database
from usermemory.commands.stopping import end_at_sigterm
from usermemory.commands.tokens import verifiers_of

NOBODY = (
    "Nobody was named, so there is no memory to serve. Add --user ID (or --phone NUMBER) behind `usermemory mcp`, or "
    "set USERMEMORY_USER. With --http, tokens can name people instead: add --issuer URL or --api-keys."
)


def serve(
    *,
    user: str | None,
    phone: str | None,
    region: str | None,
    organization: str,
    database: str | None,
    tools: Any,
    flow: str | None,
    max_tokens: int,
    pace: str,
    over_http: dict[str, Any] | None,
    by_token: bool,
) -> None:
    """Serve over stdio, or with `over_http` as its options say, until the client or the operator ends it."""
    if user is None and phone is None and not by_token:
        raise NoIdentity(NOBODY)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="usermemory: %(message)s")
    end_at_sigterm()
    with Memory.open(database or default_database(), through="mcp", default_region=region) as memory:
        person = None if by_token else bound(memory, user, phone, organization)
        server = create_server(memory, person=person, tools=tools, flow=flow, answer_tokens=max_tokens, pace=pace)
        if over_http is None:
            run_stdio(server)
        else:
            _serve_http(server, memory, organization, **over_http)


def _serve_http(
    server: MCPServer[Any],
    memory: Memory,
    organization: str,
    host: str,
    port: int,
    path: str,
    url: str | None,
    allow_host: tuple[str, ...],
    allow_origin: tuple[str, ...],
    **tokens: Any,
) -> None:
    verifiers = list(verifiers_of(memory, organization, [] if url is None else [url], **tokens))
    require_address(verifiers, url, host)
    if not path.startswith("/") or path in ("/", "/health"):
        raise InvalidInput(f"a path begins with a slash and is not /health: {path!r} will not do")
    app = create_app(
        server,
        memory,
        verifiers=verifiers,
        url=url,
        authorization_servers=[tokens["issuer"]] if tokens["issuer"] else [],
        listens_on=host,
        hosts=allow_host,
        origins=allow_origin,
        path=path,
    )
    listen(app, host, port, path)
