"""Context: whose memory a run is about. Never what a model says: what the host said when it began the run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from memory_tools.memory import Memory, UserMemory
from storage.errors import InvalidIdentity, NoIdentity
from storage.identity import DEFAULT_ORGANIZATION

AUTHENTICATED: Final = "langgraph_auth_user_id"
"""Where a LangGraph server puts the id of the authenticated user among the configurable members of a run."""


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


@dataclass(frozen=True, slots=True)
class Run:
    """What a host's framework knows about a run; each member may name the person."""

    context: object = None
    """What the host gave as the context of the run."""

    server_user: object = None
    """The user whom a LangGraph server authenticated, with an `identity` and perhaps an `organization`."""

    configurable: Mapping[str, Any] = field(default_factory=dict)
    """The configurable members of the run: `langgraph_auth_user_id`, else `user_id`, `phone`, `organization`."""


Identify: TypeAlias = Callable[[Memory, Run], UserMemory]
"""Says whose memory a run is about; a host may give its own."""


def identify(memory: Memory, run: Run) -> UserMemory:
    """Return the memory of the person whom the run names: by its context, else the server's user, else configurable.

    The first that names anybody decides, all of it: an organization is never taken from one and a user from another.
    Raises NoIdentity where nobody is named, InvalidIdentity where the first name is not acceptable.
    """
    if _names_somebody(run.context):
        return person(memory, run.context)
    if run.server_user is not None and _member(run.server_user, "is_authenticated", True):
        organization = _member(run.server_user, "organization", DEFAULT_ORGANIZATION)
        return memory.of(user=_member(run.server_user, "identity", None), organization=organization)
    if run.configurable.get(AUTHENTICATED):
        return memory.of(user=run.configurable[AUTHENTICATED])
    # A server without authentication sends both ids empty.
    return person(memory, {name: value for name, value in run.configurable.items() if value != ""})


def _names_somebody(context: object) -> bool:
    if isinstance(context, UserMemory):
        return True
    return _member(context, "user_id", None) is not None or _member(context, "phone", None) is not None
