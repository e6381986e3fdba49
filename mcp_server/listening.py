"""Listening: serve an app on one address until the process is asked to stop."""

import socket
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from storage.errors import InvalidInput

KEEP_ALIVE_SECONDS: Final = 15
"""How long a connection stays open that nobody uses."""

STOP_SECONDS: Final = 5
"""How long requests may still take once the process was asked to stop."""

CONNECTIONS: Final = 500
"""Connections and requests at one time; those above are told to come back later (503)."""


def bound(host: str, port: int) -> socket.socket:
    """Return a socket that listens on the address; port 0 takes a free one. Raises InvalidInput where it cannot."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise InvalidInput(f"cannot listen on {host}, port {port} ({error.strerror})") from None
    return listener


def serve_http(app: ASGIApp, listener: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM; what was asked before is still answered."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,  # addresses of requests are nobody's business, and errors are told elsewhere
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
        limit_concurrency=CONNECTIONS,
        ws="none",
        proxy_headers=False,  # nothing here depends on where a request came from
    )
    uvicorn.Server(config).run(sockets=[listener])
