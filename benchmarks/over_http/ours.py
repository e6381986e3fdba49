"""Our server without the fsync: the app of `usermemory serve`, served as that command serves it, for what CPU is of.

`python -m benchmarks.over_http.ours URL [USER]`: for one person, or without one for whoever brings an API key.
"""

import sys

from benchmarks.over_http.listening import PACE, listening
from memory_tools.keys import ApiKeys
from memory_tools.memory import Memory
from storage.settings import DatabaseSettings
from usermemory.listening import serve_http
from usermemory.serve import create_service


def main(url: str, user: str | None = None) -> None:
    """Serve until the process is asked to stop."""
    with Memory.open(url, through="http", settings=DatabaseSettings(synchronous="OFF")) as memory:
        app = create_service(
            memory,
            person=None if user is None else memory.of(user=user),
            verifiers=[ApiKeys(memory)] if user is None else [],
            pace=PACE,
        )
        with listening() as listener:
            serve_http(app, listener)


if __name__ == "__main__":
    main(*sys.argv[1:])
