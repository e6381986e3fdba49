"""Patch budget: how much work and memory one patch may ask for, so that a short one cannot cause much of either."""

from collections.abc import Iterator
from itertools import count

from storage.errors import TooLarge
from storage.json_types import Json
from storage.limits import DEPTH_LIMIT, DOCUMENT_LIMIT, NODE_LIMIT

SHIFT_LIMIT = 50_000_000
"""Array entries that one patch may push aside by inserting and deleting in front of them: about 0.05 seconds."""


class Budget:
    """What one patch may still ask for: values, characters, and entries pushed aside. TooLarge when it is spent."""

    __slots__ = ("characters", "entries", "values")

    def __init__(self) -> None:
        self.values = NODE_LIMIT
        self.characters = DOCUMENT_LIMIT
        self.entries = SHIFT_LIMIT

    def look_at(self, value: Json, levels: int) -> None:
        """Pay for every value inside `value`; TooLarge too if it nests deeper than `levels`."""
        for _ in self.paid_levels(value, levels):
            pass

    def paid_levels(self, value: Json, levels: int) -> Iterator[list[Json]]:
        """Yield `value`, then all that is directly inside, and so on down, each level when it is paid for."""
        level = [value]
        for depth in count():
            self.values -= len(level)
            if self.values < 0:
                raise TooLarge(f"The patch handles more than {NODE_LIMIT} values.")
            containers = [item for item in level if isinstance(item, (dict, list))]
            if containers and depth >= levels:
                raise too_deep()
            yield level
            if not containers:
                return
            level = [below for item in containers for below in (item.values() if isinstance(item, dict) else item)]

    def pay_text(self, value: Json) -> None:
        """Pay for a string, or the names in an object, by the character."""
        if isinstance(value, str):
            self.characters -= len(value)
        elif isinstance(value, dict):
            self.characters -= sum(map(len, value))
        if self.characters < 0:
            raise TooLarge(f"The patch spells out more than {DOCUMENT_LIMIT} characters.")

    def push(self, entries: int) -> None:
        """Pay for pushing entries of an array aside."""
        self.entries -= entries
        if self.entries < 0:
            raise TooLarge(f"The patch pushes more than {SHIFT_LIMIT} entries aside.")


def too_deep() -> TooLarge:
    """Return the error for objects and arrays that nest deeper than DEPTH_LIMIT."""
    return TooLarge(f"Objects and arrays nest more than {DEPTH_LIMIT} levels deep.")
