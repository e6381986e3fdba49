"""Listening: serve an app on one address until the process is asked to stop."""

import os
import socket
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from storage.errors import InvalidInput

KEEP_ALIVE_SECONDS: Final = 15
"""How long a connection stays open that nobody uses."""

STOP_SECONDS: Final = 5
"""How long requests may still take once the process was asked to stop."""

BACKLOG: Final = 500
"""Connections that may wait to be taken."""


def bound(host: str, port: int) -> socket.socket:
    """Return a socket that listens on the address; port 0 takes a free one. Raises InvalidInput where it cannot."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        try:
            if os.name == "posix":  # on Windows this would let others take the port from us
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(BACKLOG)  # whoever is told the address from now on can connect
        except OSError:
            listener.close()
            raise
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "no such address"
        raise InvalidInput(f"cannot listen on {host}, port {port} ({reason})") from None
    return listener


def serve_http(app: ASGIApp, listener: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM; what was asked before is still answered."""
    uvicorn.Server(configuration(app)).run(sockets=[listener])


def configuration(app: ASGIApp) -> uvicorn.Config:
    """Return how an app is served."""
    return uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,  # addresses of requests are nobody's business, and errors are told elsewhere
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
        ws="none",
        proxy_headers=False,  # who is at the other end is known by the connection, not by what it says
        reset_contextvars=True,  # else a request begins with what one before it on the same connection left behind
    )
