"""Access: who asks at a door that strangers can reach, and what they may do there. Shared by MCP and HTTP."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol
from uuid import UUID

from storage.errors import InsufficientScope, NoIdentity
from storage.identity import Identity

TOKEN_LIMIT: Final = 8_192
"""Bytes of a bearer token; a longer one is refused before anybody looks into it."""


class Scope(StrEnum):
    """What a token may be given for."""

    READ = "memory:read"
    WRITE = "memory:write"
    ACT_AS = "memory:act-as"
    """Name the person anew in each request, within one organization: for gateways that people call."""

    OPERATE = "memory:operate"
    """Do what only an operator may, for people of one organization, each named by the request. Reads nothing else."""


NAMING: Final = frozenset({Scope.ACT_AS, Scope.OPERATE})
"""The scopes of those who act for others: each of their requests names the person."""


def known_scopes(words: Iterable[str]) -> frozenset[Scope]:
    """Return the scopes among `words`; what is none of ours says nothing here."""
    given = frozenset(words)
    return frozenset(scope for scope in Scope if scope in given)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. Made by a verifier, and never from what a request says of itself."""

    actor: str
    """Who holds the token, such as `key 3f9a...` or a token's issuer and subject; for logs, never for a model."""

    organization: str
    """The only organization that can be reached."""

    scopes: frozenset[Scope]

    identity: Identity | None = None
    """The person whose memory it is; None where each request names one, which takes a scope of NAMING."""

    owner: UUID | None = None
    """The same person, as stored, where the verifier has just looked that up."""

    @property
    def names_people(self) -> bool:
        """Whether each request names the person: who acts for others has no memory that it could fall back on."""
        return not NAMING.isdisjoint(self.scopes)

    def require(self, scope: Scope) -> None:
        """Raise InsufficientScope where the token was not given for `scope`."""
        if scope not in self.scopes:
            raise InsufficientScope(f"this needs a token with the scope {scope}", scope=scope)

    def person(self, named: "Named | None" = None, *, default_region: str | None = None) -> Identity:
        """Return whose memory is asked for: the token's own person, or for one that acts for others who is named.

        Raises InsufficientScope where a request names somebody and the token may not, or names another organization;
        NoIdentity where nobody is named; InvalidIdentity where the name is not acceptable.
        """
        if not self.names_people:
            if named is not None:
                raise InsufficientScope("only a token with the scope memory:act-as names a person", scope=Scope.ACT_AS)
            if self.identity is None:
                raise NoIdentity
            return self.identity
        if named is None:
            raise NoIdentity("Nobody was named: this token acts for others, so each request has to name a person.")
        if named.organization not in (None, self.organization):
            raise InsufficientScope("the token acts in another organization", scope=Scope.ACT_AS)
        return Identity.of(
            organization=self.organization,
            user=named.user,
            phone=named.phone,
            phone_verified=named.phone_verified,
            default_region=default_region,
        )


@dataclass(frozen=True, slots=True)
class Named:
    """The person whom a request names."""

    user: str | None = None
    phone: str | None = None
    phone_verified: bool = False
    organization: str | None = None


class Verifier(Protocol):
    """Says who holds a bearer token. May block: doors call it in a thread."""

    def verify(self, token: str) -> Principal | None:
        """Return who holds the token; None where it is not valid, or of another kind than this verifier knows."""
        ...


def verified(verifiers: Iterable[Verifier], token: str) -> Principal | None:
    """Return what the first verifier says that knows the token; None where none does, or it is over TOKEN_LIMIT."""
    if not token or len(token.encode(errors="surrogatepass")) > TOKEN_LIMIT:
        return None
    return next(filter(None, (each.verify(token) for each in verifiers)), None)
