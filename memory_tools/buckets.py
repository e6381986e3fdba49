"""Buckets: a token bucket for each person, so that one caller does not slow down the others.

A bucket is kept as one number, the time at which it will be full again (the generic cell rate algorithm, ITU-T I.371).
"""

import re
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from threading import Lock
from typing import Final, Self

from memory_tools.access import Principal, Scope
from storage.errors import InvalidInput

PACE: Final = "600/minute"
"""Requests of one person, where the operator says nothing else."""

_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}

_PACE: Final = re.compile(rf"([1-9][0-9]{{0,8}}) ?(?:/|per) ?({'|'.join(_SECONDS)})s?")

_SWEEP: Final = 1_024
"""Buckets that may stand around full before they are looked through."""


@dataclass(frozen=True, slots=True)
class Pace:
    """So many requests in so many seconds; all of them may come at once."""

    requests: int
    seconds: float

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the pace that is written as `600/minute` or `20 per second`. Raises InvalidInput for anything else."""
        found = _PACE.fullmatch(text)
        if found is None:
            raise InvalidInput(f"{text!r} is no pace: write it as 600/minute, with second, minute, hour or day")
        return cls(int(found[1]), _SECONDS[found[2]])


class Buckets:
    """The buckets of everybody who asked lately. Thread-safe."""

    def __init__(self, pace: Pace, timer: Callable[[], float] = time.monotonic) -> None:
        """Fill at `pace`; `timer` says seconds that only pass."""
        self._each = pace.seconds / pace.requests
        self._room = pace.seconds
        self._timer = timer
        self._full_at: dict[Hashable, float] = {}
        self._sweep_at = _SWEEP
        self._taking = Lock()

    @classmethod
    def of(cls, pace: "str | Buckets") -> "Buckets":
        """Return buckets that fill at a pace, as `Pace.of` reads it; or those that are given, which doors then share.

        Raises InvalidInput for a pace that is none.
        """
        return pace if isinstance(pace, Buckets) else cls(Pace.of(pace))

    def take(self, who: Hashable) -> float:
        """Take what one request costs and return 0; or return the seconds after which there will be enough."""
        with self._taking:
            return self._take(who)

    def _take(self, who: Hashable) -> float:
        now = self._timer()
        full_at = max(self._full_at.get(who, now), now) + self._each
        missing = full_at - now - self._room
        if missing > self._each * 1e-6:  # less is no time, but what floating point leaves over
            return missing
        self._full_at[who] = full_at
        if len(self._full_at) >= self._sweep_at:
            self._full_at = {each: at for each, at in self._full_at.items() if at > now}
            self._sweep_at = max(_SWEEP, 2 * len(self._full_at))
        return 0.0


def bucket(principal: Principal | None, person: tuple[str, ...]) -> tuple[str, ...]:
    """Return whose bucket a request is counted in that is about a person, named by their key.

    That is the person's own, whoever asks for them. Only an operator has another one for each person: what they look
    up slows down neither the person nor another operator.
    """
    if principal is None or Scope.OPERATE not in principal.scopes:
        return person
    return ("", principal.actor, *person)
