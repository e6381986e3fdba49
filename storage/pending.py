"""Pending versions: changes that the guard held back, until somebody accepts or rejects them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from uuid_utils.compat import uuid7

from storage.canonical import canonical, dumps, loads
from storage.errors import NotFound
from storage.guard import Objection
from storage.json_types import Patch
from storage.page import Page, page_size
from storage.provenance import Provenance
from storage.tables import pending_versions
from storage.transaction import Work


@dataclass(frozen=True, slots=True)
class PendingVersion:
    """A change that waits. `patch` applies to version `base_version`."""

    id: str
    base_version: int
    patch: Patch
    objections: tuple[Objection, ...]
    provenance: Provenance
    created_at: datetime

    @property
    def reason(self) -> str:
        """What the guard objected to, in a sentence or two."""
        return " ".join(objection.message for objection in self.objections)


class PendingStore:
    """The pending versions of one owner."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def hold(self, base: int, patch: Patch, objections: Sequence[Objection], provenance: Provenance) -> str:
        """Keep a change back and return its id."""
        pending = uuid7()
        row = {
            "owner_id": self._work.owner,
            "id": pending,
            "base_version": base,
            "patch": dumps(patch),
            "objections": dumps([objection.as_json() for objection in objections]),
            "provenance": canonical(provenance.as_json()),
            "created_at": self._work.clock(),
        }
        self._work.execute(sa.insert(pending_versions).values(row))
        return str(pending)

    def get(self, pending_id: str) -> PendingVersion:
        """Return one pending version; raises NotFound when there is none of this id."""
        row = self._work.execute(sa.select(pending_versions).where(*self._at(pending_id))).one_or_none()
        if row is None:
            raise _nothing(pending_id)
        return _pending(row)

    def waiting(self, *, limit: int = 20, after: str | None = None) -> Page[PendingVersion, str]:
        """Return what waits, oldest first, behind the id `after`."""
        wanted = sa.select(pending_versions).where(pending_versions.c.owner_id == self._work.owner)
        if after is not None:
            wanted = wanted.where(pending_versions.c.id > _id(after))
        rows = self._work.execute(wanted.order_by(pending_versions.c.id).limit(page_size(limit) + 1)).all()
        found = tuple(_pending(row) for row in rows[:limit])
        return Page(found, found[-1].id if len(rows) > limit else None)

    def reject(self, pending_id: str) -> None:
        """Drop a pending version; the version in force is untouched. Raises NotFound when there is none of this id."""
        if self._work.execute(sa.delete(pending_versions).where(*self._at(pending_id))).rowcount == 0:
            raise _nothing(pending_id)

    def _at(self, pending_id: str) -> tuple[sa.ColumnElement[bool], ...]:
        return pending_versions.c.owner_id == self._work.owner, pending_versions.c.id == _id(pending_id)


def _id(pending_id: str) -> UUID:
    try:
        return UUID(pending_id)
    except (ValueError, AttributeError):
        raise _nothing(pending_id) from None


def _nothing(pending_id: str) -> NotFound:
    return NotFound(f"there is no pending version {pending_id!r}")


def _pending(row: Any) -> PendingVersion:
    return PendingVersion(
        id=str(row.id),
        base_version=row.base_version,
        patch=loads(row.patch),
        objections=tuple(Objection.from_json(objection) for objection in loads(row.objections)),
        provenance=Provenance.from_json(loads(row.provenance)),
        created_at=row.created_at,
    )
