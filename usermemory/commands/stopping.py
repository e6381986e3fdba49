"""Stopping: work that ends well at the first signal, and at once at the second."""

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Never

from usermemory.commands.screen import Screen

LOOK_EVERY = 0.2
"""Seconds between two looks at how the work gets on."""


def end_at_sigterm() -> None:
    """Let SIGTERM end the process as asked to: what blocks hold open is closed, and the exit code is 0."""

    def end(_signal: int, _frame: FrameType | None) -> Never:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, end)


def until_signalled(
    work: Callable[[threading.Event], None], screen: Screen, *, meanwhile: Callable[[], object] = lambda: None
) -> bool:
    """Do `work`, which ends when its event is set: by SIGTERM or Ctrl-C. Return whether that was so.

    `meanwhile` is called again and again. A second signal raises KeyboardInterrupt. Raises what `work` raises.
    """
    until = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            work(until)
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that waits for it
            failures.append(error)

    # In a thread of its own: a handler may not set an event that its own thread is just waiting at.
    thread = threading.Thread(target=run, name="usermemory-work", daemon=True)
    with _handling(until, screen):
        thread.start()
        while thread.is_alive():
            thread.join(LOOK_EVERY)
            meanwhile()
    if failures:
        raise failures[0]
    return until.is_set()


@contextmanager
def _handling(until: threading.Event, screen: Screen) -> Generator[None]:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        if until.is_set():
            raise KeyboardInterrupt
        until.set()
        screen.note("Stopping: what was begun is finished. Once more ends it at once.")

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
