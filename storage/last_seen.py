"""Last seen: the head as this process saved it last, which its next save tries first.

It is a guess: compare-and-set in the database tells whether it still holds, and whatever a guess does not settle is
done again from the truth. It saves the read before a write where one process writes on and on. It is only good on the
very connection that saved it: behind another one may be another server, on which the same version says something else.
"""

from typing import Any

from storage.hot import Head
from storage.json_types import Document

TURNS = 16
"""Saves that go the careful way after a guess was wrong or a race lost, before the quick way is tried again."""


class LastSeen:
    """The head and its document, or nothing yet. Held by whoever is bound to one person, and gone with that."""

    def __init__(self) -> None:
        self._seen: tuple[Head, Document] | None = None
        self._connection: Any = None
        self._turns_without_guess = 0
        self._turns_under_lock = 0

    def take(self, connection: Any) -> tuple[Head, Document] | None:
        """Return the head and its document, which nobody may change, and forget them; None where a guess is no use."""
        seen, self._seen = self._seen, None
        if self._turns_without_guess:
            self._turns_without_guess -= 1
            return None
        return seen if connection is self._connection else None

    def remember(self, head: Head, document: Document, connection: Any) -> None:
        """Keep what was just saved on `connection`; `document` belongs to nobody else."""
        self._connection = connection
        self._seen = head, document

    def guessed_wrong(self) -> None:
        """Note that somebody else writes here too: a guess costs a round trip, and more than reading would."""
        self._turns_without_guess = TURNS

    def race_lost(self) -> None:
        """Note that somebody writes here at the very same time: a lost race costs a wait in the head's queue."""
        self._turns_under_lock = TURNS

    def expects_a_race(self) -> bool:
        """Whether the next save does better to lock the head first; each answer uses up a turn."""
        if self._turns_under_lock:
            self._turns_under_lock -= 1
            return True
        return False
