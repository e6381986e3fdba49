"""Security: what PostgreSQL has on record, compared with the one list of what may be there."""

from collections.abc import Iterator, Set

import sqlalchemy as sa

from storage.catalog import Asker, facts, who_asks
from storage.errors import UnsafeRole
from storage.migrate import HEAD, revision_of
from storage.rights import Fact, expected
from storage.roles import LOGIN_ROLES, NOLOGIN_ROLES


def require_safe(connection: sa.Connection) -> None:
    """Raise UnsafeRole when the role of this connection could see past row security, or `findings` finds anything.

    Where there is no schema, or one of another migration, only the role is looked at: `require_head` says the rest.
    """
    asker = who_asks(connection.connection.driver_connection)
    if objections := _objections(asker):
        raise UnsafeRole(
            f"this URL's role {'; '.join(objections)}: use the application's URL that `usermemory migrate` printed"
        )
    if asker.schema_owner is not None and revision_of(connection) == HEAD and (found := findings(connection)):
        raise UnsafeRole(f"row security is not as it should be: {'; '.join(found)}")


def findings(connection: sa.Connection) -> tuple[str, ...]:
    """Return what is wrong, one sentence for each object that is missing or too many, has too much or too little.

    For a schema at migration HEAD; about 10 ms, as the application or as the worker. It changes nothing.
    """
    driver = connection.connection.driver_connection
    asker = who_asks(driver)
    about_the_role = tuple(f"this session's role {objection}" for objection in _objections(asker))
    if asker.schema_owner is None:
        return (*about_the_role, "schema usermemory is missing")
    prefix = asker.schema_owner.removesuffix("_owner")
    found = facts(driver, [f"{prefix}_{role}" for role in (*NOLOGIN_ROLES, *LOGIN_ROLES)])
    on_supabase = ("function usermemory.signed_in_owner()", f"the owner {prefix}_resolver") in found
    return (*about_the_role, *_differences(found, expected(prefix, on_supabase=on_supabase)))


def _objections(asker: Asker) -> tuple[str, ...]:
    """Return why the role is not one to work with: what it is itself, or else what it may become."""
    if own := tuple(power for role, power in asker.powers if role == asker.role):
        return (f"{asker.role} {' and '.join(own)}, and could see past row security",)
    if asker.powers:
        return tuple(f"{asker.role} may become {role}, which {power}" for role, power in asker.powers)
    if asker.schema_owner is None:
        return ()
    meant = tuple(f"{asker.schema_owner.removesuffix('_owner')}_{role}" for role in LOGIN_ROLES)
    return () if asker.role in meant else (f"{asker.role} is neither {' nor '.join(meant)}",)


def _differences(found: Set[Fact], wanted: Set[Fact]) -> Iterator[str]:
    there, listed = {name for name, _ in found}, {name for name, _ in wanted}
    for name in sorted(listed - there):
        yield f"{name} is missing"
    for name in sorted(there - listed):
        yield f"{name} is not on the list of what may be there"
    for name, fact in sorted(found - wanted):
        if name in listed:
            yield f"{name} has {fact}, which it should not have"
    for name, fact in sorted(wanted - found):
        if name in there:
            yield f"{name} should have {fact}"
