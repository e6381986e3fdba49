"""Append: one change becomes the next version of a document, or says why not."""

from collections.abc import Callable
from contextlib import suppress

from storage.canonical import loads
from storage.chain import reconstruct
from storage.change import Change, change_between
from storage.document import strip_rendered
from storage.errors import InvalidInput, UserMemoryError, VersionConflict
from storage.hot import Head, NewVersion
from storage.json_types import Document, Patch
from storage.last_seen import LastSeen
from storage.limits import CHECKPOINT_GROWTH
from storage.merge import merge
from storage.outcome import Held, Outcome, Saved, Unchanged
from storage.patch import apply, check_patch
from storage.pending import PendingStore
from storage.policy import DocumentPolicy
from storage.provenance import Provenance, provenance_text
from storage.tables import instant
from storage.transaction import NeedsTransaction, SingleStatement, Work

Proposal = Callable[[], Patch | Document]
"""Returns what is wanted: a patch, or the whole new document. Called again when the first attempt lost a race."""


class Append:
    """The way of a change into the log of one owner: merge, check, guard, save by compare-and-set."""

    def __init__(self, work: Work, pending: PendingStore, policy: DocumentPolicy, last_seen: LastSeen) -> None:
        self._work = work
        self._pending = pending
        self._policy = policy
        self._last_seen = last_seen

    def __call__(self, proposal: Proposal, provenance: Provenance, expected: int | None) -> Outcome:
        """Save what is proposed; see `SnapshotStore.append` for outcomes and errors.

        Without a transaction the save is optimistic, and a lost race raises NeedsTransaction. Inside one the head's
        row is locked first, so that only two first versions can race: there is no row to lock yet.
        """
        if isinstance(self._work, SingleStatement):
            if self._last_seen.expects_a_race():
                raise NeedsTransaction
            return self._by_guess(proposal, provenance, expected) or self._certainly(
                self._attempt(*self._read_head(), proposal, provenance, expected)
            )
        outcome = self._attempt(*self._lock_head(), proposal, provenance, expected)
        return outcome or self._certainly(self._attempt(*self._lock_head(), proposal, provenance, expected))

    def _by_guess(self, proposal: Proposal, provenance: Provenance, expected: int | None) -> Outcome | None:
        """Save on top of what this process saved last; None where only the truth can tell what becomes of it."""
        seen = self._last_seen.take(self._work.hot.connection)
        if seen is None:
            return None
        outcome: Outcome | None = None
        with suppress(UserMemoryError):  # what the guess refuses, the truth may accept
            outcome = self._attempt(*seen, proposal, provenance, expected)
            if outcome is None:
                self._last_seen.guessed_wrong()
        return outcome if isinstance(outcome, Saved) else None

    def _certainly(self, outcome: Outcome | None) -> Outcome:
        """Return the outcome; a lost race is settled under the head's row lock, in a transaction."""
        if outcome is None:
            self._last_seen.race_lost()
            raise NeedsTransaction
        return outcome

    def _attempt(
        self,
        head: Head | None,
        before: Document,
        proposal: Proposal,
        provenance: Provenance,
        expected: int | None,
    ) -> Outcome | None:
        """Save the proposal as the version after `head`, whose document is `before`; None when the race was lost."""
        version = 0 if head is None else head.version
        wanted, merged = self._wanted(proposal(), expected, version, before)
        change = change_between(before, "{}" if head is None else head.document, wanted)
        if change is None:
            return Unchanged(version)
        objections = self._policy.examine(change, trust=provenance.trust)
        if objections:
            pending = self._pending.hold(version, change.patch, objections, provenance)
            return Held(version, pending, objections, change.patch)
        new = self._new_version(head, change, provenance)
        if not self._work.hot.save_version(new):
            return None
        if isinstance(self._work, SingleStatement):  # a transaction may still fail to commit
            self._last_seen.remember(new.as_head(), change.after, self._work.hot.connection)
        return Saved(version + 1, change.patch, merged)

    def _read_head(self) -> tuple[Head | None, Document]:
        head = self._work.hot.read_head()
        return head, {} if head is None else loads(head.document)

    def _lock_head(self) -> tuple[Head | None, Document]:
        head = self._work.hot.lock_head()
        return head, {} if head is None else loads(head.document)

    def _wanted(
        self, change: Patch | Document, expected: int | None, version: int, current: Document
    ) -> tuple[Document, bool]:
        """Return the document that the change asks for, and whether others' changes were merged into it."""
        if expected is None or expected == version:
            return _applied(current, change), False
        if not 0 <= expected < version:
            raise VersionConflict(
                f"version {expected} was expected, but version {version} is the newest",
                expected=expected,
                current=version,
            )
        base, _ = reconstruct(self._work, expected)
        merged = merge(base, _applied(base, change), current)
        if merged.conflicts:
            raise VersionConflict(
                f"version {version} changed the same places as this change to version {expected}",
                expected=expected,
                current=version,
                conflicts=[conflict.as_json() for conflict in merged.conflicts],
            )
        return merged.document, True

    def _new_version(self, head: Head | None, change: Change, provenance: Provenance) -> NewVersion:
        """Return the rows to write, with a full copy where a snapshot checkpoint is due."""
        version = 0 if head is None else head.version
        patch_bytes = size(change.patch_text) + (0 if head is None else head.patch_bytes)
        due = (
            head is None
            or patch_bytes > CHECKPOINT_GROWTH * size(change.text)
            or version + 1 - head.checkpoint_version >= self._policy.checkpoint_every
        )
        now = self._work.clock()
        return NewVersion(
            expected=version,
            document=change.text,
            patch=change.patch_text,
            checkpoint=change.text if due else None,
            provenance=provenance_text(provenance),
            updated_by=provenance.actor.value,
            checkpoint_version=version + 1 if head is None or due else head.checkpoint_version,
            patch_bytes=0 if due else patch_bytes,
            # Versions never go back in time, whatever the clocks of two machines say.
            moment=now if head is None else max(now, instant(head.updated_at)),
        )


def size(text: str) -> int:
    """Return the bytes of `text` as UTF-8."""
    return len(text) if text.isascii() else len(text.encode())


def _applied(base: Document, change: Patch | Document) -> Document:
    """Return `base` as the change wants it, without the members that are only rendered."""
    if isinstance(change, dict):
        return strip_rendered(change)
    wanted = apply(base, check_patch(change))
    if not isinstance(wanted, dict):
        raise InvalidInput("a patch must leave a JSON object: the document", pointer="")
    return strip_rendered(wanted)
