"""Snapshots: every version of a person's memory document, kept as patches with a full copy now and then."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from storage.append import Append, size
from storage.canonical import INTEGER_LIMIT, loads
from storage.chain import reconstruct, version_at
from storage.difference import difference
from storage.document import render
from storage.edits import Edit, edited
from storage.errors import VersionConflict
from storage.idempotency import once
from storage.json_types import Document, Patch
from storage.outcome import Outcome
from storage.page import Page, page_size
from storage.pending import PendingStore
from storage.provenance import Provenance
from storage.tables import snapshots
from storage.transaction import Work


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One version of a document. Version 0 is `{}`, before anything was saved."""

    version: int
    document: Document
    """The document as it is read: with `version` and `last_updated_by`, which are not part of what is stored."""


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """How one version came about. Sizes are bytes of UTF-8."""

    version: int
    patch: Patch
    provenance: Provenance
    created_at: datetime
    patch_bytes: int
    checkpoint_bytes: int | None
    """The size of the full copy, where this version keeps one."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What is new since a version: the patch that turns `since` into `version`."""

    since: int
    version: int
    patch: Patch


class SnapshotStore:
    """The versions of one owner's document."""

    def __init__(self, work: Work, pending: PendingStore, append: Append) -> None:
        self._work = work
        self._pending = pending
        self._append = append

    def current(self) -> Snapshot:
        """Return the newest version: one row, however many versions there are."""
        head = self._work.hot.read_head()
        if head is None:
            return Snapshot(0, {})
        return Snapshot(head.version, render(loads(head.document), head.version, head.updated_by))

    def as_of(self, moment: int | datetime) -> Snapshot:
        """Return a version by its number, or the one that was in force at a time.

        Raises NotFound for a version that was never saved, InvalidInput for a time without a zone. Before the first
        version it is version 0.
        """
        version = version_at(self._work, moment) if isinstance(moment, datetime) else moment
        document, provenance = reconstruct(self._work, version)
        updated_by = None if provenance is None else loads(provenance)["actor"]
        return Snapshot(version, render(document, version, updated_by))

    def history(self, *, limit: int = 20, before: int | None = None) -> Page[HistoryEntry, int]:
        """Return versions newest first, those below `before`; the page's `next` is the `before` of the one after."""
        wanted = sa.select(snapshots).where(snapshots.c.owner_id == self._work.owner)
        if before is not None:
            wanted = wanted.where(snapshots.c.version < max(0, min(before, INTEGER_LIMIT - 1)))
        rows = self._work.execute(wanted.order_by(snapshots.c.version.desc()).limit(page_size(limit) + 1)).all()
        entries = tuple(_entry(row) for row in rows[:limit])
        return Page(entries, entries[-1].version if len(rows) > limit else None)

    def difference(self, before: int, after: int) -> Patch:
        """Return the patch that turns version `before` into version `after`, in either direction."""
        return difference(reconstruct(self._work, before)[0], reconstruct(self._work, after)[0])

    def changes_since(self, version: int) -> Changes:
        """Return what is new since `version`: what an agent that knows it is told instead of the whole document."""
        head = self._work.hot.read_head()
        now, document = (0, {}) if head is None else (head.version, loads(head.document))
        return Changes(version, now, difference(reconstruct(self._work, version)[0], document))

    def append(
        self,
        change: Patch | Document,
        *,
        provenance: Provenance,
        expected_version: int | None = None,
        idempotency_key: str | None = None,
    ) -> Outcome:
        """Save a change as the next version: a patch, or the whole new document.

        `expected_version` is the version that the change was made from; when the head has moved on since, both sides'
        changes are kept (three-way merge), and what both sides changed differently is a VersionConflict that names
        the places, with nothing written. Without it the change applies to the head as it is.
        `idempotency_key`: the same key gives the same outcome and writes once; with another request it is refused.
        Returns Saved, Unchanged (no version is made), or Held: the guard objected and a pending version waits.
        Raises InvalidPatch, PatchDoesNotApply, InvalidDocument, InvalidJson, TooLarge, VersionConflict.
        """
        if idempotency_key is None:
            return self._append(lambda: change, provenance, expected_version)
        request = {"change": change, "expected_version": expected_version}
        return once(
            self._work, idempotency_key, request, lambda: self._append(lambda: change, provenance, expected_version)
        )

    def edit(
        self,
        edits: Sequence[Edit],
        *,
        provenance: Provenance,
        expected_version: int | None = None,
        idempotency_key: str | None = None,
    ) -> Outcome:
        """Save the document with `edits` made as the next version (see `storage.edits` for what they are).

        They are made in version `expected_version`, else in the head. What others save before they are kept is merged,
        and a VersionConflict tells what both sides changed. Returns and raises what `append` does, and besides
        InvalidPatch and NotFound for a place as `storage.edits.edited` says.
        """
        if idempotency_key is None:
            return self._edit(edits, provenance, expected_version)
        request = {"edits": [edit.as_json() for edit in edits], "expected_version": expected_version}
        return once(self._work, idempotency_key, request, lambda: self._edit(edits, provenance, expected_version))

    def _edit(self, edits: Sequence[Edit], provenance: Provenance, expected: int | None) -> Outcome:
        head = self._work.hot.read_head()
        newest, base = (0, {}) if head is None else (head.version, loads(head.document))
        expected = newest if expected is None else expected
        if not 0 <= expected <= newest:
            raise VersionConflict(
                f"version {expected} was expected, but version {newest} is the newest",
                expected=expected,
                current=newest,
            )
        if expected < newest:
            base, _ = reconstruct(self._work, expected)
        wanted = edited(base, edits)
        return self._append(lambda: wanted, provenance, expected)

    def revert(self, version: int, *, provenance: Provenance) -> Outcome:
        """Save the document of an older version as the newest one. Nothing is taken out of the history."""
        return self._append(lambda: reconstruct(self._work, version)[0], provenance, None)

    def accept(self, pending_id: str, *, provenance: Provenance) -> Outcome:
        """Save a pending version, merged with what was saved since; it is pending no longer. An operator's act.

        The new version keeps the sources of the change. Raises NotFound, and VersionConflict when the memory has
        changed at the same places meanwhile (the pending version stays).
        """
        held = self._pending.get(pending_id)
        outcome = self._append(lambda: held.patch, held.provenance.accepted_by(provenance), held.base_version)
        self._pending.reject(pending_id)
        return outcome


def _entry(row: Any) -> HistoryEntry:
    return HistoryEntry(
        version=row.version,
        patch=loads(row.patch),
        provenance=Provenance.from_json(loads(row.provenance)),
        created_at=row.created_at,
        patch_bytes=size(row.patch),
        checkpoint_bytes=None if row.checkpoint is None else size(row.checkpoint),
    )
