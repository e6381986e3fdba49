"""`usermemory migrate`: the schema this program needs."""

import click
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from storage.dialect import make_engine, translated
from storage.migrate import HEAD, migrate, revision_of
from storage.settings import DatabaseSettings
from usermemory.commands.group import examples
from usermemory.commands.options import on_database
from usermemory.commands.screen import Screen


@click.command(
    epilog=examples(
        "usermemory migrate --database postgresql://postgres@localhost/memory",
        "USERMEMORY_APP_PASSWORD=... usermemory migrate --database postgresql://...",
    )
)
@click.option(
    "--role-prefix",
    metavar="NAME",
    default=DatabaseSettings().role_prefix,
    show_default=True,
    help="PostgreSQL: how the names of the five roles begin.",
)
@on_database
def command(url: str, screen: Screen, role_prefix: str) -> None:
    """Bring a database to the schema this program needs.

    On PostgreSQL, where the URL is an administrator's, it also makes the roles, whose passwords are taken from
    USERMEMORY_APP_PASSWORD and USERMEMORY_WORKER_PASSWORD; a role without one keeps what it has. Prints the URL for
    the application, without the password, and on stderr the worker's. SQLite needs no command: it is migrated when it
    is opened.
    """
    settings = DatabaseSettings(role_prefix=role_prefix)
    if _is_behind(url, settings):
        screen.note(f"Migrating to {HEAD} ...")
    try:
        application_url = migrate(url, settings)
    except SQLAlchemyError as error:
        raise translated(error) from None
    screen.answer({"url": application_url, "migration": HEAD}, lambda: [application_url])
    parsed = sa.make_url(application_url)
    if parsed.drivername == "postgresql":
        workers_url = parsed.set(username=f"{role_prefix}_worker").render_as_string()
        screen.note(f"Workers and operators use {workers_url}")


def _is_behind(url: str, settings: DatabaseSettings) -> bool:
    """Tell whether there is something to migrate; where nobody can say, `migrate` will tell why."""
    engine = make_engine(url, settings)
    try:
        with engine.connect() as connection:
            return revision_of(connection) != HEAD
    except (SQLAlchemyError, engine.dialect.loaded_dbapi.Error):
        return False
    finally:
        engine.dispose()
