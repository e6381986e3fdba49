"""Context: whose memory a run of a graph is about."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from memory_tools.memory import Memory, UserMemory
from storage.errors import InvalidIdentity, NoIdentity
from storage.identity import DEFAULT_ORGANIZATION


@dataclass(frozen=True, slots=True)
class MemoryContext:
    """The identity of a run, as JSON values only: a LangGraph server builds it from a request."""

    organization: str = DEFAULT_ORGANIZATION
    user_id: str | None = None
    phone: str | None = None
    phone_verified: bool = False


def person(memory: Memory, runtime_context: object) -> UserMemory:
    """Return the memory of the person whom the context of a run names.

    The context is a MemoryContext, any object with these attributes, a mapping with these keys (as a subgraph a host's
    own context arrives unchanged), or a UserMemory that was bound already. Raises NoIdentity where nobody is named,
    InvalidIdentity where the name is not acceptable.
    """
    if isinstance(runtime_context, UserMemory):
        if runtime_context.memory is not memory:
            raise NoIdentity("The person in the context belongs to another open memory.")
        return runtime_context
    user, phone = _member(runtime_context, "user_id", None), _member(runtime_context, "phone", None)
    if user is None and phone is None:
        raise NoIdentity
    if not isinstance(phone, str | None):
        raise InvalidIdentity("The phone number of an identity is a text.")
    return memory.of(
        user=user,
        phone=phone,
        organization=_member(runtime_context, "organization", DEFAULT_ORGANIZATION),
        phone_verified=_member(runtime_context, "phone_verified", False),
    )


def _member(context: object, name: str, default: object) -> Any:
    return context.get(name, default) if isinstance(context, Mapping) else getattr(context, name, default)
