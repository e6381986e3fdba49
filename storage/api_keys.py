"""API keys: who may ask at a door by a secret that an operator made. Kept as digests, never as what was given out.

On PostgreSQL they are made, listed and revoked with the worker's URL; the application looks one up by its exact digest
and lists none.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from storage.database import Database
from storage.directory import meeting
from storage.errors import InvalidInput, NotFound
from storage.identity import Identity
from storage.names import check_name
from storage.page import Page, page_size
from storage.tables import api_keys, instant
from storage.transaction import NeedsTransaction

LIFETIME_LIMIT: Final = timedelta(days=36_500)
"""How long a key that ends can be valid: a hundred years."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is on record about a key. Neither the key itself nor whose it is."""

    id: str
    organization: str
    name: str | None
    """What the operator calls it."""

    scopes: str
    """What it may be used for, as words between spaces."""

    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def is_valid(self, now: datetime) -> bool:
        """Whether the key opens anything at that moment."""
        return _is_valid(self.expires_at, self.revoked_at, now)


@dataclass(frozen=True, slots=True)
class HeldKey:
    """A valid key, and whom it opens."""

    id: str
    organization: str
    scopes: str
    identity: Identity | None
    """The person whose key it is, by one name; None for a key that acts for others."""

    owner: UUID | None
    """The same person, as stored."""


def create_api_key(
    database: Database,
    *,
    key_id: str,
    digest: str,
    organization: str,
    scopes: str,
    identity: Identity | None,
    name: str | None = None,
    expires_in: timedelta | None = None,
) -> ApiKey:
    """Keep a new key of the person, who is made if nobody knows them yet; without one it belongs to nobody.

    An operator's act: on PostgreSQL it needs the worker's URL and raises UnsafeRole with another. Raises InvalidName
    for an organization or a name that is none, InvalidInput for a lifetime that is not positive or over LIFETIME_LIMIT,
    and IdentityConflict where the identity names two people.
    """
    check_name(organization, "organization id")
    if name is not None:
        check_name(name, "name of the key")
    if expires_in is not None and not timedelta() < expires_in <= LIFETIME_LIMIT:
        raise InvalidInput(f"a key is valid for more than nothing and at the most {LIFETIME_LIMIT.days:,} days")
    now = database.clock()
    key = ApiKey(key_id, organization, name, scopes, now, None if expires_in is None else now + expires_in)
    row = {
        "id": key_id,
        "digest": digest,
        "organization_id": organization,
        "name": name,
        "scopes": scopes,
        "created_at": now,
        "expires_at": key.expires_at,
    }
    if identity is None:
        with database.connection() as connection:
            connection.execute(sa.insert(api_keys).values(row))
    else:
        with database.transaction(meeting(database, identity), writes=True) as transaction:
            transaction.execute(sa.insert(api_keys).values(row | {"owner_id": transaction.owner}))
    return key


def list_api_keys(
    database: Database, organization: str | None = None, *, limit: int = 100, after: str | None = None
) -> Page[ApiKey, str]:
    """Return the keys of an organization, or of all, oldest first, behind the id `after`. An operator's act.

    What was revoked or has expired stays on the list. Raises NotFound when there is no key `after`.
    """
    wanted = sa.select(*_ON_RECORD).order_by(api_keys.c.created_at, api_keys.c.id).limit(page_size(limit) + 1)
    if organization is not None:
        wanted = wanted.where(api_keys.c.organization_id == check_name(organization, "organization id"))
    with database.connection() as connection:
        if after is not None:
            since = connection.scalar(sa.select(api_keys.c.created_at).where(_has(after)))
            if since is None:
                raise NotFound("there is no such key")
            later = api_keys.c.created_at > since
            wanted = wanted.where(later | ((api_keys.c.created_at == since) & (api_keys.c.id > after)))
        rows = connection.execute(wanted).all()
    found = tuple(ApiKey(*row) for row in rows[:limit])
    return Page(found, found[-1].id if len(rows) > limit else None)


def revoke_api_key(database: Database, key_id: str) -> None:
    """Let the key open nothing from now on; a key that was revoked before keeps its time. An operator's act.

    Raises NotFound when there is no such key.
    """
    column = api_keys.c.revoked_at
    revoked_at = sa.func.coalesce(column, sa.literal(database.clock(), column.type))
    with database.connection() as connection:
        if connection.execute(sa.update(api_keys).where(_has(key_id)).values(revoked_at=revoked_at)).rowcount == 0:
            raise NotFound("there is no such key")


def find_api_key(database: Database, digest: str) -> HeldKey | None:
    """Return the key that has this digest; None where there is none, or it was revoked or has expired.

    None, too, where its person is known by no name any more: whoever was unlinked cannot be named. Asked anew each
    time, in one statement, so that what an operator revoked is refused at once.
    """
    with suppress(NeedsTransaction), database.single_handle() as handle:
        rows = handle.call(_CALL, digest) if database.on_postgresql else handle.execute(_QUERY, (digest,)).fetchall()
        return _held(rows, database.clock())
    with database.connection() as connection:
        return _held(connection.exec_driver_sql(_QUERY, (digest,)).all(), database.clock())


_ON_RECORD: Final = (
    api_keys.c.id,
    api_keys.c.organization_id,
    api_keys.c.name,
    api_keys.c.scopes,
    api_keys.c.created_at,
    api_keys.c.expires_at,
    api_keys.c.revoked_at,
)
"""The columns of an ApiKey, in its order."""

_CALL: Final = "SELECT id, organization, scopes, expires_at, revoked_at, kind, value, owner FROM usermemory.api_key($1)"

_QUERY: Final = """
SELECT k.id, k.organization_id, k.scopes, k.expires_at, k.revoked_at, i.kind, i.value, o.survivor_id
  FROM api_keys k
  LEFT JOIN owners o ON o.id = k.owner_id
  LEFT JOIN owners b ON b.survivor_id = o.survivor_id
  LEFT JOIN identities i ON i.owner_id = b.id
  WHERE k.digest = ? AND (k.owner_id IS NULL OR i.value IS NOT NULL)
  ORDER BY i.kind DESC, i.value LIMIT 1
"""
"""As the function of migration 0006: one name of the key's person, a user id before a phone number."""


def _has(key_id: str) -> sa.ColumnElement[bool]:
    """Return the condition for the key of an id. What is no id may be a whole key, so no message repeats it."""
    if not (isinstance(key_id, str) and key_id.isascii() and key_id.isalnum()):
        raise NotFound("there is no such key")
    return api_keys.c.id == key_id


def _is_valid(expires_at: datetime | None, revoked_at: datetime | str | None, now: datetime) -> bool:
    return revoked_at is None and (expires_at is None or now < expires_at)


def _held(rows: Sequence[Sequence[Any]], now: datetime) -> HeldKey | None:
    for key_id, organization, scopes, expires_at, revoked_at, kind, value, owner in rows:
        if _is_valid(None if expires_at is None else instant(expires_at), revoked_at, now):
            identity = None if kind is None else Identity.of(organization=organization, **{kind: value})
            return HeldKey(key_id, organization, scopes, identity, None if owner is None else UUID(str(owner)))
    return None
