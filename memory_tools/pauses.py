"""Pauses: how long to wait before the next try of something that does not answer."""

import random
from typing import Final

SHORTEST_PAUSE: Final = 1.0
"""Seconds after the first failure, where nobody says otherwise."""

LONGEST_PAUSE: Final = 30.0
"""Seconds between two tries at the most, where nobody says otherwise."""


class Pauses:
    """Pauses that are doubled with each failure in a row; a random share of up to a half less, so that no two agree."""

    def __init__(self, shortest: float = SHORTEST_PAUSE, longest: float = LONGEST_PAUSE) -> None:
        """`shortest` is the first pause, `longest` what they grow to, in seconds."""
        self._shortest = shortest
        self._longest = longest
        self._next = shortest

    def next(self) -> float:
        """Return the seconds to wait after one more failure."""
        pause = self._next
        self._next = min(pause * 2, self._longest)
        return random.uniform(pause / 2, pause)

    def reset(self) -> None:
        """Begin anew: it answered."""
        self._next = self._shortest
