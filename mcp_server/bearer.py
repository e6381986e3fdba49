"""Bearer: whoever reaches the server over HTTP has to bring a token, and may do what it was given for.

Challenges are those of RFC 6750, with the address of the protected-resource metadata (RFC 9728) and the scope that
would do, as the MCP authorization specification asks for.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, TypeAlias

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from starlette.authentication import AuthCredentials
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_server.asker import NAMED, PRINCIPAL
from memory_tools import bearer
from memory_tools.access import Principal, Verifier
from memory_tools.memory import Memory
from memory_tools.named import person_named
from storage.errors import AccessDenied, DatabaseUnavailable, InsufficientScope, UserMemoryError

UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403
BAD_REQUEST: Final = 400
UNAVAILABLE: Final = 503

MetadataUrl: TypeAlias = Callable[[Scope], str | None]
"""Says where the metadata of the resource is that a request is for; None where there is none."""


class Bearer:
    """Finds out who asks, by the bearer token of each request, and answers whoever brings none that is valid."""

    def __init__(
        self, app: ASGIApp, memory: Memory, verifiers: Collection[Verifier], metadata_url: MetadataUrl
    ) -> None:
        self._app = app
        self._memory = memory
        self._verifiers = tuple(verifiers)
        self._metadata_url = metadata_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Leave the principal in the scope of the request."""
        headers = Headers(scope=scope)
        try:
            authorizations = headers.getlist("authorization")
            principal = await self._memory.threads.run(lambda: bearer.principal_of(self._verifiers, authorizations))
            named = person_named(headers.getlist)
            if named is not None:
                principal.person(named, default_region=self._memory.default_region)
        except UserMemoryError as error:
            await _refusal(error, headers, self._metadata_url(scope))(scope, receive, send)
            return
        scope[PRINCIPAL], scope[NAMED] = principal, named
        scope["auth"], scope["user"] = _as_the_sdk_knows(principal)
        await self._app(scope, receive, send)


class Unnamed:
    """Answers whoever brings a token or names a person where no token counts: they would get somebody else's memory."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on what says nothing of who asks."""
        headers = Headers(scope=scope)
        try:
            bearer.require_no_token(headers.getlist("authorization"))
            if person_named(headers.getlist) is not None:
                raise InsufficientScope(
                    "only a token with the scope memory:act-as names a person, and none counts here"
                )
        except UserMemoryError as error:
            await _refusal(error, headers, None)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def challenge(error: UserMemoryError, metadata_url: str | None, authorizations: Sequence[str] = ()) -> JSONResponse:
    """Return the answer that tells a client which token to bring; `authorizations` is what it brought."""
    more = [f'resource_metadata="{metadata_url}"'] if metadata_url else []
    status = FORBIDDEN if isinstance(error, InsufficientScope) else UNAUTHORIZED
    return answer(error, status, {"WWW-Authenticate": bearer.challenge(error, authorizations, *more)})


def _refusal(error: UserMemoryError, headers: Headers, metadata_url: str | None) -> JSONResponse:
    if isinstance(error, AccessDenied):
        return challenge(error, metadata_url, headers.getlist("authorization"))
    return answer(error, UNAVAILABLE if isinstance(error, DatabaseUnavailable) else BAD_REQUEST)


def answer(error: UserMemoryError, status: int, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return the answer to a request that is refused before it is one of the protocol."""
    return JSONResponse({"error": {"code": error.code, "message": str(error)}}, status, headers)


def _as_the_sdk_knows(principal: Principal) -> tuple[AuthCredentials, AuthenticatedUser]:
    """Return who asks in the SDK's terms: what it keeps for one caller, no other one can use. Without the token."""
    token = AccessToken(token="", client_id=principal.actor, scopes=[str(each) for each in principal.scopes])
    return AuthCredentials(token.scopes), AuthenticatedUser(token)
