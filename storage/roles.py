"""Roles: who may do what on PostgreSQL. Nobody who runs the product owns a table or sees past row security."""

import re

import sqlalchemy as sa
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_random

from storage.errors import InvalidInput

NOLOGIN_ROLES = ("owner", "resolver", "eraser")
"""`owner` owns the tables and sees no row; `resolver` finds people; `eraser` deletes the bound person's rows."""

LOGIN_ROLES = ("app", "worker")
"""`app` works for the bound person; `worker` also scans for work (never identities). Its URL stays out of the doors."""

LOCK_TIMEOUT = "60s"
"""How long a writer waits for another one's lock on PostgreSQL, before DatabaseUnavailable."""

_CREATE = """
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN
    CREATE ROLE {role} {login} NOINHERIT;
  END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;  -- roles belong to the cluster: another database's turn
END $$
"""


def checked_prefix(prefix: str) -> str:
    """Return `prefix` when it is a plain lower-case identifier of at most 40 characters; else InvalidInput."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", prefix):
        raise InvalidInput(f"the role prefix {prefix!r} is not a lower-case identifier of at most 40 characters")
    return prefix


def create_roles(connection: sa.Connection, prefix: str, passwords: dict[str, str]) -> None:
    """Create the five roles and the schema where they are missing, as an administrator (superuser or CREATEROLE).

    `passwords` holds those of the roles that log in (`app`, `worker`); a role without one keeps what it has.
    """
    run = connection.exec_driver_sql
    for role in (*NOLOGIN_ROLES, *LOGIN_ROLES):
        login = "LOGIN" if role in LOGIN_ROLES else "NOLOGIN"
        run(_CREATE.format(role=f"{prefix}_{role}", login=login))
    for role in LOGIN_ROLES:  # a writer inside another one of the same person would wait for itself for ever
        _alter(connection, f"{prefix}_{role} SET lock_timeout = '{LOCK_TIMEOUT}'")
    for role, password in passwords.items():
        literal = connection.scalar(sa.text("SELECT quote_literal(:password)"), {"password": password})
        _alter(connection, f"{prefix}_{role} PASSWORD {literal}".replace("%", "%%"))
    for role in NOLOGIN_ROLES:  # the migration runs as them; a superuser may anyway
        run(f"GRANT {prefix}_{role} TO CURRENT_USER WITH INHERIT FALSE, SET TRUE")
    run(f"CREATE SCHEMA IF NOT EXISTS usermemory AUTHORIZATION {prefix}_owner")


@retry(
    retry=retry_if_exception_type(sa.exc.DBAPIError), stop=stop_after_attempt(8), wait=wait_random(0, 0.2), reraise=True
)
def _alter(connection: sa.Connection, change: str) -> None:
    """Alter a role, again where another database of the cluster alters it at the same moment (SQLSTATE XX000)."""
    connection.exec_driver_sql(f"ALTER ROLE {change}")
