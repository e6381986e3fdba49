"""Metadata: what OAuth clients have to know of this server to get tokens for it (RFC 9728)."""

from collections.abc import Collection
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Scope

from memory_tools import access

WELL_KNOWN: Final = "/.well-known/oauth-protected-resource"
"""Where clients look for it (RFC 9728, section 3)."""


class Metadata:
    """The metadata of the resource at `url`, for which the authorization servers give tokens."""

    def __init__(self, name: str, url: str, authorization_servers: Collection[str]) -> None:
        parts = urlsplit(url)
        self._origin = f"{parts.scheme}://{parts.netloc}"
        self._path = WELL_KNOWN + parts.path.rstrip("/")
        self._document = {
            "resource": url,
            "authorization_servers": list(authorization_servers),
            "scopes_supported": [access.Scope.READ, access.Scope.WRITE],
            "bearer_methods_supported": ["header"],
            "resource_name": name,
        }

    def address(self, scope: Scope) -> str:
        """Return where it is: the well-known path goes between the host and the path of the resource.

        An app that is mounted under a prefix answers nowhere else, so there it is behind the prefix.
        """
        prefix = scope.get("root_path", "")
        return self._origin + (f"{prefix}{WELL_KNOWN}" if prefix else self._path)

    @property
    def routes(self) -> list[Route]:
        """The places where clients look, for everybody."""
        return [Route(place, self._describe, methods=["GET"]) for place in sorted({WELL_KNOWN, self._path})]

    async def _describe(self, _: Request) -> JSONResponse:
        return JSONResponse(self._document, headers={"Cache-Control": "public, max-age=3600"})
