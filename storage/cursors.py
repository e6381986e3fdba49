"""Cursors: how far an owner's messages have been seen, per purpose."""

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


class CursorStore:
    """The cursors of one owner."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def seen(self, purpose: str) -> int:
        """Return the number of the last message seen for `purpose`; 0 when none was."""
        check_name(purpose, "purpose")
        return self._work.execute(sa.select(cursors.c.number).where(*self._at(purpose))).scalar() or 0

    def advance(self, purpose: str, number: int) -> None:
        """Say that everything up to message `number` has been seen, in the transaction that records the outcome.

        A cursor never goes back: the same batch twice, or two workers in another order, leave the higher number.
        """
        check_name(purpose, "purpose")
        if not 0 <= number < INTEGER_LIMIT:
            raise InvalidInput(f"a cursor cannot stand at {number}")
        now = self._work.clock()
        row = {"owner_id": self._work.owner, "purpose": purpose, "number": number, "updated_at": now}
        if not insert_if_new(self._work.execute, cursors, row):
            onward = sa.update(cursors).where(*self._at(purpose), cursors.c.number < number)
            self._work.execute(onward.values(number=number, updated_at=now))

    def _at(self, purpose: str) -> tuple[sa.ColumnElement[bool], ...]:
        return cursors.c.owner_id == self._work.owner, cursors.c.purpose == purpose
