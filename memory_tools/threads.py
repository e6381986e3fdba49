"""Threads: where async doors run the synchronous storage, as many as there are database connections."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TypeVar

Answer = TypeVar("Answer")


class Threads:
    """Threads of one open memory: who waits for a lock there keeps nothing else of the host waiting."""

    def __init__(self, count: int) -> None:
        """Take how many there may be; none is started before it is needed."""
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="usermemory")
        self._closed = False

    async def run(self, function: Callable[[], Answer]) -> Answer:
        """Return what `function` returns, called in a thread with the context variables of the caller."""
        if self._closed:  # the function finds out by itself, and says so where it is dealt with
            return await asyncio.to_thread(function)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._pool, partial(copy_context().run, function))

    def close(self) -> None:
        """Start nothing any more; what runs ends by itself."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
