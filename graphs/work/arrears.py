"""Arrears: what was paid for and could not be put on record, because the database did not take it."""

import threading
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from storage.errors import Conflict, DatabaseUnavailable

Recording: TypeAlias = Callable[[], object]
"""Puts something on record in one transaction."""


class Arrears:
    """What is put on record later, in its order. Thread-safe; it ends with the process."""

    def __init__(self) -> None:
        self._waiting: deque[Recording] = deque()
        self._lock = threading.Lock()

    def record(self, recording: Recording) -> bool:
        """Put something on record, now or as soon as that is possible, and return whether it is done.

        Other errors are raised, and nothing waits for them.
        """
        try:
            recording()
        except (DatabaseUnavailable, Conflict):
            with self._lock:
                self._waiting.append(recording)
            return False
        return True

    def settle(self) -> bool:
        """Put on record what waits, in its order; return whether nothing is left. Raises other errors, as `record`."""
        with self._lock:
            while self._waiting:
                recording = self._waiting.popleft()
                try:
                    recording()
                except (DatabaseUnavailable, Conflict):
                    self._waiting.appendleft(recording)
                    return False
        return True
