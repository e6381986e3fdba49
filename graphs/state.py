"""State: what the nodes of the update loop hand on, and the result.

Whatever holds memory is an `UntrackedValue`: LangGraph never writes it to a checkpoint, of no graph it is in. What only
the nodes need is `Private` besides: whatever else writes the state down finds it empty.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from langgraph.channels import UntrackedValue
from typing_extensions import TypedDict

from graphs.batch import Batch
from graphs.private import Private
from graphs.summarizer import Summary
from storage.json_types import Document, Patch
from storage.provenance import Provenance, TokenUsage

Status: TypeAlias = Literal["saved", "unchanged", "held", "failed", "nothing_new"]
"""What became of a run."""


@dataclass(frozen=True, slots=True)
class Recalled:
    """The version a run starts from, with the document as it is stored."""

    version: int
    document: Document


@dataclass(frozen=True, slots=True)
class Change:
    """What the run wants saved."""

    document: Document
    provenance: Provenance


@dataclass(slots=True)
class Bill:
    """What it cost to ask a summarizer that broke off: LangGraph begins the node again with the state as it was."""

    tokens: TokenUsage | None = None


class UpdateInput(TypedDict, total=False):
    """What a graph of its own may be given: messages to keep first. Without any it works on what is kept already."""

    messages: Annotated[list[Any], UntrackedValue]
    conversation: Annotated[str | None, UntrackedValue]


class UpdateOutput(TypedDict, total=False):
    """The result: JSON values only."""

    status: Status
    version: int
    """The version in force now."""

    pending_id: str | None
    """The pending version that waits, where the change was held."""

    patch: Annotated[Patch, UntrackedValue]
    """What was saved, or is held; empty where nothing was."""

    objections: Annotated[list[dict[str, Any]], UntrackedValue]
    """Why the guard holds the change."""

    error: str | None
    """The code of what went wrong. Only after `summarizer_failed` the messages count as seen."""

    reason: str | None
    """After `summarizer_failed`, why the last answer was of no use: a code such as `not_json`, where one is known."""

    tokens: dict[str, int] | None
    """What the model was paid for, `{"input", "output"}`, also in vain."""

    more: bool
    """Whether messages are left for the next run."""


class UpdateState(UpdateOutput, total=False):
    """What the nodes read and write beside the result."""

    recalled: Annotated[Private[Recalled], UntrackedValue]
    batch: Annotated[Private[Batch], UntrackedValue]
    summary: Annotated[Private[Summary], UntrackedValue]
    change: Annotated[Private[Change], UntrackedValue]
    bill: Annotated[Private[Bill], UntrackedValue]
    round: Annotated[int, UntrackedValue]
    """How often the run began again; 0 in the first round, and when it is over."""


class GatherState(UpdateState, total=False):
    """What `gather` reads: inside another graph, the messages are those of the host."""

    messages: list[Any]
    conversation: str | None
