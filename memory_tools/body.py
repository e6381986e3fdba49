"""Body: what a client sends with a request, read within a limit; of more than that nothing further is read."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

from storage.errors import TooLarge

Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
"""Gives the next message of a request, as ASGI servers do."""

BODY_SECONDS: Final = 15.0
"""How long a client may take to send it, at any door."""


class ClientGone(Exception):
    """The client hung up before it had sent everything: half a body is none, and nobody waits for an answer."""


async def read_body(declared: str, receive: Receive, limit: int) -> bytes:
    """Return the body. `declared` is its Content-Length header, empty where there is none.

    Raises TooLarge for more than `limit` bytes, before anything is read where they were declared; and ClientGone. Doors
    give it BODY_SECONDS.
    """
    length = declared.lstrip("0")
    if length.isdecimal() and length.isascii() and (len(length) > len(str(limit)) or int(length) > limit):
        raise _too_large(limit)
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body += message.get("body", b"")
        if len(body) > limit:
            raise _too_large(limit)
        if not message.get("more_body", False):
            return bytes(body)


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"a body has at most {limit:,} bytes")
