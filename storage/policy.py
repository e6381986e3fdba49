"""Policy: what a database demands of documents, whoever writes them."""

from dataclasses import dataclass, field

from pydantic import BaseModel

from storage.document import MemoryDocument
from storage.guard import GuardRules
from storage.limits import CHECKPOINT_EVERY


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentPolicy:
    """The shape of documents, what the guard holds back, and how often a full copy is kept."""

    schema: type[BaseModel] = MemoryDocument
    """The pydantic model that every document must fit: seed 001's by default, or the host's own."""

    guard: GuardRules = field(default_factory=GuardRules)
    """What is held as a pending version instead of saved."""

    checkpoint_every: int = CHECKPOINT_EVERY
    """Versions between two snapshot checkpoints at the most."""
