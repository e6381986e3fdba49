"""Profiles: the one text per person (seed 002), the newest only."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from storage.canonical import canonical
from storage.dialect import insert_if_new
from storage.errors import Conflict, InvalidJson, NotFound, TooLarge
from storage.limits import DOCUMENT_LIMIT
from storage.tables import profiles
from storage.transaction import Work


@dataclass(frozen=True, slots=True)
class Profile:
    """What is known about the person, in prose."""

    text: str
    created_at: datetime
    updated_at: datetime


class ProfileStore:
    """The profile of one owner."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def get(self) -> Profile:
        """Return the text; raises NotFound when none was ever set."""
        row = self._work.execute(sa.select(profiles).where(self._mine())).one_or_none()
        if row is None:
            raise NotFound("there is no profile text")
        return Profile(row.text, row.created_at, row.updated_at)

    def set(self, text: str) -> Profile:
        """Replace the text. At most DOCUMENT_LIMIT bytes of UTF-8; raises TooLarge and InvalidJson."""
        if not isinstance(text, str):
            raise InvalidJson("a profile is a text")
        canonical(text, limit=7 * DOCUMENT_LIMIT)  # the gate's refusals; escapes may be longer than the text
        if len(text.encode()) > DOCUMENT_LIMIT:
            raise TooLarge(f"the profile has {len(text.encode())} bytes, more than {DOCUMENT_LIMIT}")
        now = self._work.clock()
        row = {"owner_id": self._work.owner, "text": text, "created_at": now, "updated_at": now}
        change = sa.update(profiles).where(self._mine()).values(text=text, updated_at=now)
        for _ in range(2):  # a second time when somebody deleted it between the two statements
            if insert_if_new(self._work.execute, profiles, row):
                return Profile(text, now, now)
            created_at = self._work.execute(change.returning(profiles.c.created_at)).scalar_one_or_none()
            if created_at is not None:
                return Profile(text, created_at, now)
        raise Conflict("somebody deletes the profile text again and again")

    def delete(self) -> None:
        """Delete the text in every branch of this owner; raises NotFound when there is none."""
        if self._work.execute(sa.delete(profiles).where(profiles.c.owner_id.in_(self._work.owners))).rowcount == 0:
            raise NotFound("there is no profile text")

    def _mine(self) -> sa.ColumnElement[bool]:
        return profiles.c.owner_id == self._work.owner
