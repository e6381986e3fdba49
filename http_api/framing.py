"""Framing: how long a request is, said in one way alone.

Of a request with both Content-Length and Transfer-Encoding a proxy in front may have gone by the other one; then what
follows on the connection was written by one client and would be answered to another (RFC 9112, section 6.1).
"""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from http_api.problems import Malformed, told


class OneLength:
    """Answers a request that says its length in two ways, and ends its connection."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on everything else."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            if "content-length" in headers and "transfer-encoding" in headers:
                refusal = told(Malformed("a request has Content-Length or Transfer-Encoding, and not both"))
                refusal.headers["Connection"] = "close"
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)
