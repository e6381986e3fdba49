"""Relay: brings events from the outbox to a publisher, each at least once, and first in order."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from memory_tools.pauses import Pauses
from memory_tools.publisher import Publisher, PublishFailed
from memory_tools.publishers import NOBODY, open_publisher
from storage import outbox
from storage.database import Database
from storage.errors import UserMemoryError
from storage.outbox import Event

BATCH: Final = 100
"""Events that are read, and acknowledged, together."""

RUN_SECONDS: Final = 10.0
"""Seconds after which a run begins no further event, so that whoever calls it gets to its other work."""

LEASE_SECONDS: Final = 60.0
"""Seconds for which one relay has the outbox: a run, and a slow last event, many times over."""

_log = logging.getLogger(__name__)


class Relay:
    """Publishes what is in the outbox, oldest first.

    Any number of workers may each have one: a lease lets one of them publish at a time, and the others do not wait. An
    event that is not delivered stays, and so do all behind it, so that nobody hears of a person's changes in another
    order than they were made in; it is tried again after a pause that grows. Whoever dies between publishing and
    acknowledging, or takes longer than the lease, leaves events that are published again: a receiver knows them by
    their id.
    """

    def __init__(
        self,
        database: Database,
        publisher: Publisher,
        *,
        lease_seconds: float = LEASE_SECONDS,
        run_seconds: float = RUN_SECONDS,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        """`database` is open at the worker's URL; `timer` gives seconds that only pass."""
        self.delivered = 0
        """Events published so far."""

        self.failures = 0
        """Tries so far that ended without delivery."""

        self._database = database
        self._publisher = publisher
        self._lease_seconds = lease_seconds
        self._run_seconds = min(run_seconds, lease_seconds)
        self._timer = timer
        self._pauses = Pauses()
        self._next_try = timer()

    def run_once(self, until: threading.Event | None = None) -> int:
        """Publish what waits and return how many events were delivered; 0 during a pause, or where another one does.

        Takes RUN_SECONDS and one event at the most, and begins no further one once `until` is set. Raises
        DatabaseUnavailable; a publisher's failure is logged without its content and raises nothing.
        """
        began = self._timer()
        if began < self._next_try or not outbox.take(self._database, 1):
            return 0
        token = outbox.lease(self._database, self._lease_seconds)
        if token is None:
            return 0
        before = self.delivered
        try:
            while self._published(outbox.take(self._database, BATCH), lambda: self._is_over(began, until)):
                pass
        finally:
            outbox.release(self._database, token)
        return self.delivered - before

    def run(self, until: threading.Event, pause: float = 1.0) -> None:
        """Publish until the event is set, looking anew every `pause` seconds. For a thread of its own."""
        while not until.wait(pause):
            try:
                self.run_once(until)
            except UserMemoryError as error:
                self._wait(f"the outbox cannot be read ({error.code})")

    def close(self) -> None:
        """Let go of the publisher's connections."""
        self._publisher.close()

    def _published(self, events: list[Event], is_over: Callable[[], bool]) -> bool:
        """Publish and acknowledge; return whether there may be more that can be published now."""
        delivered: list[int] = []
        try:
            for event in events:
                if is_over():
                    return False
                if not self._is_delivered(event):
                    return False
                delivered.append(event.id)
        finally:
            if delivered:
                outbox.acknowledge(self._database, delivered)
        return len(events) == BATCH

    def _is_delivered(self, event: Event) -> bool:
        try:
            self._publisher.publish(event)
        except PublishFailed as error:
            self._wait(f"event {event.id} was not published: {error}")
            return False
        except Exception as error:  # noqa: BLE001 - a host's publisher may raise anything, and nothing must be lost
            self._wait(f"event {event.id} was not published: {type(error).__name__}")
            return False
        self.delivered += 1
        self._pauses.reset()
        return True

    def _wait(self, reason: str) -> None:
        self.failures += 1
        pause = self._pauses.next()
        self._next_try = self._timer() + pause
        _log.warning("%s; tried again in %.1f s", reason, pause)

    def _is_over(self, began: float, until: threading.Event | None) -> bool:
        return self._timer() - began >= self._run_seconds or (until is not None and until.is_set())


def open_relay(database: Database, spec: str | None, secret: str | None = None) -> Relay | None:
    """Return the relay to where `spec` says (see `open_publisher`), and let changes be written down for it.

    None for None, which leaves the rest to other workers, and for `none`, which ends the writing down for all of them.
    `database` is open at the worker's URL. Raises InvalidInput and UnsafeRole.
    """
    publisher = open_publisher(spec, secret)
    if publisher is not None:
        outbox.enable(database)
        return Relay(database, publisher)
    if spec == NOBODY:
        outbox.disable(database)
    return None
