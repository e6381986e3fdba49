"""Hosts: which Host and Origin a request may carry. Without this a web page reaches a server on its reader's machine.

A page of a foreign name can have that name point to 127.0.0.1 (DNS rebinding); its requests then carry the foreign
name as Host, and as Origin. Checked on every path, whatever address the server listens on.
"""

from collections.abc import Awaitable, Callable, Collection, MutableMapping
from ipaddress import ip_address
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
"""The names of this machine for itself, as a Host header writes them. No foreign page has one of them."""

MISDIRECTED: Final = 421
FORBIDDEN: Final = 403


class KnownHosts:
    """Lets requests through whose Host is known, and whose Origin, if any, is the server's own or one that is allowed.

    A host is `name`, which stands for any port of it, or `name:port`; an origin is `https://name` or
    `https://name:port`. Anything else is answered with 421 (Host) or 403 (Origin), before any other code sees it.
    """

    def __init__(self, app: App, *, hosts: Collection[str] = (), origins: Collection[str] = ()) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in (*LOOPBACK, *hosts))
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what is refused, hand on what is not."""
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http":
            hosts, origins = _headers(scope, b"host"), _headers(scope, b"origin")
            if len(hosts) != 1 or not self._knows(hosts[0]):
                await _refuse(send, MISDIRECTED, "This server does not go by that name.")
                return
            if len(origins) > 1 or (origins and not self._allows(origins[0], hosts[0])):
                await _refuse(send, FORBIDDEN, "Pages of that origin may not ask this server.")
                return
        await self._app(scope, receive, send)

    def _knows(self, host: str) -> bool:
        name, colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
        if not colon:
            return host in self._hosts
        return port.isascii() and port.isdigit() and (host in self._hosts or name in self._hosts)

    def _allows(self, origin: str, host: str) -> bool:
        return origin in self._origins or origin in (f"http://{host}", f"https://{host}")


def is_loopback(address: str) -> bool:
    """Tell whether only this machine can reach a server that listens on `address`, a name or an IP address."""
    if address.lower() == "localhost":
        return True
    try:
        return ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return False


def host_of(url: str) -> str:
    """Return the host of a URL as a Host header writes it. Raises ValueError where there is none."""
    host = urlsplit(url).netloc.rpartition("@")[2].lower()
    if not host:
        raise ValueError(f"{url!r} names no host")
    return host


def _headers(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1").lower() for each, value in scope["headers"] if each.lower() == name]


async def _refuse(send: Send, status: int, text: str) -> None:
    body = text.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
