"""Hosts: which Host and Origin a request may carry. Without this a web page reaches a server on its reader's machine.

A page of a foreign name can have that name point to 127.0.0.1 (DNS rebinding); its requests then carry the foreign
name as Host, and as Origin. Checked on every path but the open ones, whatever address the server listens on.
"""

import re
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from ipaddress import ip_address
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

from storage.errors import InvalidInput

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Refuse: TypeAlias = Callable[[Send, int, str], Awaitable[None]]
"""Sends the answer to a request that is refused: its status and why, in the form that the app's errors have."""

LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
"""The names of this machine for itself, as a Host header writes them. No foreign page has one of them."""

MISDIRECTED: Final = 421
FORBIDDEN: Final = 403

UNKNOWN_HOST: Final = "This server does not go by that name; --allow-host, or `hosts` in a program, gives it another."
"""What is said to a request under another name."""

_HOST: Final = re.compile(r"(?P<name>[^\s:@/\[\]]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
"""A Host header, in small letters: a name or an address, and perhaps a port."""

_APP_ORIGIN: Final = re.compile(r"(?!https?:)[a-z][a-z0-9+.-]*://[a-z0-9._-]+")
"""Where pages come from that no server has: those of an extension, or of an app (`chrome-extension://...`)."""

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
"""Ports that clients leave out of Host and Origin."""


async def in_plain_text(send: Send, status: int, text: str) -> None:
    """Refuse a request in one line of text."""
    body = text.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class KnownHosts:
    """Lets requests through whose Host is known, and whose Origin, if any, is the server's own or one that is allowed.

    A host is `name`, which stands for any port of it, or `name:port`; an origin is `https://name` or
    `https://name:port`. Anything else is answered with 403 (Origin) or 421 (Host), before any other code sees it. Only
    `open_paths`, which tell nothing of anybody, answer under every Host: load balancers ask by address.
    """

    def __init__(
        self,
        app: App,
        *,
        hosts: Collection[str] = (),
        origins: Collection[str] = (),
        open_paths: Collection[str] = (),
        refuse: Refuse = in_plain_text,
    ) -> None:
        self._app = app
        self._refuse = refuse
        self._hosts = frozenset(host.lower() for host in (*LOOPBACK, *hosts))
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)
        self._open_paths = frozenset(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what is refused, hand on what is not."""
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http":
            hosts, origins = _headers(scope, b"host"), _headers(scope, b"origin")
            own = hosts[0] if len(hosts) == 1 and self._knows(hosts[0]) else None
            if len(origins) > 1 or (origins and not self._allows(origins[0], own)):
                await self._refuse(send, FORBIDDEN, "Pages of that origin may not ask this server.")
                return
            if own is None and not self._is_open(scope):
                await self._refuse(send, MISDIRECTED, UNKNOWN_HOST)
                return
        await self._app(scope, receive, send)

    def _is_open(self, scope: Scope) -> bool:
        """Whether the path is an open one, as the app itself sees it: below where it is mounted."""
        return bool(self._open_paths) and scope["path"].removeprefix(scope.get("root_path", "")) in self._open_paths

    def _knows(self, host: str) -> bool:
        parts = _HOST.fullmatch(host)
        return parts is not None and (host in self._hosts or parts["name"] in self._hosts)

    def _allows(self, origin: str, own: str | None) -> bool:
        return origin in self._origins or (own is not None and origin in (f"http://{own}", f"https://{own}"))


class OnlyFromHere:
    """Answers requests from other machines with 403: for an app that asks for no token, wherever it is served."""

    def __init__(self, app: App, *, refuse: Refuse = in_plain_text) -> None:
        self._app = app
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on what comes from this machine; nobody else reaches a Unix socket, which has no address."""
        peer = scope.get("client")
        if scope["type"] == "http" and peer is not None and not is_loopback(peer[0]):
            await self._refuse(send, FORBIDDEN, "Without a token this server answers its own machine alone.")
            return
        await self._app(scope, receive, send)


def is_loopback(address: str) -> bool:
    """Tell whether only this machine can reach a server that listens on `address`, a name or an IP address."""
    if address.lower() == "localhost":
        return True
    try:
        return ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return False


def host_of(url: str) -> str:
    """Return the host of an http or https URL as a Host header writes it. Raises ValueError where there is none."""
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ValueError(f"{url!r} names no host")
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return name if parts.port in (None, _DEFAULT_PORTS[parts.scheme]) else f"{name}:{parts.port}"


def origin_of(url: str) -> str:
    """Return where the pages of an address come from, as browsers write it. Raises ValueError as `host_of` does."""
    return f"{urlsplit(url).scheme}://{host_of(url)}"


def checked_host(url: str) -> str:
    """Return the host of the address at which clients know a server. Raises InvalidInput for what is none."""
    if not _is_plain(url):
        raise InvalidInput("the url of this server has a host and perhaps a path, such as https://memory.example.com")
    return host_of(url)


def checked_origin(origin: str) -> str:
    """Return where pages may come from, as browsers write it. Raises InvalidInput for what is no origin."""
    written = origin.lower().rstrip("/")
    if _APP_ORIGIN.fullmatch(written):
        return written
    if not _is_plain(origin) or urlsplit(origin).path not in ("", "/"):
        raise InvalidInput("an origin is a scheme and a host, such as https://app.example.com")
    return origin_of(origin)


def _is_plain(url: str) -> bool:
    """Tell whether an address, which goes into headers, has a host and perhaps a path, and nothing else."""
    try:
        parts, _ = urlsplit(url), host_of(url)
    except ValueError:
        return False
    printable = url.isascii() and url.isprintable() and not set(url) & set(' "\\')
    return printable and not parts.query and not parts.fragment and "@" not in parts.netloc


def _headers(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1").lower() for each, value in scope["headers"] if each.lower() == name]
