"""Listening: what the servers share. It imports nothing else, so that the one that does nothing stays small."""

import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from usermemory.listening import bound

PACE: Final = "100000000/second"
"""Requests that our server lets a person make: by default it lets one make 600 in a minute."""


@contextmanager
def listening() -> Generator[socket.socket]:
    """Yield a socket that listens, once its port was told as `usermemory serve` tells it."""
    with bound("127.0.0.1", 0) as listener:
        print(f"Listening on http://127.0.0.1:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
        yield listener
