"""Webhook: events as signed POST requests, and how a receiver knows that one is genuine.

`Memory-Signature: t=<unix>,v1=<hex>` is the HMAC-SHA256 of `<unix>.<body>` under the shared secret. The same event may
come twice: `Memory-Event-Id` says which one it is. They come in order, and the next one only after a 2xx.
"""

import hashlib
import hmac
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ipaddress import ip_address
from socket import SHUT_RDWR
from typing import Final
from urllib.parse import SplitResult, urlsplit

from memory_tools.publisher import PublishFailed, message
from storage.errors import InvalidInput
from storage.outbox import Event
from storage.transaction import Clock, utc_now

EVENT_HEADER: Final = "Memory-Event-Id"
"""The header that says which event it is."""

SIGNATURE_HEADER: Final = "Memory-Signature"
"""The header that says when it was sent, and proves by whom."""

SHORTEST_SECRET: Final = 16
"""Characters of a secret at the least: who sees one request may try all shorter ones."""

TIMEOUT: Final = 5.0
"""Seconds for the connection, and for each piece that is sent or received."""

DEADLINE: Final = 10.0
"""Seconds for the whole request and its answer, however many pieces it comes in."""

TOLERANCE: Final = 300
"""Seconds by which a request's time may differ from the receiver's clock."""

_TIME_DIGITS: Final = 12
"""Digits of a Unix time at the most: more are none, and a long number takes long to read."""


class Webhook:
    """Posts events to one URL. Only an answer of 2xx means delivered; a redirect is not followed."""

    def __init__(self, url: str, secret: str | None, *, deadline: float = DEADLINE, clock: Clock = utc_now) -> None:
        """Raises InvalidInput, which repeats neither, for a URL with a user name in it and a secret that is too short.

        So it does for `http://` to anywhere but this machine: events name people. `deadline` is the seconds for one
        request.
        """
        if secret is None or len(secret) < SHORTEST_SECRET:
            raise InvalidInput(
                f"a webhook is signed with a secret of at least {SHORTEST_SECRET} characters: USERMEMORY_WEBHOOK_SECRET"
            )
        self._secret = secret
        self._deadline = deadline
        self._clock = clock
        parts = _checked(url)
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._connect = _connector(parts, min(TIMEOUT, deadline))

    def publish(self, event: Event) -> None:
        """Post the event; raises PublishFailed unless the answer is 2xx. The body of an answer is not read."""
        body = message(event).encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "usermemory",
            EVENT_HEADER: str(event.id),
            SIGNATURE_HEADER: sign(self._secret, body, int(self._clock().timestamp())),
        }
        try:
            status = self._status(body, headers)
        except (OSError, HTTPException) as error:  # they may quote the host, or what it said
            raise PublishFailed(f"the webhook did not answer ({type(error).__name__})") from None
        if not 200 <= status <= 299:
            raise PublishFailed(f"the webhook answered {status}")

    def close(self) -> None:
        """Nothing is open between two events."""

    def _status(self, body: bytes, headers: dict[str, str]) -> int:
        connection = self._connect()
        try:
            connection.connect()
            with _until(self._deadline, connection):
                connection.request("POST", self._target, body, headers)
                return connection.getresponse().status
        finally:
            connection.close()


def sign(secret: str, body: bytes, unix: int) -> str:
    """Return the header that proves who sent `body` at that time."""
    return f"t={unix},v1={_digest(secret, body, str(unix))}"


def verify_signature(secret: str, header: str, body: bytes, now: float, tolerance: float = TOLERANCE) -> bool:
    """Return whether `body` is what the holder of `secret` sent at about `now`, in Unix seconds.

    For receivers: `header` is the value of `Memory-Signature`, `body` the bytes as they came, before they are parsed.
    A header that cannot be read is False, too. It may hold several `v1`, while a secret is being changed.
    """
    fields = [field.partition("=") for field in header.split(",")]
    times = [value for name, _, value in fields if name.strip() == "t"]
    if len(times) != 1 or not (times[0].isascii() and times[0].isdigit() and len(times[0]) <= _TIME_DIGITS):
        return False
    expected = _digest(secret, body, times[0]).encode()
    digests = [value.encode(errors="replace") for name, _, value in fields if name.strip() == "v1"]
    genuine = any([hmac.compare_digest(expected, digest) for digest in digests])
    return genuine and abs(now - int(times[0])) <= tolerance


def _digest(secret: str, body: bytes, unix: str) -> str:
    return hmac.new(secret.encode(), unix.encode() + b"." + body, hashlib.sha256).hexdigest()


def _checked(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        is_plain = url.isascii() and url.isprintable() and " " not in url
        is_complete = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # it quotes the host
        is_plain = is_complete = False
    if not (is_plain and is_complete):
        raise InvalidInput("a webhook is at a URL such as https://HOST/PATH, and this one cannot be read")
    if "@" in parts.netloc:
        raise InvalidInput("a webhook's URL has no user name and no password: its requests are signed")
    if parts.scheme == "http" and not _is_this_machine(parts.hostname or ""):
        raise InvalidInput("a webhook is at https://...: plain http goes to this machine alone, such as 127.0.0.1")
    return parts


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _connector(parts: SplitResult, timeout: float) -> Callable[[], HTTPConnection]:
    host = parts.hostname or ""
    if parts.scheme == "http":
        return lambda: HTTPConnection(host, parts.port, timeout=timeout)
    context = ssl.create_default_context()
    return lambda: HTTPSConnection(host, parts.port, timeout=timeout, context=context)


@contextmanager
def _until(deadline: float, connection: HTTPConnection) -> Iterator[None]:
    """Cut the connection off when the time is over, and raise TimeoutError: one of a socket begins anew each byte."""
    is_over = threading.Event()
    connected = connection.sock

    def cut_off() -> None:
        is_over.set()
        with suppress(OSError):  # it ended by itself
            connected.shutdown(SHUT_RDWR)

    timer = threading.Timer(deadline, cut_off)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
    if is_over.is_set():  # http.client takes headers that end too early for all of them
        raise TimeoutError
