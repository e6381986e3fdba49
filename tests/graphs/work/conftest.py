import logging
import threading
from collections.abc import Iterator

import pytest

from graphs.work.worker import Worker
from tests.graphs.workers import SECONDS, Running, Workplace


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> None:
    """What is said to the log from INFO on is looked at, for what must not be in it."""
    caplog.set_level(logging.INFO)


@pytest.fixture
def running(works: Workplace) -> Iterator[Running]:
    """Let workers run in threads of their own, until they are told to stop or the test ends, whatever became of it."""
    begun: list[tuple[threading.Thread, threading.Event]] = []

    def run(worker: Worker) -> tuple[threading.Thread, threading.Event]:
        until = threading.Event()
        thread = threading.Thread(target=worker.run, args=(until,), daemon=True)
        thread.start()
        begun.append((thread, until))
        return thread, until

    yield run
    for _, until in begun:
        until.set()
    for thread, _ in begun:
        thread.join(SECONDS)
