"""Policy: what a database demands of documents, whoever writes them."""

from dataclasses import dataclass, field

from pydantic import BaseModel

from storage.change import Change
from storage.document import MemoryDocument, check_document, members_stand_alone
from storage.guard import GuardRules, Objection, examine
from storage.limits import CHECKPOINT_EVERY
from storage.trust import Trust


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentPolicy:
    """The shape of documents, what the guard holds back, and how often a full copy is kept."""

    schema: type[BaseModel] = MemoryDocument
    """The pydantic model that every document must fit: seed 001's by default, or the host's own."""

    guard: GuardRules = field(default_factory=GuardRules)
    """What is held as a pending version instead of saved."""

    checkpoint_every: int = CHECKPOINT_EVERY
    """Versions between two snapshot checkpoints at the most."""

    def examine(self, change: Change, *, trust: Trust) -> tuple[Objection, ...]:
        """Return why the change must wait for somebody's consent; raises InvalidDocument for a wrong shape."""
        check_document(change.narrow_after if members_stand_alone(self.schema) else change.after, self.schema)
        if trust >= self.guard.hold_below and change.takes_nothing() and not self._touches_protected(change):
            return ()
        narrowed = change.narrow_before, change.narrow_after
        return examine(change.before, change.after, self.guard, trust=trust, narrowed=narrowed)

    def _touches_protected(self, change: Change) -> bool:
        return any(name in change.narrow_before or name in change.narrow_after for name in self.guard.protected)
