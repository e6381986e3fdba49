"""Crowd: how many requests one process answers at one time."""

from collections.abc import Collection
from typing import Final

from memory_tools.hosts import App, Receive, Refuse, Scope, Send, in_plain_text

REQUESTS: Final = 500
"""Requests that are answered at one time, streams of events among them."""

UNAVAILABLE: Final = 503

CROWDED: Final = "The server has too much to do: come back in a moment."


class Crowd:
    """Refuses what comes while `most` requests are being answered, except at `open_paths`.

    A connection that asks nothing does not count: otherwise whoever opens many would shut out everybody else.
    """

    def __init__(
        self, app: App, *, most: int = REQUESTS, open_paths: Collection[str] = (), refuse: Refuse = in_plain_text
    ) -> None:
        self._app = app
        self._most = most
        self._open_paths = frozenset(open_paths)
        self._refuse = refuse
        self._answered_now = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what is refused, hand on what is not."""
        if scope["type"] != "http" or scope["path"].removeprefix(scope.get("root_path", "")) in self._open_paths:
            await self._app(scope, receive, send)
            return
        if self._answered_now >= self._most:
            await self._refuse(send, UNAVAILABLE, CROWDED)
            return
        self._answered_now += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._answered_now -= 1
