"""API keys: bearer tokens that an operator makes, as Python calls them, and the verifier that knows them.

A key is `um_`, its id, `_` and 32 random bytes. The database has the SHA-256 of the whole: a slow hash protects what
people think up and attackers can guess, and nobody guesses 256 random bits. It also makes the lookup one question for
one exact digest, with no secret to compare.
"""

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import Final

from memory_tools.access import NAMING, Principal, Scope, known_scopes
from memory_tools.memory import Memory
from storage.api_keys import ApiKey, create_api_key, find_api_key, list_api_keys, revoke_api_key
from storage.errors import InvalidInput, NoIdentity
from storage.identity import DEFAULT_ORGANIZATION, Identity
from storage.page import Page

SECRET_BYTES: Final = 32
"""Random bytes in a key."""

ID_BYTES: Final = 6
"""Random bytes in the id of a key, twice as many characters."""

_FORM: Final = re.compile(r"um_[0-9a-f]{12}_[A-Za-z0-9_-]{43}")

READ_AND_WRITE: Final = (Scope.READ, Scope.WRITE)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made. `token` is what its holder sends, and is not kept: nobody can show it again."""

    key: ApiKey
    token: str = field(repr=False)


class ApiKeys:
    """The keys in a database: made, listed and revoked by operators, verified at the doors.

    On PostgreSQL operators need the worker's URL, and the doors the application's.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def create(
        self,
        *,
        organization: str = DEFAULT_ORGANIZATION,
        user: str | None = None,
        phone: str | None = None,
        scopes: Iterable[Scope | str] = READ_AND_WRITE,
        expires_in: timedelta | None = None,
        name: str | None = None,
    ) -> NewKey:
        """Make a key of one person; with a scope of NAMING one of nobody, whose requests name people of `organization`.

        The person is made where nobody knows them yet, and the key goes when they are erased. `name` is what the
        operator calls it. Raises NoIdentity where a person has to be named, InvalidInput where none may be, for scopes
        that are none and for a lifetime out of bounds, InvalidIdentity and InvalidName.
        """
        wanted = frozenset(scopes)
        given = known_scopes(wanted)
        if not given or given != wanted:
            raise InvalidInput(f"a key is given for some of these scopes: {', '.join(Scope)}")
        identity = self._holder(given, organization, user, phone)
        key_id = secrets.token_hex(ID_BYTES)
        token = f"um_{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}"
        key = create_api_key(
            self._memory.database,
            key_id=key_id,
            digest=_digest(token),
            organization=organization,
            scopes=" ".join(scope for scope in Scope if scope in given),
            identity=identity,
            name=name,
            expires_in=expires_in,
        )
        return NewKey(key, token)

    def all(self, organization: str | None = None, *, limit: int = 100, after: str | None = None) -> Page[ApiKey, str]:
        """Return the keys of an organization, or of every one, oldest first; those that open nothing any more too."""
        return list_api_keys(self._memory.database, organization, limit=limit, after=after)

    def revoke(self, key_id: str) -> None:
        """Let a key open nothing from now on. Raises NotFound when there is none of this id."""
        revoke_api_key(self._memory.database, key_id)

    def verify(self, token: str) -> Principal | None:
        """Return who holds the key; None for one that is not valid, and without a question for what has another form.

        Raises DatabaseUnavailable where the database cannot say.
        """
        if not _FORM.fullmatch(token):
            return None
        held = find_api_key(self._memory.database, _digest(token))
        if held is None:
            return None
        scopes = known_scopes(held.scopes.split())
        return Principal(f"key {held.id}", held.organization, scopes, held.identity, held.owner)

    def _holder(
        self, scopes: frozenset[Scope], organization: str, user: str | None, phone: str | None
    ) -> Identity | None:
        named = user is not None or phone is not None
        if not NAMING.isdisjoint(scopes):
            if named:
                raise InvalidInput("a key that acts for others belongs to nobody: name no person")
            return None
        if not named:
            raise NoIdentity
        region = self._memory.default_region
        return Identity.of(organization=organization, user=user, phone=phone, default_region=region)


def _digest(token: str) -> str:
    return sha256(token.encode()).hexdigest()
