"""Working: worker processes with a model that answers at once, one of which can be killed and started again quickly."""

import multiprocessing
import os
import signal
import threading
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks.over_mcp.running import tree_of
from graphs.conversation_summarizer import ConversationSummarizer
from graphs.material import Material
from graphs.recap import Recap, Transcript
from graphs.summarizer import Summarizer, Summary
from graphs.work.schedule import Schedule
from graphs.work.worker import Worker
from memory_tools.memory import Memory
from memory_tools.upkeep import Upkeep
from storage.json_types import Document
from storage.provenance import TokenUsage
from storage.settings import DatabaseSettings
from storage.work.queues import open_queue

VISIBILITY: Final = 2.0
"""Seconds for which nobody else gets what a worker took and says nothing of any more."""

STARTED_WITHIN: Final = 120.0
"""Seconds that a worker may take until it is ready."""

AT_ONCE: Final = timedelta()
"""How long nothing was said in a conversation that counts as ended here."""

WITHOUT_FSYNC: Final = DatabaseSettings(synchronous="OFF")

PAID: Final = TokenUsage(1, 1)
"""What one answer of the model costs."""


@dataclass
class Asked:
    """How often the model was asked, by processes that were killed too: each time is a byte in a file."""

    file: Path
    hangs: bool = False
    """Whether it never answers."""

    def note(self) -> None:
        """Note one more time."""
        descriptor = os.open(self.file, os.O_APPEND | os.O_CREAT | os.O_WRONLY)
        os.write(descriptor, b".")
        os.close(descriptor)
        if self.hangs:
            threading.Event().wait()

    @property
    def times(self) -> int:
        """How often."""
        return self.file.stat().st_size if self.file.exists() else 0


class InstantDocuments(Summarizer):
    """Makes what was said last the summary."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked

    def summarize(self, document: Document, material: Material) -> Summary:
        """Return the document with another summary."""
        self._asked.note()
        return Summary({**document, "summary": material.messages[-1].text}, tokens=PAID)


class InstantRecaps(ConversationSummarizer):
    """Makes what was said last the memory."""

    def __init__(self, asked: Asked) -> None:
        self._asked = asked

    def summarize(self, conversation: Transcript) -> Recap:
        """Return a memory of one sentence."""
        self._asked.note()
        return Recap({"summary": conversation.messages[-1].text}, tokens=PAID)


def work(url: str, asked: Asked, ready: Connection) -> None:
    """Work as `usermemory worker` does, with its schedule of further attempts, until SIGTERM."""
    until = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: until.set())
    with (
        Memory.open(url, settings=WITHOUT_FSYNC) as memory,
        closing(open_queue(None, memory.database)) as queue,
    ):
        upkeep = Upkeep(memory, queue, inactivity=AT_ONCE)
        worker = Worker(
            memory,
            queue,
            summarizer=InstantDocuments(asked),
            conversation_summarizer=InstantRecaps(asked),
            visibility=VISIBILITY,
            inactivity=AT_ONCE,
            wait=0.5,
            schedule=Schedule(upkeep, daily_at=None, conversations_every=None),
        )
        ready.send_bytes(b"ready")
        worker.run(until)


class Working:
    """Worker processes on one database. They are forked from a server that has imported everything already."""

    def __init__(self, url: str, asked: Asked) -> None:
        self._context: Any = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["benchmarks.working"])
        self._start = partial(self._started, url, asked)
        self.processes: list[Any] = []

    def start(self, count: int = 1) -> None:
        """Start so many more, and wait until they are ready."""
        begun = [self._start() for _ in range(count)]
        for process, ready in begun:
            if not ready.poll(STARTED_WITHIN):
                raise RuntimeError("a worker does not start")
            ready.recv_bytes()
            ready.close()
            self.processes.append(process)

    def kill(self) -> None:
        """Kill the one that was started last, as `kill -9` does."""
        process = self.processes.pop()
        process.kill()
        process.join()

    def stop(self) -> None:
        """Let all of them finish what they have begun."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.join()
        self.processes = []

    def cpu(self) -> float:
        """Return the seconds of CPU of every worker so far, of those that were killed too."""
        return tree_of(psutil.Process(self.processes[0].pid).ppid())

    def _started(self, url: str, asked: Asked) -> tuple[Any, Connection]:
        ready, says = self._context.Pipe(duplex=False)
        process = self._context.Process(target=work, args=(url, asked, says))
        process.start()
        says.close()
        return process, ready
