"""Cursors: how far an owner's messages have been seen, per purpose, and what was passed over because it failed."""

from collections.abc import Collection, Mapping
from typing import Final

import sqlalchemy as sa

from storage.canonical import INTEGER_LIMIT
from storage.dialect import insert_if_new
from storage.errors import InvalidInput
from storage.names import check_name
from storage.tables import cursors
from storage.transaction import Work

MESSAGES: Final = "document"
"""The purpose of the cursor over messages: up to which number they are in the document."""

ITEMS: Final = "document:items"
"""The purpose of the cursor over items: the newest `updated_at` that was seen, in microseconds since 1970."""

RETURNS: Final = "document:returns"
"""The purpose that counts how often the two went back: a run that began before is overtaken."""

LEFT_BEHIND: Final[Mapping[str, str]] = {MESSAGES: "document:failed", ITEMS: "document:items:failed"}
"""Under which purpose the place is remembered where a cursor stood before what failed for good."""

FORGOTTEN: Final = -1
"""What stands there once the cursor went back: rows of cursors are deleted with their person alone."""


class CursorStore:
    """The cursors of one owner."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def seen(self, purpose: str) -> int:
        """Return the number of the last message seen for `purpose`; 0 when none was."""
        return self.all_seen([purpose])[purpose]

    def all_seen(self, purposes: Collection[str], *, held: bool = False) -> dict[str, int]:
        """Return the same for several purposes; what is `held` nobody else moves before this transaction ends."""
        for purpose in purposes:
            check_name(purpose, "purpose")
        return dict.fromkeys(purposes, 0) | self._numbers(purposes, held=held)

    def advance(self, purpose: str, number: int) -> None:
        """Say that everything up to message `number` has been seen, in the transaction that records the outcome.

        The same batch twice, or two workers in another order, leave the higher number: only `go_back` makes it lower.
        """
        check_name(purpose, "purpose")
        if not 0 <= number < INTEGER_LIMIT:
            raise InvalidInput(f"a cursor cannot stand at {number}")
        self._put(purpose, number, cursors.c.number < number)

    def leave_behind(self, purpose: str, number: int) -> None:
        """Advance over what failed for good, and remember where the cursor stood: the oldest such place is kept.

        Raises InvalidInput for a purpose other than MESSAGES and ITEMS.
        """
        if purpose not in LEFT_BEHIND:
            raise InvalidInput("nothing of this purpose can be left behind")
        stood = self.seen(purpose)
        failed = cursors.c.number
        self._put(LEFT_BEHIND[purpose], stood, (failed == FORGOTTEN) | (failed > stood))
        self.advance(purpose, number)

    def go_back(self) -> bool:
        """Let the cursors stand again where they stood before what failed, and forget those places.

        What was said since is seen again, too. Returns whether anything had been left behind.
        """
        self.all_seen(LEFT_BEHIND, held=True)  # first, as everybody does who moves them
        places = self._numbers(LEFT_BEHIND.values())
        remembered = {
            purpose: places[failed]
            for purpose, failed in LEFT_BEHIND.items()
            if places.get(failed, FORGOTTEN) != FORGOTTEN
        }
        for purpose, place in remembered.items():
            self._put(purpose, place, sa.true())
            self._put(LEFT_BEHIND[purpose], FORGOTTEN, sa.true())
        if remembered:
            self.advance(RETURNS, self.seen(RETURNS) + 1)
        return bool(remembered)

    def _numbers(self, purposes: Collection[str], *, held: bool = False) -> dict[str, int]:
        """Return where the cursors stand that there are, locked in one order where they are to be held."""
        these = cursors.c.owner_id == self._work.owner, cursors.c.purpose.in_(purposes)
        wanted = sa.select(cursors.c.purpose, cursors.c.number).where(*these).order_by(cursors.c.purpose)
        rows = self._work.execute(wanted.with_for_update() if held else wanted)
        return {row.purpose: row.number for row in rows}

    def _put(self, purpose: str, number: int, onto: sa.ColumnElement[bool]) -> None:
        """Let a cursor stand at `number` where it is new, or fulfils the condition."""
        now = self._work.clock()
        row = {"owner_id": self._work.owner, "purpose": purpose, "number": number, "updated_at": now}
        if not insert_if_new(self._work.execute, cursors, row):
            self._work.execute(sa.update(cursors).where(*self._at(purpose), onto).values(number=number, updated_at=now))

    def _at(self, purpose: str) -> tuple[sa.ColumnElement[bool], ...]:
        return cursors.c.owner_id == self._work.owner, cursors.c.purpose == purpose


def is_left_behind(owner: sa.ColumnElement[object]) -> sa.ColumnElement[bool]:
    """Return the condition that something failed for good of what this owner said, and was not gone back to.

    On PostgreSQL it is the worker's to ask about everybody.
    """
    remembered = cursors.c.purpose.in_(LEFT_BEHIND.values()) & (cursors.c.number != FORGOTTEN)
    return sa.exists().where(cursors.c.owner_id == owner, remembered)
