"""Bearer: whoever reaches the server over HTTP has to bring a token, and may do what it was given for.

Challenges are those of RFC 6750, with the address of the protected-resource metadata (RFC 9728) and the scope that
would do, as the MCP authorization specification asks for.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final
from urllib.parse import unquote

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.authentication import AuthCredentials
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_server.asker import NAMED, PRINCIPAL
from mcp_server.body import MESSAGE
from mcp_server.tools import SCOPES
from memory_tools import access
from memory_tools.access import Named, Principal, Verifier, verified
from memory_tools.memory import Memory
from memory_tools.operations import CATALOG
from storage.errors import InsufficientScope, InvalidIdentity, Unauthenticated, UserMemoryError

USER: Final = "Memory-User"
PHONE: Final = "Memory-Phone"
VERIFIED: Final = "Memory-Phone-Verified"
ORGANIZATION: Final = "Memory-Organization"
"""The headers by which a gateway names the person of a request, percent-encoded as in a URL."""

UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403
BAD_REQUEST: Final = 400


class Bearer:
    """Finds out who asks, by the bearer token of each request, and answers whoever brings none that is valid."""

    def __init__(self, app: ASGIApp, memory: Memory, verifiers: Collection[Verifier], metadata_url: str) -> None:
        self._app = app
        self._memory = memory
        self._verifiers = tuple(verifiers)
        self._metadata_url = metadata_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Leave the principal in the scope of the request."""
        headers = Headers(scope=scope)
        given = headers.getlist("authorization")
        kind, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
        principal = None
        if kind.lower() == "bearer":
            principal = await self._memory.threads.run(lambda: verified(self._verifiers, token.strip()))
        if principal is None:
            await self._challenge(Unauthenticated(), "invalid_token" if given else None)(scope, receive, send)
            return
        try:
            named = person_named(headers)
            if named is not None:
                principal.person(named, default_region=self._memory.default_region)
        except InsufficientScope as error:
            await self._challenge(error, "insufficient_scope")(scope, receive, send)
            return
        except UserMemoryError as error:
            await _answer(error, BAD_REQUEST)(scope, receive, send)
            return
        scope[PRINCIPAL], scope[NAMED] = principal, named
        scope["auth"], scope["user"] = _as_the_sdk_knows(principal)
        await self._app(scope, receive, send)

    def _challenge(self, error: UserMemoryError, code: str | None) -> JSONResponse:
        return challenge(error, code, self._metadata_url)


class Scoped:
    """Answers a call with 403 that the token was not given for, before it gets anywhere."""

    def __init__(self, app: ASGIApp, metadata_url: str) -> None:
        self._app = app
        self._metadata_url = metadata_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on what the token was given for. The tools look once more."""
        principal: Principal = scope[PRINCIPAL]
        try:
            principal.require(_needed(scope.get(MESSAGE)))
        except InsufficientScope as error:
            await challenge(error, "insufficient_scope", self._metadata_url)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def person_named(headers: Headers) -> Named | None:
    """Return the person whom a request names by its headers; None where it names nobody. Raises InvalidIdentity."""
    user, phone, verified, organization = (_said(headers, name) for name in (USER, PHONE, VERIFIED, ORGANIZATION))
    if (user, phone, verified, organization) == (None, None, None, None):
        return None
    if verified not in (None, "true", "false"):
        raise InvalidIdentity(f"{VERIFIED} is true or false")
    return Named(user, phone, verified == "true", organization)


def challenge(error: UserMemoryError, code: str | None, metadata_url: str) -> JSONResponse:
    """Return the answer that tells a client which token to bring. Without a token at all there is no `code`."""
    scope = getattr(error, "scope", None) or access.Scope.READ
    parts = [f'error="{code}"', f'error_description="{error}"'] if code else []
    parts += [f'scope="{scope}"', f'resource_metadata="{metadata_url}"']
    status = FORBIDDEN if isinstance(error, InsufficientScope) else UNAUTHORIZED
    return _answer(error, status, {"WWW-Authenticate": f"Bearer {', '.join(parts)}"})


def _answer(error: UserMemoryError, status: int, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": {"code": error.code, "message": str(error)}}, status, headers)


def _said(headers: Headers, name: str) -> str | None:
    values = headers.getlist(name)
    if len(values) > 1:
        raise InvalidIdentity(f"{name} is given twice")
    try:
        return unquote(values[0], errors="strict") if values else None
    except UnicodeDecodeError:
        raise InvalidIdentity(f"{name} is not percent-encoded UTF-8") from None


def _needed(message: Any) -> access.Scope:
    """Return what a token has to be given for so that the message may be sent at all."""
    if isinstance(message, dict) and message.get("method") == "tools/call" and isinstance(message.get("params"), dict):
        operation = CATALOG.get(str(message["params"].get("name")))
        return SCOPES[operation.effect] if operation else access.Scope.READ
    return access.Scope.READ


def _as_the_sdk_knows(principal: Principal) -> tuple[AuthCredentials, AuthenticatedUser]:
    """Return who asks in the SDK's terms: what it keeps for one caller, no other one can use. Without the token."""
    token = AccessToken(token="", client_id=principal.actor, scopes=[str(each) for each in principal.scopes])
    return AuthCredentials(token.scopes), AuthenticatedUser(token)
