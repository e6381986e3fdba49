"""Segments: what stands between two slashes of a path, and may hold an encoded slash of its own.

Servers decode a path before anybody sees it: `/items/a%2Fb/c` would then have a segment too many, and mean another
item. Here each segment is decoded by itself. A segment `.` or `..` is refused however it is written, because clients
and proxies take it for a way up; an item of that name is found by listing its namespace.
"""

from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from http_api.problems import Malformed
from memory_tools.named import decoded

_UPWARD: Final = (".", "..")


class WholeSegments:
    """Has the router see paths in which a slash or a percent sign inside a segment stays encoded."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on what is a path. Raises Malformed."""
        if scope["type"] == "http":
            raw = scope.get("raw_path") or b""
            if b"%" in raw or b"/." in raw:
                scope["path"] = "/".join(_routed(segment) for segment in raw.decode("latin-1").split("/"))
        await self._app(scope, receive, send)


def path_members(request: Request) -> dict[str, str]:
    """Return the parameters of the path, decoded."""
    return {name: value.replace("%2F", "/").replace("%25", "%") for name, value in request.path_params.items()}


def _routed(segment: str) -> str:
    text = decoded(segment)
    if text is None:
        raise Malformed("the path is not percent-encoded UTF-8")
    if text in _UPWARD:
        raise Malformed("a segment of the path is neither `.` nor `..`")
    return text.replace("%", "%25").replace("/", "%2F")
