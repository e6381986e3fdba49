"""Run: what a host's framework knows about a run, and whose memory that makes it about."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, Self, TypeAlias

from memory_tools.caller import caller, organization_said
from memory_tools.context import PHONE, USER, VERIFIED, member
from memory_tools.memory import Memory, UserMemory
from storage.errors import InvalidIdentity, NoIdentity
from storage.identity import DEFAULT_ORGANIZATION

AUTHENTICATED: Final = "langgraph_auth_user_id"
"""Where a LangGraph server puts the id of the authenticated user among the configurable members of a run."""


class ServerUser(Protocol):
    """The user whom a LangGraph server authenticated; perhaps with an `organization`."""

    @property
    def identity(self) -> str:
        """The user id."""
        ...


@dataclass(frozen=True, slots=True)
class Run:
    """What a host's framework knows about a run; each member may name the person."""

    context: Any = None
    """What the host gave as the context of the run."""

    server_user: ServerUser | None = None
    """The user whom a LangGraph server authenticated, if there is a server."""

    configurable: Mapping[str, Any] = field(default_factory=dict)
    """The configurable members of the run: `langgraph_auth_user_id`, else `user_id`, `phone`, `organization`."""

    @classmethod
    def of(cls, runtime: Any, config: Mapping[str, Any]) -> Self:
        """Return what a runtime of LangGraph (None: there is none) and the config of a run say."""
        server = getattr(runtime, "server_info", None)
        return cls(getattr(runtime, "context", None), getattr(server, "user", None), config.get("configurable") or {})


Identify: TypeAlias = Callable[[Memory, Run], UserMemory]
"""Says whose memory a run is about; a host may give its own."""


def identify(memory: Memory, run: Run) -> UserMemory:
    """Return the memory of the person whom the run names: by its context, else the server's user, else configurable.

    The first that names anybody decides, all of it: an organization is never taken from one and a user from another.
    A context that has `metadata` names a caller by it, as telephony does (`memory_tools.caller`). Raises NoIdentity
    where nobody is named, InvalidIdentity where the first name is not acceptable.
    """
    if _names_somebody(run.context):
        return person(memory, run.context)
    by_metadata = caller(run.context, default_region=memory.default_region)
    if by_metadata is not None:
        return person(memory, by_metadata)
    if run.server_user is not None and member(run.server_user, "is_authenticated") is not False:
        organization = member(run.server_user, "organization")
        user = member(run.server_user, "identity")
        return memory.of(user=user, organization=DEFAULT_ORGANIZATION if organization is None else organization)
    if run.configurable.get(AUTHENTICATED):
        return memory.of(user=run.configurable[AUTHENTICATED])
    # A server without authentication sends both ids empty; an organization that is empty is refused.
    return person(memory, {name: value for name, value in run.configurable.items() if value != "" or name not in USER})


def person(memory: Memory, context: object) -> UserMemory:
    """Return the memory of the person whom the context of a run names.

    The context is a MemoryContext, any object with these attributes, a mapping with these keys, in snake_case or
    camelCase (as a subgraph a host's own context arrives unchanged), or a UserMemory that was bound already. Raises
    NoIdentity where nobody is named, InvalidIdentity where the name is not acceptable.
    """
    if isinstance(context, UserMemory):
        if context.memory is not memory:
            raise NoIdentity("The person in the context belongs to another open memory.")
        return context
    user, phone = member(context, *USER), member(context, *PHONE)
    if user is None and phone is None:
        raise NoIdentity
    if not isinstance(phone, str | None):
        raise InvalidIdentity("The phone number of an identity is a text.")
    organization, verified = organization_said(context), member(context, *VERIFIED)
    return memory.of(
        user=user,
        phone=phone,
        organization=DEFAULT_ORGANIZATION if organization is None else organization,
        phone_verified=False if verified is None else verified,
    )


def _names_somebody(context: object) -> bool:
    return isinstance(context, UserMemory) or member(context, *USER) is not None or member(context, *PHONE) is not None
