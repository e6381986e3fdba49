"""Leases: what this worker alone may do at the moment, for as long as it says so again and again."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from uuid import UUID

from storage.database import Database
from storage.work import leases
from storage.work.jobs import Busy, JobKind, Lease, NotEligible


class Leases:
    """The leases that the threads of one worker hold."""

    def __init__(self, database: Database, *, seconds: float, inactivity: timedelta) -> None:
        """`seconds` is for how long each is taken, and extended; `inactivity` ends a conversation."""
        self._database = database
        self._seconds = seconds
        self._inactivity = inactivity
        self._held: list[Lease] = []
        self._lock = threading.Lock()

    def take(self, kind: JobKind, subject: UUID, *, attempts: int) -> Lease | Busy | NotEligible:
        """Take the job about a conversation or a person, if it is to be done and nobody does it."""
        return leases.lease(
            self._database, kind, subject, seconds=self._seconds, inactive_for=self._inactivity, attempts=attempts
        )

    @contextmanager
    def held(self, lease: Lease) -> Generator[None]:
        """Keep a lease alive while the block lasts."""
        with self._lock:
            self._held.append(lease)
        try:
            yield
        finally:
            with self._lock:
                self._held.remove(lease)

    def extend(self) -> None:
        """Keep all that are held for another while from now."""
        for lease in self._copy():
            leases.extend(self._database, lease, self._seconds)

    def give_back(self, lease: Lease) -> None:
        """Let others have the job at once: what is done for it from now on will not count."""
        leases.extend(self._database, lease, 0)

    def give_back_all(self) -> None:
        """Give back all that are held."""
        for lease in self._copy():
            self.give_back(lease)

    def _copy(self) -> list[Lease]:
        with self._lock:
            return list(self._held)
