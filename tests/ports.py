"""Ports of this machine that nobody else gets."""

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def reserved_port() -> Iterator[int]:
    """Return a port at which nobody listens but whom the test starts there, until the block ends."""
    with socket.socket() as reserved:
        # With this option a server may listen beside us, since we do not: all servers set it, to be restarted at once.
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        port: int = reserved.getsockname()[1]
        if sys.platform != "linux":
            reserved.close()  # others share no port that is bound: the best that can be had is one that was free
        yield port
