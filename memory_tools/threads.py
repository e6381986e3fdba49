"""Threads: where async doors run the synchronous storage, as many as there are database connections."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TypeVar

Answer = TypeVar("Answer")


class Threads:
    """Threads of one open memory: who waits for a lock there keeps nothing else of the host waiting."""

    def __init__(self, count: int) -> None:
        """Take how many there may be; none is started before it is needed."""
        self._count = count
        self._start()

    async def run(self, function: Callable[[], Answer]) -> Answer:
        """Return what `function` returns, called in a thread with the context variables of the caller."""
        call = partial(copy_context().run, function)
        if self._process != os.getpid():  # forked: the threads stayed with the parent
            self._start()
        try:
            future: Future[Answer] = self._pool.submit(call)
        except RuntimeError:  # closed: the function finds out by itself, and says so where it is dealt with
            return await asyncio.to_thread(function)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Take nothing any more; what waits still runs, finds the memory closed and says so to whoever asked."""
        self._pool.shutdown(wait=False)

    def _start(self) -> None:
        self._process = os.getpid()
        self._pool = ThreadPoolExecutor(self._count, thread_name_prefix="usermemory")
