"""Unread: an answer that is given before the whole body has come ends the connection, or a client could send for ever.

What is still on its way is read for a while and dropped first. A connection that is closed under a client that sends
takes the answer along, which most clients read once they have sent everything (RFC 9112, section 9.6).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final, TypeAlias

LINGER_BYTES: Final = 16 * 1024 * 1024
"""Bytes of a body that are dropped behind an answer, at the most."""

LINGER_SECONDS: Final = 5.0
"""How long they may take."""

Message: TypeAlias = MutableMapping[str, Any]
App: TypeAlias = Callable[[MutableMapping[str, Any], "Receive", "Send"], Awaitable[None]]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]

_CLOSE: Final = (b"connection", b"close")


class Unread:
    """Sends `Connection: close` with every answer to a request of which something is still to come."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Hand on everything."""
        if scope["type"] != "http" or not _has_body(scope["headers"]):
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(receive, send)
        await self._app(scope, exchange.receive, exchange.send)
        await exchange.end(awaits_consent=any(name == b"expect" for name, _ in scope["headers"]))


class _Exchange:
    """One request and its answer."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._is_asked = False
        self._is_whole = False
        self._closes = False
        self._is_answered = False

    async def receive(self) -> Message:
        """Return the next message of the request, and see whether it is the last one."""
        self._is_asked = True
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._is_whole = True
        return message

    async def send(self, message: Message) -> None:
        """Send the answer, all but its end where the connection closes: then something is to be done before."""
        if message["type"] == "http.response.start" and not self._is_whole:
            self._closes = True
            said = [header for header in message.get("headers", ()) if header[0].lower() != _CLOSE[0]]
            message = {**message, "headers": [*said, _CLOSE]}
        elif self._closes and message["type"] == "http.response.body" and not message.get("more_body", False):
            self._is_answered = True
            message = {**message, "more_body": True}
        await self._send(message)

    async def end(self, *, awaits_consent: bool) -> None:
        """Drop what is still to come, and end the answer; who waits for consent to send was told not to, by it."""
        if not self._is_answered:
            return
        if self._is_asked or not awaits_consent:
            try:
                async with asyncio.timeout(LINGER_SECONDS):
                    await self._drop()
            except TimeoutError:
                pass  # the connection ends all the same
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _drop(self) -> None:
        dropped = 0
        while not self._is_whole and dropped < LINGER_BYTES:
            dropped += len((await self.receive()).get("body", b""))


def _has_body(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0 ")) for name, value in headers
    )
