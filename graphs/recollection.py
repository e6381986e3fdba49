"""Recollections: what a run is told of a person's memory, and what it may do with it."""

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from memory_tools.changes import changes_text
from memory_tools.known import Known, read_known
from memory_tools.presentation import memory_text, said_text
from memory_tools.visit import Visit
from storage.configuration import MemoryConfiguration
from storage.document import strip_rendered
from storage.errors import Erased
from storage.stores import Stores

BUDGET: Final = 1_500
"""Tokens of memory in a prompt: two thirds for what is known, a sixth each for changes and for what was said lately."""

LEAST_BUDGET: Final = 600
"""Tokens below which a block could say nothing."""


@dataclass(frozen=True, slots=True)
class Recollection:
    """What was read at the beginning of a run. It holds memory: no checkpoint may keep it."""

    configuration: MemoryConfiguration
    allowed: bool
    """Whether the run may use memory at all."""

    known: Known | None
    """What is known; None where nobody has met the person."""

    texts: tuple[str, ...]
    """The blocks for the prompt, the one that changes least first."""

    sent: dict[str, Any] | None
    """Which version the first block shows and, hashed, whose: all that a checkpoint may keep."""


def recollect(
    seen: Visit, *, conversation: str | None = None, sent: dict[str, Any] | None = None, budget: int = BUDGET
) -> Recollection:
    """Read what is known in one visit and write it for a prompt of at most `budget` tokens.

    Where version n was sent in this thread (`sent` of its last recollection), the first block is the same text again,
    so that a provider's cache keeps its prefix, and what changed since stands behind it; until that is too much, and
    the present is sent anew. Messages of `conversation` itself are not repeated.
    """
    if seen.owner is None:
        return Recollection(seen.configuration, seen.allowed, None, (), None)
    known = read_known(seen.stores, except_conversation=conversation)
    shown, changes = _shown(seen.stores, known, _version_sent(sent, seen.owner), budget)
    texts = (memory_text(shown, budget=budget * 2 // 3), changes, said_text(known.said, budget=budget // 6))
    here = {"person": fingerprint(seen.owner), "version": shown.version}
    return Recollection(seen.configuration, True, known, tuple(filter(None, texts)), here)


def _shown(stores: Stores, known: Known, sent: int, budget: int) -> tuple[Known, str]:
    """Return what the first block shows, and what changed since."""
    if 0 < sent < known.version:
        before = strip_rendered(stores.snapshots.as_of(sent).document)
        changes = changes_text(before, known.document, since=sent, budget=budget // 6)
        if changes is not None:
            return replace(known, version=sent, document=before), changes
    return known, ""


def _version_sent(sent: dict[str, Any] | None, owner: UUID) -> int:
    """Return the version that this person's block showed last in the thread; 0 where it was somebody else's."""
    if not sent or sent.get("person") != fingerprint(owner) or type(sent.get("version")) is not int:
        return 0
    return int(sent["version"])


def require_same_person(stores: Stores, sent: dict[str, Any] | None) -> None:
    """Raise Erased where the one whom these stores belong to is not who was remembered before: who was is gone.

    Else what somebody wanted erased would come back with the rest of their run.
    """
    if sent and sent.get("person") not in [fingerprint(owner) for owner in stores.owners]:
        raise Erased


def fingerprint(owner: UUID) -> str:
    """Return what tells a person from others without saying who it is."""
    return sha256(owner.bytes).hexdigest()[:16]
