"""Identity: who asks in a request, and whose memory that makes it about. There is this one way to find out."""

import inspect
import logging
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

from starlette.requests import Request

from http_api.session import SessionResolver, SignedCookie
from memory_tools.access import Named, Principal, Scope, Verifier
from memory_tools.bearer import bearer_tokens, principal_of, require_no_token
from memory_tools.buckets import bucket
from memory_tools.memory import Memory, UserMemory
from memory_tools.named import person_named
from memory_tools.visit import known_person, require_allowed
from storage.configuration import effective_configuration
from storage.errors import (
    AccessDenied,
    DatabaseUnavailable,
    MemoryDisabled,
    NotFound,
    Unauthenticated,
)
from storage.identity import Identity
from storage.provenance import Actor, Provenance

DOOR: Final = "http"
"""The door that changes are said to come through."""

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing: a page of another origin can send them, and cannot read what they are answered."""

READ_AND_WRITE: Final = frozenset({Scope.READ, Scope.WRITE})
"""What a person may do with their own memory."""

BY_USER: Final = Provenance(Actor.USER, DOOR)
BY_AGENT: Final = Provenance(Actor.AGENT, DOOR)
BY_OPERATOR: Final = Provenance(Actor.OPERATOR, DOOR)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks in one request. Nothing of it outlives the request, and no two requests share one."""

    memory: Memory
    principal: Principal
    provenance: Provenance
    """Who makes the changes: the person in a session, an operator, else an agent."""

    named: Named | None = None
    own: UserMemory | None = None
    """The person whom the operator bound the app to, if that is who asks."""

    @property
    def organization(self) -> str:
        """The only organization that can be reached."""
        return self.principal.organization

    @property
    def names_nobody(self) -> bool:
        """Whether neither token, session nor header says whose memory is meant: the path or the body may."""
        return self.named is None and (self.principal.names_people or self.principal.identity is None)

    def bucket(self, person: UserMemory | None = None) -> tuple[str, ...]:
        """Return what a request is counted by that is about whom it names, or about `person`, named by path or body.

        Where nobody is named it counts for its token.
        """
        if person is None and self.names_nobody:
            return ("", self.principal.actor)
        return bucket(self.principal, (self._identity(None) if person is None else person).key)

    def may(self, scope: Scope) -> bool:
        """Tell whether the token was given for `scope`."""
        return scope in self.principal.scopes

    def require(self, scope: Scope) -> None:
        """Raise InsufficientScope where the token was not given for `scope`."""
        self.principal.require(scope)

    def person(self, scope: Scope, user: str | None = None) -> UserMemory:
        """Return the memory of the person, in the hands of whoever asks and needs `scope`.

        `user` is the user id that a path or a body names: it has to be the asker's own, else there is NotFound, as for
        what does not exist. Who acts for others names the person by it. Raises NoIdentity, InsufficientScope,
        InvalidIdentity, and MemoryDisabled where the organization said so.
        """
        self.require(scope)
        person = self.own
        if person is None or self.named is not None or user not in (None, person.identity.user):
            person = known_person(self.memory, self.principal, self._identity(user))
        configuration = effective_configuration(self.memory.database, person.identity.organization)
        return require_allowed(person, configuration).acting(self.provenance)

    def owned(self, person: UserMemory, scope: Scope) -> UserMemory:
        """Return the memory of a person who was found without a name, in the hands of whoever asks.

        Raises NotFound for another organization, InsufficientScope and MemoryDisabled.
        """
        self.require(scope)
        if person.identity.organization != self.organization:
            raise NotFound
        if not effective_configuration(self.memory.database, self.organization).enabled:
            raise MemoryDisabled
        return person.acting(self.provenance)

    def _identity(self, user: str | None) -> Identity:
        named = self.named
        if user is not None and self.principal.names_people:
            named = named or Named()
            if named.user not in (None, user):
                raise NotFound
            named = Named(user, named.phone, named.phone_verified, named.organization)
        identity = self.principal.person(named, default_region=self.memory.default_region)
        if user is not None and identity.user != user:
            raise NotFound
        return identity


class Recognition:
    """Finds out who asks: by a bearer token, by a session, or because the app belongs to one person."""

    def __init__(
        self, memory: Memory, verifiers: Collection[Verifier], session: SessionResolver | None, own: UserMemory | None
    ) -> None:
        self._memory = memory
        self._verifiers = tuple(verifiers)
        self._session = session
        self._own = own
        self._waits = session is not None and not isinstance(session, SignedCookie) and not _is_async(session)

    async def session(self, request: Request) -> Identity | None:
        """Return whose session a request belongs to; None where something else decides who asks.

        That is a bearer token, whatever cookies came with it, or that the app belongs to one person. Raises
        Unauthenticated where no session is found, and for any token where the app belongs to one person;
        DatabaseUnavailable where nobody can say.
        """
        authorizations = request.headers.getlist("authorization")
        if self._own is not None:
            require_no_token(authorizations)
        if self._own is not None or bearer_tokens(authorizations):
            return None
        identity = None if self._session is None else await self._resolved(request, self._session)
        if identity is None:
            raise Unauthenticated
        return identity

    def asker(self, request: Request, session: Identity | None) -> Asker:
        """Return who asks, once `session` was found out. May block: it is called in a thread.

        Raises Unauthenticated, InvalidIdentity, InsufficientScope for a name that may not be given, AccessDenied for a
        write by cookie that did not come from a page of this server, and DatabaseUnavailable where nobody can say.
        """
        if self._own is not None:
            asker = self._bound(self._own)
        elif session is not None:
            asker = self._by_session(request, session)
        else:
            asker = self._by_token(request)
        named = person_named(request.headers.getlist)  # after who asks is known: nobody else is told what is wrong
        if named is None:
            return asker
        asker.principal.person(named, default_region=self._memory.default_region)  # may they, and is it a name?
        return replace(asker, named=named)

    def _bound(self, own: UserMemory) -> Asker:
        principal = Principal("who asks from this machine", own.identity.organization, READ_AND_WRITE, own.identity)
        return Asker(self._memory, principal, BY_AGENT, own=own)

    def _by_token(self, request: Request) -> Asker:
        principal = principal_of(self._verifiers, request.headers.getlist("authorization"))
        return Asker(self._memory, principal, BY_OPERATOR if Scope.OPERATE in principal.scopes else BY_AGENT)

    def _by_session(self, request: Request, identity: Identity) -> Asker:
        if request.method not in SAFE_METHODS and not _from_own_page(request):
            raise AccessDenied("Changes by cookie come from a page of this server: send Origin.")
        return Asker(self._memory, Principal("session", identity.organization, READ_AND_WRITE, identity), BY_USER)

    async def _resolved(self, request: Request, session: SessionResolver) -> Identity | None:
        try:
            said = await self._memory.threads.run(lambda: session(request)) if self._waits else session(request)
            identity = await said if inspect.isawaitable(said) else said
            if not isinstance(identity, Identity | None):
                raise TypeError
        except Exception as error:  # noqa: BLE001 - a door: an error of the host's own may quote the cookie
            _log.error("a session cannot be looked up: %s", type(error).__name__)
            raise DatabaseUnavailable("Sessions cannot be looked up at the moment: try again later.") from None
        return identity


def _is_async(session: SessionResolver) -> bool:
    return inspect.iscoroutinefunction(session) or inspect.iscoroutinefunction(getattr(session, "__call__", None))  # noqa: B004 - its method is looked at, not called


def _from_own_page(request: Request) -> bool:
    """Tell whether a browser says so. An Origin that came this far is the server's own or an allowed one."""
    if "origin" in request.headers:
        return True
    return request.headers.getlist("sec-fetch-site") == ["same-origin"]
