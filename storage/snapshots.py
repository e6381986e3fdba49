"""Snapshots: every version of a person's memory document, kept as patches with a full copy now and then."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from storage.canonical import canonical, dumps, loads
from storage.difference import difference, proven_difference
from storage.document import check_document, render, strip_rendered
from storage.errors import InvalidInput, NotFound, VersionConflict
from storage.guard import examine
from storage.hot import Head, NewVersion
from storage.idempotency import once
from storage.json_types import Document, Patch
from storage.limits import CHECKPOINT_GROWTH, DOCUMENT_LIMIT
from storage.merge import merge
from storage.outcome import Held, Outcome, Saved, Unchanged
from storage.page import Page, page_size
from storage.patch import apply, apply_in_place, check_patch
from storage.pending import PendingStore
from storage.policy import DocumentPolicy
from storage.provenance import Provenance
from storage.tables import heads, snapshots
from storage.transaction import NeedsTransaction, SingleStatement, Work


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

    def __init__(self, work: Work, pending: PendingStore, policy: DocumentPolicy) -> None:
        self._work = work
        self._pending = pending
        self._policy = policy

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
        version = self._version_at(moment) if isinstance(moment, datetime) else moment
        document, provenance = self._reconstruct(version)
        updated_by = None if provenance is None else loads(provenance)["actor"]
        return Snapshot(version, render(document, version, updated_by))

    def history(self, *, limit: int = 20, before: int | None = None) -> Page[HistoryEntry, int]:
        """Return versions newest first, those below `before`; the page's `next` is the `before` of the one after."""
        wanted = sa.select(snapshots).where(snapshots.c.owner_id == self._work.owner)
        if before is not None:
            wanted = wanted.where(snapshots.c.version < before)
        rows = self._work.execute(wanted.order_by(snapshots.c.version.desc()).limit(page_size(limit) + 1)).all()
        entries = tuple(_entry(row) for row in rows[:limit])
        return Page(entries, entries[-1].version if len(rows) > limit else None)

    def difference(self, before: int, after: int) -> Patch:
        """Return the patch that turns version `before` into version `after`, in either direction."""
        return difference(self._reconstruct(before)[0], self._reconstruct(after)[0])

    def changes_since(self, version: int) -> Changes:
        """Return what is new since `version`: what an agent that knows it is told instead of the whole document."""
        head = self._work.hot.read_head()
        now, document = _state(head)
        return Changes(version, now, difference(self._reconstruct(version)[0], document))

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
            return self._append(lambda _now, _head: change, provenance, expected_version)
        request = {"change": change, "expected_version": expected_version}
        return once(
            self._work,
            idempotency_key,
            request,
            lambda: self._append(lambda _now, _head: change, provenance, expected_version),
        )

    def revert(self, version: int, *, provenance: Provenance) -> Outcome:
        """Save the document of an older version as the newest one. Nothing is taken out of the history."""
        return self._append(lambda _now, _head: self._reconstruct(version)[0], provenance, None)

    def accept(self, pending_id: str, *, provenance: Provenance) -> Outcome:
        """Save a pending version, merged with what was saved since; it is pending no longer. An operator's act.

        The new version keeps the sources of the change. Raises NotFound, and VersionConflict when the memory has
        changed at the same places meanwhile (the pending version stays).
        """
        held = self._pending.get(pending_id)
        outcome = self._append(
            lambda _now, _head: held.patch, held.provenance.accepted_by(provenance), held.base_version
        )
        self._pending.reject(pending_id)
        return outcome

    def _append(
        self, proposal: Callable[[int, Document], Patch | Document], provenance: Provenance, expected: int | None
    ) -> Outcome:
        for _ in range(2):  # a second time only when two first versions raced: no head row was there to lock
            head = self._head_to_write()
            version, before = _state(head)
            after, merged = self._proposed(proposal(version, before), expected, version, before)
            text = canonical(after, limit=DOCUMENT_LIMIT)
            if text == (head.document if head else "{}"):
                return Unchanged(version)
            check_document(after, self._policy.schema)
            objections = examine(before, after, self._policy.guard, trust=provenance.trust)
            if objections:
                patch = proven_difference(before, after)
                pending = self._pending.hold(version, patch, objections, provenance)
                return Held(version, pending, objections, patch)
            patch = _proven(before, after, text)
            new = self._new_version(head, text, patch, provenance)
            if self._work.hot.save_version(new):
                return Saved(version + 1, patch, merged)
            if isinstance(self._work, SingleStatement):
                break
        raise NeedsTransaction

    def _head_to_write(self) -> Head | None:
        """Return the head: under its row lock in a transaction, optimistically without one."""
        if isinstance(self._work, SingleStatement):
            return self._work.hot.read_head()
        wanted = sa.select(
            heads.c.version,
            heads.c.document,
            heads.c.updated_by,
            heads.c.checkpoint_version,
            heads.c.patch_bytes,
            heads.c.updated_at,
        ).where(heads.c.owner_id == self._work.owner)
        row = self._work.execute(wanted.with_for_update(key_share=True)).one_or_none()
        return None if row is None else Head(**row._mapping)

    def _proposed(
        self, change: Patch | Document, expected: int | None, version: int, current: Document
    ) -> tuple[Document, bool]:
        """Return the document that the change asks for, and whether others' changes were merged into it."""
        if expected is not None and not 0 <= expected <= version:
            raise VersionConflict(
                f"version {expected} was expected, but version {version} is the newest",
                expected=expected,
                current=version,
            )
        behind = expected is not None and expected < version
        base = self._reconstruct(expected)[0] if behind and expected is not None else current
        wanted = _applied(base, change)
        if not behind:
            return wanted, False
        merged = merge(base, wanted, current)
        if merged.conflicts:
            raise VersionConflict(
                f"version {version} changed the same places as this change to version {expected}",
                expected=expected,
                current=version,
                conflicts=[conflict.as_json() for conflict in merged.conflicts],
            )
        return merged.document, True

    def _new_version(self, head: Head | None, text: str, patch: Patch, provenance: Provenance) -> NewVersion:
        version = 0 if head is None else head.version
        now = self._work.clock()
        patch_text = dumps(patch)
        patch_bytes = _size(patch_text) + (0 if head is None else head.patch_bytes)
        due = (
            head is None
            or patch_bytes > CHECKPOINT_GROWTH * _size(text)
            or version + 1 - head.checkpoint_version >= self._policy.checkpoint_every
        )
        return NewVersion(
            expected=version,
            document=text,
            patch=patch_text,
            checkpoint=text if due else None,
            provenance=canonical(provenance.as_json()),
            updated_by=provenance.actor.value,
            checkpoint_version=version + 1 if head is None or due else head.checkpoint_version,
            patch_bytes=0 if due else patch_bytes,
            # Versions never go back in time, whatever the clocks of two machines say.
            moment=now if head is None else max(now, head.updated_at),
        )

    def _version_at(self, moment: datetime) -> int:
        """Return the newest version saved at or before `moment`: the checkpoints' index first, then the few after."""
        if moment.tzinfo is None:
            raise InvalidInput("a time needs a zone, such as 2026-11-20T09:00:00+00:00")
        mine = snapshots.c.owner_id == self._work.owner
        checkpoint = (
            sa.select(snapshots.c.version)
            .where(mine, snapshots.c.checkpoint.is_not(None), snapshots.c.created_at <= moment)
            .order_by(snapshots.c.created_at.desc(), snapshots.c.version.desc())
            .limit(1)
            .scalar_subquery()
        )
        wanted = sa.select(sa.func.max(snapshots.c.version)).where(
            mine,
            snapshots.c.version >= checkpoint,
            snapshots.c.version < checkpoint + self._policy.checkpoint_every,
            snapshots.c.created_at <= moment,
        )
        return self._work.execute(wanted).scalar() or 0

    def _reconstruct(self, version: int) -> tuple[Document, str | None]:
        """Return the stored document of a version and the text of its provenance."""
        if version == 0:
            return {}, None
        chain = self._work.hot.read_chain(version) if version > 0 else []
        if not chain or chain[-1].version != version:
            raise NotFound(f"there is no version {version}")
        document: Any = loads(chain[0].checkpoint or "{}")
        for link in chain[1:]:
            document = apply_in_place(document, loads(link.patch))
        return document, chain[-1].provenance


def _state(head: Head | None) -> tuple[int, Document]:
    return (0, {}) if head is None else (head.version, loads(head.document))


def _applied(base: Document, change: Patch | Document) -> Document:
    """Return `base` as the change wants it, without the members that are only rendered."""
    if isinstance(change, dict):
        return strip_rendered(change)
    wanted = apply(base, check_patch(change))
    if not isinstance(wanted, dict):
        raise InvalidInput("a patch must leave a JSON object: the document", pointer="")
    return strip_rendered(wanted)


def _proven(before: Document, after: Document, text: str) -> Patch:
    """Return the patch from `before` to `after`, proved by applying it to `before`, which is used up by that."""
    kept = dumps(before)
    patch = difference(before, after)
    if dumps(apply_in_place(before, patch)) == text:
        return patch
    return proven_difference(loads(kept), after)


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _entry(row: Any) -> HistoryEntry:
    return HistoryEntry(
        version=row.version,
        patch=loads(row.patch),
        provenance=Provenance.from_json(loads(row.provenance)),
        created_at=row.created_at,
        patch_bytes=_size(row.patch),
        checkpoint_bytes=None if row.checkpoint is None else _size(row.checkpoint),
    )
