"""Directory: who is who. The only module that reads across owners, and only ids, counters and times."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from uuid_utils.compat import uuid7

from storage.database import Database, Search
from storage.dialect import begin_to_write
from storage.errors import IdentityConflict, InvalidIdentity, NotFound
from storage.identity import Identity, parse_phone
from storage.tables import identities, owners
from storage.transaction import NeedsTransaction


@dataclass(frozen=True, slots=True)
class Resolved:
    """Whom an identity names. `other` is the second person, where a verified phone number names somebody else."""

    owner: UUID
    other: UUID | None


def find(database: Database, identity: Identity) -> Resolved | None:
    """Return whom `identity` names, or None when nobody is known by it. Creates and links nothing."""
    return _resolve(database, identity, None)


def resolve(database: Database, identity: Identity) -> Resolved:
    """Return the owner that `identity` names, made on first contact. Any number of racing first contacts make one.

    Resolving never links (caller id can be spoofed, numbers are recycled): a phone number given alone opens its
    owner's memory; beside a user id it neither opens nor links anything, unless the host says that it is verified.
    Then a phone that nobody has joins this user, and a user whom nobody knows joins the phone's owner if that owner
    has no user id yet; where both names point to different people, `other` says so and nothing is linked.
    """
    found = _resolve(database, identity, uuid7())
    assert found is not None  # a candidate was given
    return found


def searching(database: Database, identity: Identity) -> Search:
    """Return what finds whom `identity` names inside a transaction that only reads. Creates and links nothing."""
    return _in_transaction(database, identity, None)


def meeting(database: Database, identity: Identity) -> Search:
    """Return what finds or makes whom `identity` names inside a transaction that writes, by the rules of `resolve`.

    Whoever is made stays only when that transaction commits.
    """
    return _in_transaction(database, identity, uuid7())


def _in_transaction(database: Database, identity: Identity, candidate: UUID | None) -> Search:
    asked = _asked(identity)

    def search(connection: sa.Connection) -> UUID | None:
        if database.on_postgresql:
            row = connection.exec_driver_sql(_RESOLVE_HERE, (*asked, candidate)).one()
            found = None if row.owner is None else Resolved(row.owner, row.other)
        elif len(identity.names) == 1 and (owner := _known(connection, identity)) is not None:
            return owner  # nothing to link and nobody to be in conflict with
        elif candidate is None:
            found = _look_up(connection, *asked)
        else:
            found = _make_on_sqlite(connection, database, *asked, candidate)
        return None if found is None else require_one_person(found)

    return search


def require_one_person(found: Resolved) -> UUID:
    """Return the owner, or raise IdentityConflict naming both people."""
    if found.other is not None:
        raise IdentityConflict(owner=str(found.owner), other=str(found.other))
    return found.owner


def link(database: Database, owner: UUID, kind: str, value: str) -> None:
    """Let `kind` (`user` or `phone`) and `value` name `owner` from now on; an operator's act.

    Raises IdentityConflict when the name belongs to somebody else, NotFound when there is no such owner. Linking what
    is linked already changes nothing. On PostgreSQL it needs the worker's URL.
    """
    value = _checked(kind, value)
    with database.connection() as connection:
        if database.on_postgresql:
            holder = connection.scalar(sa.select(sa.func.usermemory.link(owner, kind, value)))
        else:
            begin_to_write(connection)
            holder = _link_on_sqlite(connection, owner, kind, value, database.clock())
            connection.commit()
        if holder is None:
            raise NotFound("there is no such owner")
        if holder != owner:
            raise IdentityConflict(owner=str(owner), other=str(holder))


def unlink(database: Database, organization: str, kind: str, value: str) -> None:
    """Let the name point to nobody: whoever comes with it next is a first contact. An operator's act.

    Raises NotFound when the name points to nobody already. On PostgreSQL it needs the worker's URL.
    """
    value = _checked(kind, value)
    with database.connection() as connection:
        if database.on_postgresql:
            gone = connection.scalar(sa.select(sa.func.usermemory.unlink(organization, kind, value)))
        else:
            here = sa.delete(identities).where(*_named(organization, kind, value)).returning(identities.c.owner_id)
            gone = connection.scalar(here)
        if gone is None:
            raise NotFound(f"nobody is known by this {kind}")


def _resolve(database: Database, identity: Identity, candidate: UUID | None) -> Resolved | None:
    asked = _asked(identity)
    with suppress(NeedsTransaction), database.single_handle() as handle:
        if database.on_postgresql:
            owner, other = handle.call(_RESOLVE, *asked, candidate)[0]
            return None if owner is None else Resolved(UUID(owner), UUID(other) if other else None)
        if len(identity.names) == 1:  # nothing to link and nobody to be in conflict with
            [(kind, value)] = identity.names
            row = handle.execute(_KNOWN, (identity.organization, kind, value)).fetchone()
            if row is not None or candidate is None:
                return None if row is None else Resolved(UUID(row[0]), None)
    return _resolve_on_sqlite(database, asked, candidate)


def _known(connection: sa.Connection, identity: Identity) -> UUID | None:
    """Return who has the only name of an identity, on SQLite."""
    [(kind, value)] = identity.names
    row = connection.exec_driver_sql(_KNOWN, (identity.organization, kind, value)).one_or_none()
    return None if row is None else UUID(row[0])


def _asked(identity: Identity) -> tuple[str, str | None, str | None, bool]:
    names = dict(identity.names)
    return identity.organization, names.get("user"), names.get("phone"), identity.phone_verified


_RESOLVE = "SELECT * FROM usermemory.resolve($1, $2, $3, $4, $5)"

_RESOLVE_HERE = "SELECT owner, other FROM usermemory.resolve(%s, %s, %s, %s, %s)"

_KNOWN = "SELECT owner_id FROM identities WHERE organization_id = ? AND kind = ? AND value = ?"


def _resolve_on_sqlite(
    database: Database, asked: tuple[str, str | None, str | None, bool], candidate: UUID | None
) -> Resolved | None:
    with database.connection() as connection:
        found = _look_up(connection, *asked)
        if candidate is None or (found is not None and not _would_link(connection, found, *asked)):
            return found
        begin_to_write(connection)  # looked up again inside: somebody may have been faster
        try:
            found = _make_on_sqlite(connection, database, *asked, candidate)
        except BaseException:
            connection.rollback()
            raise
        connection.commit()
        return found


def _look_up(
    connection: sa.Connection, organization: str, user: str | None, phone: str | None, verified: bool
) -> Resolved | None:
    """Answer by the table of `resolve` in migration 0002, without writing."""
    by_user, by_phone = (
        _holder(connection, organization, "user", user),
        _holder(connection, organization, "phone", phone),
    )
    owner = by_user or (by_phone if user is None else None)
    if owner is None and verified and by_phone is not None and not _has_user(connection, by_phone):
        owner = by_phone
    if owner is None:
        return None
    others = {_survivor(connection, named) for named in (by_user, by_phone) if named} - {_survivor(connection, owner)}
    return Resolved(owner, next(iter(others), None) if verified and user is not None else None)


def _would_link(
    connection: sa.Connection,
    found: Resolved,
    organization: str,
    user: str | None,
    phone: str | None,
    verified: bool,
) -> bool:
    if not (verified and user is not None and phone is not None):
        return False
    return None in (_holder(connection, organization, "user", user), _holder(connection, organization, "phone", phone))


def _make_on_sqlite(
    connection: sa.Connection,
    database: Database,
    organization: str,
    user: str | None,
    phone: str | None,
    verified: bool,
    candidate: UUID,
) -> Resolved | None:
    found = _look_up(connection, organization, user, phone, verified)
    owner = candidate if found is None else found.owner
    now = database.clock()
    if found is None:
        connection.execute(
            sa.insert(owners).values(id=owner, organization_id=organization, survivor_id=owner, created_at=now)
        )
    linking = verified and user is not None and phone is not None
    names = [("user", user), ("phone", phone)] if linking else [("phone", phone) if user is None else ("user", user)]
    for kind, value in names:
        if value is not None and _holder(connection, organization, kind, value) is None:
            row = {"organization_id": organization, "kind": kind, "value": value, "owner_id": owner, "created_at": now}
            connection.execute(sa.insert(identities).values(row))
    return _look_up(connection, organization, user, phone, verified)


def _checked(kind: str, value: str) -> str:
    """Return the value as identities keep it; raises InvalidIdentity for a kind or a number that is none."""
    if kind == "user":
        return Identity.of(user=value).names[0][1]
    if kind == "phone" and (number := parse_phone(value)):
        return number.key
    raise InvalidIdentity("a person is linked by a user id, or by a phone number with its country code")


def _link_on_sqlite(connection: sa.Connection, owner: UUID, kind: str, value: str, now: datetime) -> UUID | None:
    me = connection.execute(
        sa.select(owners.c.organization_id, owners.c.survivor_id).where(owners.c.id == owner)
    ).one_or_none()
    if me is None:
        return None
    holder = _holder(connection, me.organization_id, kind, value)
    if holder is not None:
        survivor = _survivor(connection, holder)
        return owner if survivor == me.survivor_id else survivor
    connection.execute(
        sa.insert(identities).values(
            organization_id=me.organization_id, kind=kind, value=value, owner_id=me.survivor_id, created_at=now
        )
    )
    return owner


def _named(organization: str, kind: str, value: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        identities.c.organization_id == organization,
        identities.c.kind == kind,
        identities.c.value == value,
    )


def _holder(connection: sa.Connection, organization: str, kind: str, value: str | None) -> UUID | None:
    if value is None:
        return None
    return connection.scalar(sa.select(identities.c.owner_id).where(*_named(organization, kind, value)))


def _survivor(connection: sa.Connection, owner: UUID) -> UUID | None:
    return connection.scalar(sa.select(owners.c.survivor_id).where(owners.c.id == owner))


def _has_user(connection: sa.Connection, owner: UUID) -> bool:
    wanted = sa.select(identities.c.value).where(identities.c.owner_id == owner, identities.c.kind == "user")
    return connection.scalar(wanted.limit(1)) is not None
