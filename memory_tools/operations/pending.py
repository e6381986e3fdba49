"""Operations on pending versions: changes that the guard held back. Only an operator decides on them."""

from typing import Annotated

from pydantic import Field

from memory_tools.memory import UserMemory
from memory_tools.operation import Audience, Effect, Input, Omittable, PageSize, operation
from storage.outcome import Outcome
from storage.page import Page
from storage.pending import PendingVersion

_EXAMPLE = {"id": "0192f0c1-0000-7000-8000-000000000000"}


class PendingWanted(Input):
    """One page of what waits, oldest first."""

    limit: PageSize = 20
    after: Annotated[Omittable[str], Field(description="The last id of the page before.")]


class NamedPending(Input):
    """One pending version."""

    id: Annotated[str, Field(description="The id of a pending version.")]


@operation(Effect.READ, "GET /pending", Audience.OPERATOR, example={"limit": 5})
def list_pending_versions(memory: UserMemory, ask: PendingWanted) -> Page[PendingVersion, str]:
    """List the changes that were held back, oldest first. Use it to find what needs a decision."""
    return memory.pending.waiting(limit=ask.limit, after=ask.after)


@operation(Effect.READ, "GET /pending/{id}", Audience.OPERATOR, example=_EXAMPLE)
def get_pending_version(memory: UserMemory, ask: NamedPending) -> PendingVersion:
    """Show one held change with its patch and the guard's objections. Use it before deciding."""
    return memory.pending.get(ask.id)


@operation(Effect.WRITE, "POST /pending/{id}/accept", Audience.OPERATOR, example=_EXAMPLE)
def accept_pending_version(memory: UserMemory, ask: NamedPending) -> Outcome:
    """Save a held change as the next version, merged with what was saved since. Use it when the change is right."""
    return memory.pending.accept(ask.id)


@operation(Effect.ERASE, "POST /pending/{id}/reject", Audience.OPERATOR, example=_EXAMPLE)
def reject_pending_version(memory: UserMemory, ask: NamedPending) -> None:
    """Drop a held change; the memory stays as it is. Use it when the change is wrong."""
    memory.pending.reject(ask.id)
