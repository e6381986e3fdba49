"""Dialect: what differs between the databases at run time; who must know which one it is asks here."""

import re
import sqlite3
from collections.abc import Callable, Mapping
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.compiler import compiles
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random

from storage.errors import (
    Conflict,
    DatabaseError,
    DatabaseUnavailable,
    Erased,
    InvalidInput,
    NotFound,
    UnsafeRole,
    UserMemoryError,
)
from storage.settings import DatabaseSettings
from storage.tables import SCHEMA

_BEGIN_IN_ORDER: Final = "BEGIN; SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off"

CHECKPOINT_SECONDS: Final = 1
"""How long SQLite waits for others who read, when it is to let go of what was deleted; writers wait meanwhile."""


def make_engine(url: str, settings: DatabaseSettings) -> sa.Engine:
    """Return an engine whose driver commits each statement by itself; transactions are begun by name.

    `sqlite:///file`, `sqlite://` (in memory, one connection), `postgresql://...`. Raises InvalidInput for another
    kind of database and DatabaseError when its driver is not installed.
    """
    try:
        parsed = sa.make_url(url.replace("postgres://", "postgresql://", 1) if url.startswith("postgres://") else url)
    except ArgumentError as error:
        raise InvalidInput("the database URL cannot be read: use sqlite:///FILE or postgresql://...") from error
    kind = parsed.drivername
    if kind in ("sqlite", "sqlite+pysqlite"):
        return _sqlite_engine(parsed, settings)
    if kind in ("postgresql", "postgresql+psycopg"):
        return _postgresql_engine(parsed, settings)
    raise InvalidInput(f"{kind} is not supported: use sqlite:///FILE or postgresql://...")


def is_postgresql(engine: sa.Engine | sa.Connection) -> bool:
    """Whether the engine or connection talks to PostgreSQL."""
    return engine.dialect.name == "postgresql"


def is_in_memory(engine: sa.Engine) -> bool:
    """Whether the database is gone with its one connection."""
    return engine.dialect.name == "sqlite" and engine.url.database in (None, "", ":memory:")


def _sqlite_engine(url: sa.URL, settings: DatabaseSettings) -> sa.Engine:
    in_memory = url.database in (None, "", ":memory:")
    engine = sa.create_engine(
        url,
        poolclass=sa.QueuePool,
        pool_size=1 if in_memory else settings.pool_size,
        max_overflow=0,
        hide_parameters=True,
        pool_timeout=settings.pool_timeout,
        connect_args={"isolation_level": None, "check_same_thread": False, "timeout": settings.busy_timeout},
    )

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: Any) -> None:
        _patiently(settings.busy_timeout)(connection.execute, "PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {settings.synchronous}")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA secure_delete = ON")

    return engine


def _patiently(seconds: float) -> Retrying:
    """Try again while SQLite is busy. Of two that make one new file, it refuses the slower at once at the mode."""

    def busy(error: BaseException) -> bool:
        return getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))

    return Retrying(
        retry=retry_if_exception(busy), stop=stop_after_delay(seconds), wait=wait_random(0, 0.05), reraise=True
    )


def _postgresql_engine(url: sa.URL, settings: DatabaseSettings) -> sa.Engine:
    try:
        engine = sa.create_engine(
            url.set(drivername="postgresql+psycopg"),
            isolation_level="AUTOCOMMIT",
            pool_size=settings.pool_size,
            max_overflow=0,
            hide_parameters=True,
            pool_timeout=settings.pool_timeout,
            pool_pre_ping=False,
        )
    except ImportError as error:
        raise DatabaseError("PostgreSQL needs its driver: pip install 'usermemory[postgres]'") from error
    return engine.execution_options(schema_translate_map={None: SCHEMA})


def begin_to_write(connection: sa.Connection, *, in_order_of_an_index: bool = False) -> None:
    """Begin a transaction that will write: SQLite takes its write lock now, PostgreSQL when it needs one.

    `in_order_of_an_index` keeps PostgreSQL from reading and sorting a whole table where the first rows of an index are
    enough: it does so where a table has grown much since its rows were last counted.
    """
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql(_BEGIN_IN_ORDER if in_order_of_an_index else "BEGIN")


def begin_to_read(connection: sa.Connection) -> None:
    """Begin a transaction that only reads, all of it from one moment on SQLite. `end_reading` comes after its end."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA query_only = ON")
        connection.exec_driver_sql("BEGIN")
    else:
        connection.exec_driver_sql("BEGIN READ ONLY")


def end_reading(driver: Any) -> None:
    """Let a driver's connection write again, once its transaction has ended."""
    if isinstance(driver, sqlite3.Connection):
        driver.execute("PRAGMA query_only = OFF")


def roll_back(driver: Any) -> None:
    """Undo the transaction that is open on a driver's connection, if one is.

    Not through psycopg: its rollback also deallocates every prepared statement of the connection.
    """
    if isinstance(driver, sqlite3.Connection):
        driver.rollback()
    elif driver.info.transaction_status.name in ("INTRANS", "INERROR"):
        driver.pgconn.exec_(b"ROLLBACK")


def require_whole(driver: Any) -> None:
    """Raise DatabaseError when a statement of the transaction failed: PostgreSQL would commit nothing, silently."""
    if not isinstance(driver, sqlite3.Connection) and driver.info.transaction_status.name == "INERROR":
        raise DatabaseError("a statement of this transaction failed, so nothing of it was kept")


def is_lost(driver: Any) -> bool:
    """Whether the server has gone away from under a driver's connection."""
    return bool(getattr(driver, "closed", False))


_BY_SQLSTATE: dict[str, tuple[type[UserMemoryError], str | None]] = {
    "UM002": (Erased, None),
    "UM003": (NotFound, "there is no such owner"),
    "23503": (Erased, None),
    "42501": (UnsafeRole, "the database role is not allowed to do this: operators use the worker's URL"),
    "40001": (Conflict, None),
    "40P01": (Conflict, None),
    "55P03": (DatabaseUnavailable, "another writer held the row for too long"),
    "25006": (DatabaseError, "this transaction only reads"),
}


_UNREACHABLE: Final[tuple[tuple[re.Pattern[str], str, str], ...]] = (
    (
        re.compile(r'FATAL:\s+(database ".*" does not exist|no such database)'),
        "there is no such database",
        ": {database}",
    ),
    (re.compile(r"FATAL:\s+password authentication failed"), "the password was not accepted", " for {role}"),
    (re.compile(r'FATAL:\s+role ".*" does not exist'), "there is no such role", ": {role}"),
    (re.compile(r"FATAL:\s+no pg_hba\.conf entry"), "the server lets nobody in this way", ": {role}"),
    (re.compile(r"no password supplied"), "no password was given", " for {role}"),
    (re.compile(r"failed to resolve host|could not translate host name"), "there is no such host", ": {host}"),
    (re.compile(r"timeout expired|connection timeout|timed out"), "it took too long", " to reach {host}:{port}"),
    (re.compile(r"Connection refused|No such file or directory"), "nobody listens", " at {host}:{port}"),
)
"""What a failed connection's message has in it, what we say of that, and what we add where names may be told.

libpq gives no SQLSTATE for these. A server that speaks another language than English leaves the reason unsaid.
"""

_NAME: Final = re.compile(r"[\w.:-]{1,253}")
"""A name that may be told; of a URL whose password was not escaped, a part of that may be taken for one."""


def translated(error: BaseException, opening: sa.URL | None = None) -> UserMemoryError:
    """Return our error for one of a driver. It never quotes values: a driver's message may.

    `opening` is the URL that is being opened. Whoever opens it knows its names, so they are told then, and never the
    password; later on a stranger may be told, over HTTP.
    """
    cause: Any = getattr(error, "orig", None) or error
    state: str | None = getattr(cause, "sqlstate", None)
    if state is not None:
        kind, message = _BY_SQLSTATE.get(state, (DatabaseError, f"the database refused the request (SQLSTATE {state})"))
        if state[:2] in ("08", "53", "57", "58"):
            kind, message = DatabaseUnavailable, f"the database does not answer as it should (SQLSTATE {state})"
        return kind(message)
    name = getattr(cause, "sqlite_errorname", "")
    if name == "SQLITE_CONSTRAINT_FOREIGNKEY":
        return Erased()
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return DatabaseUnavailable("another writer held the database for too long")
    if name == "SQLITE_READONLY":
        return DatabaseError("this transaction, or this database file, only reads")
    if name.startswith(("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY", "SQLITE_NOTADB")):
        place = "" if opening is None else f": {opening.database}"
        return DatabaseUnavailable(f"the database file cannot be used ({name}){place}")
    if isinstance(error, sa.exc.TimeoutError):
        return DatabaseUnavailable("no database connection became free in time")
    if name:
        return DatabaseError(f"the database refused the request ({name})")
    for pattern, reason, names in _UNREACHABLE:
        if pattern.search(str(cause)):
            return _unreachable(reason, names, opening)
    return DatabaseUnavailable()


def _unreachable(reason: str, names: str, opening: sa.URL | None) -> DatabaseUnavailable:
    """Return the error with our own words for why no connection came about."""
    told = {} if opening is None else {"role": opening.username, "database": opening.database, "host": opening.host}
    are_plain = all(name is None or _NAME.fullmatch(name) for name in told.values())
    used = [name for name in told if f"{{{name}}}" in names]
    if used and are_plain and all(told[name] for name in used):
        reason += names.format(**told, port=opening.port or 5432 if opening is not None else "")
    return DatabaseUnavailable(f"The database does not answer: {reason}.")


def overwrite_deleted(connection: sa.Connection) -> None:
    """Let nothing that was deleted stay in the files of SQLite: its log keeps pages as they were, for a while.

    A transaction that was begun before may still have to read them; after CHECKPOINT_SECONDS it is not waited for any
    longer. Then the log is written back when it has grown, or when the database is closed.
    """
    driver: Any = connection.connection.driver_connection
    [(patience,)] = driver.execute("PRAGMA busy_timeout").fetchall()
    driver.execute(f"PRAGMA busy_timeout = {CHECKPOINT_SECONDS * 1_000}")
    try:
        driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        driver.execute(f"PRAGMA busy_timeout = {patience}")


def insert_if_new(
    execute: Callable[[sa.Executable], sa.CursorResult[Any]], table: sa.Table, row: Mapping[str, Any]
) -> bool:
    """Insert `row` unless one with its key is there; return whether it was new. Waits for a racing insert to end."""
    insert = InsertIfNew(table).values(row).execution_options(preserve_rowcount=True)
    return execute(insert).rowcount == 1


class InsertIfNew(sa.Insert):
    """An insert that does nothing where the key is taken."""

    inherit_cache = True


@compiles(InsertIfNew)
def _compile_insert_if_new(insert: InsertIfNew, compiler: Any, **options: Any) -> str:
    return f"{compiler.visit_insert(insert, **options)} ON CONFLICT DO NOTHING"
