"""Outcomes: what became of a change."""

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from storage.guard import Objection
from storage.json_types import Json, Patch


@dataclass(frozen=True, slots=True)
class Saved:
    """The change is version `version`."""

    status: ClassVar[str] = "saved"
    version: int
    patch: Patch
    merged: bool = False
    """Whether changes that others saved meanwhile were kept beside it."""


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The document was like that already: no version was made."""

    status: ClassVar[str] = "unchanged"
    version: int


@dataclass(frozen=True, slots=True)
class Held:
    """The guard objected: version `version` stays in force, and the change waits as pending version `pending_id`."""

    status: ClassVar[str] = "held"
    version: int
    pending_id: str
    objections: tuple[Objection, ...]
    patch: Patch


Outcome: TypeAlias = Saved | Unchanged | Held
"""What `append` returns."""


def outcome_as_json(outcome: Outcome) -> Json:
    """Return the outcome as it is kept for an idempotency key."""
    kept: dict[str, Json] = {"status": outcome.status, "version": outcome.version}
    if isinstance(outcome, Saved):
        kept |= {"patch": outcome.patch, "merged": outcome.merged}
    elif isinstance(outcome, Held):
        kept |= {
            "pending_id": outcome.pending_id,
            "patch": outcome.patch,
            "objections": [objection.as_json() for objection in outcome.objections],
        }
    return kept


def outcome_from_json(kept: Json) -> Outcome:
    """Return the outcome that `outcome_as_json` wrote."""
    match kept["status"]:
        case "saved":
            return Saved(kept["version"], kept["patch"], kept["merged"])
        case "held":
            objections = tuple(Objection.from_json(objection) for objection in kept["objections"])
            return Held(kept["version"], kept["pending_id"], objections, kept["patch"])
        case _:
            return Unchanged(kept["version"])
