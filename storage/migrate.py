"""Migrate: bring a database to the schema this program needs. SQLite on open, PostgreSQL only when asked."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from storage.dialect import is_postgresql, make_engine, translated
from storage.errors import NotMigrated, UnsafeRole
from storage.roles import LOGIN_ROLES, checked_prefix, create_roles
from storage.settings import DatabaseSettings

HEAD = "0007"
"""The newest migration, which this program needs."""

_LOCK = 0x75736572_6D656D00
"""The advisory lock under which one process migrates while the others wait."""


def migrate(url: str, settings: DatabaseSettings | None = None, *, to: str = HEAD) -> str:
    """Bring the database at `url` to migration `to`, forward or back, and return the URL the application should use.

    PostgreSQL: `url` is an administrator's (a superuser, or CREATEROLE with CREATE on the database). Roles are created
    where they are missing; the passwords of those that log in come from USERMEMORY_APP_PASSWORD and
    USERMEMORY_WORKER_PASSWORD, and the URL that comes back holds no password. Two processes may migrate at once.
    """
    settings = settings or DatabaseSettings()
    engine = make_engine(url, settings)
    try:
        if not is_postgresql(engine):
            with migrating_sqlite(engine) as connection:
                run_migrations(connection, to, settings.role_prefix)
            return url
        prefix = checked_prefix(settings.role_prefix)
        passwords = {role: os.environ.get(f"USERMEMORY_{role.upper()}_PASSWORD", "") for role in LOGIN_ROLES}
        with engine.connect() as connection, _one_at_a_time(connection):
            create_roles(connection, prefix, {role: password for role, password in passwords.items() if password})
            connection.exec_driver_sql("BEGIN")
            connection.exec_driver_sql(f"SET LOCAL ROLE {prefix}_owner")
            run_migrations(connection, to, prefix)
            connection.exec_driver_sql("COMMIT")
        return _application_url(engine.url, f"{prefix}_app")
    except (sa.exc.DBAPIError, engine.dialect.loaded_dbapi.Error) as error:
        refusal = translated(error, engine.url)
        if isinstance(refusal, UnsafeRole):
            refusal = UnsafeRole(
                f"this administrator may not act for the roles {settings.role_prefix}_*: "
                "migrate as whoever made them, or as a superuser"
            )
        raise refusal from error  # an administrator's work: nobody's memory is in the message
    finally:
        engine.dispose()


def run_migrations(connection: sa.Connection, to: str, prefix: str) -> None:
    """Run what lies between where the database is and `to`, inside the caller's transaction."""
    from alembic import command  # noqa: PLC0415 - 0.7 s of CPU that an up-to-date database does not need
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "storage:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes.update(connection=connection, role_prefix=prefix)
    if to != "base" and (revision_of(connection) or "") <= to:
        command.upgrade(config, to)
    else:
        command.downgrade(config, to)


def revision_of(connection: sa.Connection) -> str | None:
    """Return the migration the database is at, or None when it was never migrated."""
    if not connection.exec_driver_sql(_READABLE[is_postgresql(connection)]).scalar():
        return None
    table = "usermemory.migrations" if is_postgresql(connection) else "migrations"
    revision: str | None = connection.exec_driver_sql(f"SELECT version_num FROM {table}").scalar()
    return revision


_READABLE = {
    False: "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'migrations'",
    True: "SELECT has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')"
    " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = 'usermemory' AND c.relname = 'migrations'",
}
"""Whether the record of migrations is there and may be read: at 0001 the application may not, yet."""


def require_head(connection: sa.Connection) -> None:
    """Raise NotMigrated unless the database is at the migration this program needs."""
    found = revision_of(connection)
    if found != HEAD:
        raise NotMigrated(
            f"the database is at migration {found or 'none'} and this program needs {HEAD}: "
            "run `usermemory migrate` with an administrator's URL"
            if found is None or found < HEAD
            else f"the database is at migration {found}, newer than {HEAD}: install a newer usermemory"
        )


def _application_url(url: sa.URL, role: str) -> str:
    there = sa.URL.create("postgresql", role, None, url.host, url.port, url.database, url.query)
    return there.render_as_string()


@contextmanager
def migrating_sqlite(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Hold SQLite's write lock, so that a second process waits and then finds the work done."""
    with engine.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.exec_driver_sql("ROLLBACK")
            raise
        connection.exec_driver_sql("COMMIT")


@contextmanager
def _one_at_a_time(connection: sa.Connection) -> Iterator[None]:
    connection.exec_driver_sql(f"SELECT pg_advisory_lock({_LOCK})")
    try:
        yield
    finally:
        connection.rollback()
        connection.exec_driver_sql(f"SELECT pg_advisory_unlock({_LOCK})")
