"""Asker: who asks in the request that is being answered, and whose memory that makes it about."""

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from mcp.server.context import CallNext, HandlerResult, ServerMiddleware, ServerRequestContext

from memory_tools.access import Named, Principal, Scope
from memory_tools.buckets import bucket
from memory_tools.memory import Memory, UserMemory
from memory_tools.visit import known_person, require_allowed
from storage.configuration import effective_configuration
from storage.errors import NoIdentity, Unauthenticated
from storage.identity import Identity
from storage.provenance import Actor, Provenance

DOOR: Final = "mcp"
"""The door that changes are said to come through."""

PRINCIPAL: Final = "usermemory.principal"
"""Where the HTTP app leaves the Principal in the scope of a request."""

NAMED: Final = "usermemory.named"
"""Where it leaves the person whom the request names, if any."""

BY_AGENT: Final = Provenance(Actor.AGENT, DOOR)
"""Who makes the changes: what comes through this door, a model wrote."""

_asking: ContextVar["Asker | None"] = ContextVar("usermemory_asking", default=None)


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks in one request. Nothing of it outlives the request, and no two requests share one."""

    memory: Memory
    own: UserMemory | None
    """The person whom the operator bound the server to."""

    flow: str | None
    principal: Principal | None = None
    named: Named | None = None

    def person(self, scope: Scope) -> UserMemory:
        """Return the memory of the person, in the hands of an agent that needs `scope`.

        Raises NoIdentity, InsufficientScope, InvalidIdentity, and MemoryDisabled where the organization said so.
        """
        person = self._whose(scope)
        configuration = effective_configuration(self.memory.database, person.identity.organization, self.flow)
        return require_allowed(person, configuration).acting(BY_AGENT)

    @property
    def key(self) -> tuple[str, ...] | None:
        """What requests share that are about one person under one name; None where nobody is named at all.

        Raises as `person` does.
        """
        identity = self._identity()
        return None if identity is None else identity.key

    def known_as(self) -> tuple[str, ...] | None:
        """Return the key of the person as the configuration lets them be known: `key` may stand for several. May block.

        Raises as `person` does.
        """
        identity = self._identity()
        if identity is None:
            return None
        configuration = effective_configuration(self.memory.database, identity.organization, self.flow)
        return require_allowed(UserMemory(self.memory, identity), configuration).key

    @property
    def bucket(self) -> tuple[str, ...] | None:
        """What requests are counted by; None where nobody is named at all. Raises as `person` does."""
        key = self.key
        return None if key is None else bucket(self.principal, key)

    def require(self, scope: Scope) -> None:
        """Raise InsufficientScope where somebody asks by a token that was not given for `scope`."""
        if self.principal is not None:
            self.principal.require(scope)

    def _identity(self) -> Identity | None:
        if self.principal is None:
            return None if self.own is None else self.own.identity
        return self.principal.person(self.named, default_region=self.memory.default_region)

    def _whose(self, scope: Scope) -> UserMemory:
        self.require(scope)
        if self.principal is None:
            if self.own is None:
                raise NoIdentity("Nobody was named: start the server with --user or --phone, or send a bearer token.")
            return self.own
        identity = self.principal.person(self.named, default_region=self.memory.default_region)
        return known_person(self.memory, self.principal, identity)


def asker() -> Asker:
    """Return who asks in the request that is being answered. Raises Unauthenticated outside of one."""
    asking = _asking.get()
    if asking is None:
        raise Unauthenticated
    return asking


def recognizing(memory: Memory, own: UserMemory | None, flow: str | None) -> ServerMiddleware[Any]:
    """Return the middleware that finds out, for each message by itself, who asks."""

    async def recognize(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        scope: Mapping[str, Any] = getattr(ctx.request, "scope", {})
        principal = scope.get(PRINCIPAL)
        # Somebody who came with a request of their own is never taken for the person of the process.
        bound = own if principal is None else None
        token = _asking.set(Asker(memory, bound, flow, principal, scope.get(NAMED)))
        try:
            return await call_next(ctx)
        finally:
            _asking.reset(token)

    return recognize
