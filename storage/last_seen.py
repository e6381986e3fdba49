"""Last seen: the head as this process saved it last, which its next save tries first.

It is a guess: compare-and-set in the database tells whether it still holds, and whatever a guess does not settle is
done again from the truth. It saves the read before a write where one process writes on and on.
"""

from storage.hot import Head
from storage.json_types import Document

TURNS_UNDER_LOCK = 16
"""Saves that lock the head first after a race was lost, before one is tried without again."""


class LastSeen:
    """The head and its document, or nothing yet. Held by whoever is bound to one person, and gone with that."""

    def __init__(self) -> None:
        self._seen: tuple[Head, Document] | None = None
        self._turns_under_lock = 0

    def recall(self) -> tuple[Head, Document] | None:
        """Return the head and its document, which nobody may change."""
        return self._seen

    def remember(self, head: Head, document: Document) -> None:
        """Keep what was just saved; `document` belongs to nobody else."""
        self._seen = head, document

    def forget(self) -> None:
        """Drop a guess that did not hold."""
        self._seen = None

    def race_lost(self) -> None:
        """Note that somebody else writes here too: a lost race is paid for with a wait in the head's queue."""
        self._turns_under_lock = TURNS_UNDER_LOCK

    def expects_a_race(self) -> bool:
        """Whether the next save does better to lock the head first; each answer uses up a turn."""
        self._turns_under_lock -= self._turns_under_lock > 0
        return self._turns_under_lock > 0
