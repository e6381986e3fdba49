"""Schedule: what a worker does unasked, again and again: the daily job, ended conversations, further attempts."""

import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from time import monotonic
from typing import Final

from graphs.work.failures import code_of
from memory_tools.pauses import Pauses
from memory_tools.upkeep import Upkeep
from storage.errors import InvalidInput
from storage.transaction import Clock, utc_now

DAILY_AT: Final = time(3)
"""When the daily job is due, in UTC."""

CONVERSATIONS_EVERY: Final = timedelta(minutes=10)
"""How often conversations are looked for that have ended."""

CLOCK_EVERY: Final = 1.0
"""Seconds between two looks at the clock."""

RETRIES_EVERY: Final = 5.0
"""Seconds between two looks for what failed and is to be tried again, and for what was never sent."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Duty:
    """One thing that is done again and again."""

    name: str
    every: float
    """Seconds between two times."""

    act: Callable[[], object]
    due: float = 0.0
    pauses: Pauses = field(default_factory=Pauses)


class Schedule:
    """The duties of every worker. However many workers keep it, each due time comes once: the database says for whom.

    A duty that fails is logged by its code, tried again after a pause that grows, and keeps no other from being done.
    """

    def __init__(
        self,
        upkeep: Upkeep,
        *,
        daily_at: time | None = DAILY_AT,
        conversations_every: timedelta | None = CONVERSATIONS_EVERY,
        duties: Iterable[Duty] = (),
        clock: Clock = utc_now,
        timer: Callable[[], float] = monotonic,
    ) -> None:
        """Take when the daily job is due, in UTC, and how often conversations are looked for; None is never.

        `duties` are done beside. `clock` tells the time of day, `timer` seconds that only pass. Raises InvalidInput for
        a time with a zone, and for a period that is not above 0.
        """
        if daily_at is not None and daily_at.tzinfo is not None:
            raise InvalidInput("the daily job is due at a time in UTC, which needs no zone")
        if conversations_every is not None and conversations_every <= timedelta():
            raise InvalidInput("conversations are looked for in periods above 0")
        self._upkeep = upkeep
        self._clock = clock
        self._timer = timer
        self._claimed: datetime | None = None
        self._looked: datetime | None = None
        self._duties = [Duty("further attempts", RETRIES_EVERY, upkeep.resume), *duties]
        if daily_at is not None:
            self._duties.append(Duty("the daily job", CLOCK_EVERY, lambda: self._daily(daily_at)))
        if conversations_every is not None:
            self._duties.append(Duty("conversations", CLOCK_EVERY, lambda: self._conversations(conversations_every)))

    def run(self, until: threading.Event) -> None:
        """Do what is due until the event is set."""
        while not until.is_set():
            self.tick()
            until.wait(CLOCK_EVERY)

    def tick(self) -> None:
        """Do what is due now."""
        for duty in self._duties:
            now = self._timer()
            if now < duty.due:
                continue
            try:
                duty.act()
            except BaseException as error:  # noqa: BLE001 - a door: what fails now, or ends its thread, may succeed later
                pause = duty.pauses.next()
                _log.error("%s failed (%s); tried again in %.1f s", duty.name, code_of(error), pause)
                duty.due = now + pause
            else:
                duty.pauses.reset()
                duty.due = now + duty.every

    def _daily(self, at: time) -> None:
        """Begin the daily job of the last due time, unless somebody did; a time that was missed comes once."""
        due = last_due(self._clock(), at)
        if due != self._claimed:
            self._upkeep.daily(due_at=due)
            self._claimed = due

    def _conversations(self, every: timedelta) -> None:
        """Begin with the conversations that have ended, once in each period."""
        now = self._clock()
        period = now - (now - _EPOCH) % every
        if period != self._looked:
            self._upkeep.conversations_ended(idempotency_key=f"schedule:{period.isoformat()}")
            self._looked = period


def last_due(now: datetime, at: time) -> datetime:
    """Return when a daily job that is due at `at`, in UTC, was last due, or is right now."""
    today = datetime.combine(now.astimezone(UTC), at, UTC)
    return today if today <= now else today - timedelta(days=1)
