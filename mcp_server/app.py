"""The app: the server over streamable HTTP, stateless and in JSON, for both eras of the protocol."""

from collections.abc import Collection, Sequence
from typing import Any, Final

from mcp.server import MCPServer
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Scope

from mcp_server.bearer import Bearer, Unnamed
from mcp_server.body import Body
from mcp_server.metadata import Metadata
from mcp_server.scoped import Scoped
from memory_tools.access import Verifier
from memory_tools.crowd import Crowd
from memory_tools.hosts import KnownHosts, OnlyFromHere, checked_host, checked_origin, is_loopback, origin_of
from memory_tools.memory import Memory
from memory_tools.unread import Unread
from storage.errors import InvalidInput

PATH: Final = "/mcp"
"""The one path that speaks the protocol."""

HEALTH: Final = "/health"
"""What load balancers ask for."""


def create_app(
    server: MCPServer[Any],
    memory: Memory,
    *,
    verifiers: Collection[Verifier] = (),
    url: str | None = None,
    authorization_servers: Collection[str] = (),
    listens_on: str = "127.0.0.1",
    hosts: Collection[str] = (),
    origins: Collection[str] = (),
    path: str = PATH,
) -> Starlette:
    """Return the ASGI app of a server that `create_server` made. One server has one app.

    With `verifiers` every request has to bring a bearer token that one of them knows; its scopes and its person hold.
    Then `authorization_servers` are the issuers where clients get tokens, and `url` is the address at which they know
    this resource, such as `https://memory.example.com/mcp`. Without verifiers everybody who reaches the server is the
    person it was bound to, so it must listen on loopback, and other machines are refused wherever it is served.

    Requests are answered under the names of this machine for itself, under the host of `url`, and under `hosts`; web
    pages may ask when they come from there, or from `origins`. To mount the app, run its lifespan in that of the
    parent: `lifespan=lambda parent: app.router.lifespan_context(app)`.

    Raises InvalidInput where `listens_on` is not loopback and nobody verifies tokens, for authorization servers
    without `url`, and for a `url` or an origin that is none.
    """
    if not verifiers and not is_loopback(listens_on):
        raise InvalidInput(
            f"without tokens everybody who reaches {listens_on or 'any address'} would read this memory: "
            "listen on 127.0.0.1, or say whose tokens are valid"
        )
    if authorization_servers and url is None:
        raise InvalidInput("clients have to know what they get tokens for: say the url of this server")
    known, pages = list(hosts), [checked_origin(origin) for origin in origins]
    if url is not None:
        known.append(checked_host(url))
        pages.append(origin_of(url))
    metadata = None
    if url is not None and authorization_servers:
        metadata = Metadata(server.title or server.name, url, authorization_servers)
    sessions = _sessions(server)
    speak: ASGIApp
    if verifiers:
        address = metadata.address if metadata else _nowhere
        scoped = Scoped(AuthContextMiddleware(sessions.handle_request), server, address)
        speak = Bearer(Body(scoped), memory, verifiers, address)  # no body is read before the token is known
    else:
        speak = OnlyFromHere(Unnamed(Body(sessions.handle_request)))
    app = Starlette(
        routes=[
            Route(path, speak, methods=["POST"]),
            Route(HEALTH, _health, methods=["GET"]),
            *(metadata.routes if metadata else []),
        ],
        middleware=[
            Middleware(Unread),
            Middleware(Crowd, open_paths=(HEALTH,)),
            Middleware(KnownHosts, hosts=known, origins=pages),
            *_cross_origin(pages if origins else []),
        ],
        lifespan=lambda _: sessions.run(),
    )
    app.router.redirect_slashes = False  # to another address, and behind a proxy to http: there are no other paths
    return app


def _sessions(server: MCPServer[Any]) -> StreamableHTTPSessionManager:
    """Return what speaks the protocol for a server, which the SDK makes together with an app of its own."""
    server.streamable_http_app(
        json_response=True,
        stateless_http=True,
        # KnownHosts looks at every path; the SDK's own check knows this one.
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    return server.session_manager


def _cross_origin(pages: Sequence[str]) -> list[Middleware]:
    """Return what tells browsers that pages of other origins may ask (CORS): without it `origins` would be in vain."""
    if not pages:
        return []
    return [
        Middleware(
            CORSMiddleware,
            allow_origins=pages,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["WWW-Authenticate"],
        )
    ]


async def _health(_: Request) -> JSONResponse:
    """Say that the process answers, and nothing about it."""
    return JSONResponse({"status": "ok"})


def _nowhere(_: Scope) -> None:
    """Say that there is no metadata: nobody gives tokens but the operator."""
