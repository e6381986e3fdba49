"""A worker in a process of its own, with a model that thinks until it is told to go on.

`python -m tests.graphs.slow_worker` is given the database's URL, the queue as `--queue` names it, and perhaps where its
dead letters go. It says `asked` each time that the model is asked, which answers when a line comes in.
"""

import sys
import threading
from contextlib import closing
from typing import Any

from graphs.recap import Recap, Transcript
from graphs.work.worker import Worker
from memory_tools.memory import Memory
from storage.work.queues import open_queue

VISIBILITY = 10.0
"""Seconds for which it keeps what it took: enough for a machine that stops for a while."""


class Slow:
    """A summarizer that waits for a line."""

    def summarize(self, _: Transcript) -> Recap:
        print("asked", flush=True)
        sys.stdin.readline()
        return Recap({"summary": "Made by a slow model."})


def main(url: str, spec: str, dead_letters: str | None = None) -> None:
    """Work until the process ends."""
    slow: Any = Slow()
    with Memory.open(url) as memory, closing(open_queue(spec, memory.database, dead_letters=dead_letters)) as queue:
        Worker(memory, queue, conversation_summarizer=slow, visibility=VISIBILITY, wait=0.2).run(threading.Event())


if __name__ == "__main__":
    main(*sys.argv[1:])
