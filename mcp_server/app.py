"""The app: the server over streamable HTTP, stateless and in JSON, for both eras of the protocol."""

from collections.abc import Collection
from typing import Any, Final
from urllib.parse import urlsplit

from mcp.server import MCPServer
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from mcp_server.bearer import Bearer, Scoped
from mcp_server.body import Body
from memory_tools.access import Scope, Verifier
from memory_tools.hosts import KnownHosts, host_of, is_loopback
from memory_tools.memory import Memory
from storage.errors import InvalidInput

PATH: Final = "/mcp"
"""The one path that speaks the protocol."""

METADATA: Final = "/.well-known/oauth-protected-resource"
"""Where clients look for the metadata of a protected resource (RFC 9728, section 3)."""


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
    Then `url` is the address at which clients know this resource, such as `https://memory.example.com/mcp`, and
    `authorization_servers` are the issuers where they get tokens. Without verifiers everybody who reaches the server is
    the person it was bound to, so it must listen on loopback: raises InvalidInput where `listens_on` is anything else.

    Requests are answered under the names of this machine for itself, under the host of `url`, and under `hosts`; web
    pages may ask when they come from there, or from `origins`. To mount the app, run its lifespan in that of the
    parent: `lifespan=lambda parent: app.router.lifespan_context(app)`.
    """
    if not verifiers and not is_loopback(listens_on):
        raise InvalidInput(
            f"without tokens everybody who reaches {listens_on} would read this memory: "
            "listen on 127.0.0.1, or say whose tokens are valid"
        )
    known = [*hosts, *([_checked_host(url)] if url else [])]
    resource = url or f"http://{listens_on}{path}"
    metadata_url = _metadata_url(resource)
    server.streamable_http_app(
        json_response=True,
        stateless_http=True,
        # KnownHosts looks at every path; the SDK's own check knows this one.
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    sessions = server.session_manager
    speak: ASGIApp = sessions.handle_request
    if verifiers:
        speak = Bearer(Body(Scoped(AuthContextMiddleware(speak), metadata_url)), memory, verifiers, metadata_url)
    else:
        speak = Body(speak)
    routes = [Route(path, speak, methods=["POST"]), Route("/health", _health, methods=["GET"])]
    if verifiers:
        metadata = {
            "resource": resource,
            "authorization_servers": list(authorization_servers),
            "scopes_supported": [Scope.READ, Scope.WRITE],
            "bearer_methods_supported": ["header"],
            "resource_name": server.title or server.name,
        }

        async def describe(_: Request) -> JSONResponse:
            return JSONResponse(metadata, headers={"Cache-Control": "public, max-age=3600"})

        places = {METADATA, urlsplit(metadata_url).path}
        routes += [Route(place, describe, methods=["GET"]) for place in sorted(places)]
    return Starlette(
        routes=routes,
        middleware=[Middleware(KnownHosts, hosts=known, origins=origins)],
        lifespan=lambda _: sessions.run(),
    )


async def _health(_: Request) -> JSONResponse:
    """Say that the process answers, and nothing about it."""
    return JSONResponse({"status": "ok"})


def _checked_host(url: str) -> str:
    try:
        return host_of(url)
    except ValueError as error:
        raise InvalidInput(str(error)) from None


def _metadata_url(resource: str) -> str:
    """Return the address of the metadata: the well-known path goes between the host and the path of the resource."""
    parts = urlsplit(resource)
    return f"{parts.scheme}://{parts.netloc}{METADATA}{parts.path.rstrip('/')}"
