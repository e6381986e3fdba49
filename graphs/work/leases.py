"""Leases: what this worker alone may do at the moment, for as long as it says so again and again."""

import logging
import threading
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from uuid import UUID

from graphs.work.failures import TOO_SLOW
from graphs.work.turns import GivingUp
from storage.database import Database
from storage.errors import NotFound
from storage.work import leases
from storage.work.job_store import JobKind, Lease
from storage.work.jobs import fail, get_job
from storage.work.leases import Busy, NotEligible

_log = logging.getLogger(__name__)


class Leases:
    """The leases that the threads of one worker hold, each thread one at the most."""

    def __init__(self, database: Database, *, seconds: float, inactivity: timedelta) -> None:
        """`seconds` is for how long each is taken, and extended; `inactivity` ends a conversation."""
        self._database = database
        self._seconds = seconds
        self._inactivity = inactivity
        self._held: dict[threading.Thread, Lease] = {}
        self._lock = threading.Lock()

    def take(self, kind: JobKind, subject: UUID, *, attempts: int) -> Lease | Busy | NotEligible:
        """Take the job about a conversation or a person, if it is to be done and nobody does it."""
        return leases.lease(
            self._database, kind, subject, seconds=self._seconds, inactive_for=self._inactivity, attempts=attempts
        )

    @contextmanager
    def held(self, lease: Lease) -> Generator[None]:
        """Keep a lease alive while the block lasts, or until it is given up."""
        thread = threading.current_thread()
        with self._lock:
            self._held[thread] = lease
        try:
            yield
        finally:
            self._let_go(thread)

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

    def too_slow(self, thread: threading.Thread, *, patience: float, attempts: int) -> GivingUp | None:
        """Return how to give up what a thread holds, unless a part of it was kept in the last `patience` seconds.

        To give it up is a failed attempt of the job. What the thread brings later for a conversation finds the lease
        lost; a person's update is kept if nobody was faster. None also while it holds nothing: then it waits for the
        database, which has limits of its own.
        """
        with self._lock:
            lease = self._held.get(thread)
        if lease is None or self._went_on(lease, patience):
            return None
        return partial(self._give_up, thread, lease, attempts)

    def _went_on(self, lease: Lease, patience: float) -> bool:
        """Tell whether the job was begun, or a round of it kept, not long ago."""
        try:
            kept_at = get_job(self._database, lease.kind, lease.subject).updated_at
        except NotFound:  # with its person; nobody waits for it any more
            return False
        return kept_at > self._database.clock() - timedelta(seconds=patience)

    def _give_up(self, thread: threading.Thread, lease: Lease, attempts: int) -> bool:
        self._let_go(thread)  # first: where the failure cannot be recorded, the lease runs out, which counts as well
        failed = fail(self._database, lease, TOO_SLOW, attempts=attempts)
        if failed is not None:
            what = "is dead" if failed.state == "dead" else "was given up"
            _log.error("the job of %s %s %s, attempt %d", lease.kind, lease.subject, what, failed.attempts)
        return True

    def _let_go(self, thread: threading.Thread) -> None:
        with self._lock:
            self._held.pop(thread, None)

    def _copy(self) -> list[Lease]:
        with self._lock:
            return list(self._held.values())
