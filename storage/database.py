"""Database: an engine, its transactions, and the promise that each is bound to one person."""

from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Any, Self, TypeAlias
from uuid import UUID

import sqlalchemy as sa
from uuid_utils.compat import uuid7

from storage import migrate
from storage.dialect import (
    begin_to_read,
    begin_to_write,
    end_reading,
    is_lost,
    is_postgresql,
    make_engine,
    require_whole,
    roll_back,
    translated,
)
from storage.errors import DatabaseUnavailable, UserMemoryError
from storage.hot import HotStatements, PostgresHot, SqliteHot, survivor
from storage.last_seen import LastSeen
from storage.nobody import NobodyHot
from storage.policy import DocumentPolicy
from storage.security import require_safe
from storage.settings import DatabaseSettings
from storage.singles import SingleConnections
from storage.stores import Stores
from storage.tables import owners
from storage.transaction import Clock, Hot, NeedsTransaction, SingleStatement, Transaction, utc_now

Search: TypeAlias = Callable[[sa.Connection], UUID | None]
"""Looks somebody up inside a transaction, before anybody is bound; None where there is nobody."""


class Database:
    """An open database. Thread-safe; close it when done."""

    def __init__(self, engine: sa.Engine, settings: DatabaseSettings, policy: DocumentPolicy, clock: Clock) -> None:
        """Use `open`: it also makes sure that the schema is the right one and the role a safe one."""
        self.closed = False
        self.connections = settings.pool_size
        """How many transactions can be open at the same time."""

        self.engine = engine
        self.policy = policy
        self.clock = clock
        self.on_postgresql = is_postgresql(engine)
        self.hot: HotStatements = PostgresHot() if self.on_postgresql else SqliteHot()
        self.singles = SingleConnections(engine, settings, self.hot.handle)
        self.errors = (sa.exc.DBAPIError, sa.exc.TimeoutError, engine.dialect.loaded_dbapi.Error)

    @classmethod
    def open(
        cls,
        url: str,
        settings: DatabaseSettings | None = None,
        *,
        policy: DocumentPolicy | None = None,
        clock: Clock = utc_now,
    ) -> Self:
        """Open `sqlite:///file`, `sqlite://` (in memory) or `postgresql://...`.

        SQLite migrates itself. PostgreSQL is migrated by `usermemory migrate` only, and is refused with UnsafeRole
        when the role could see past row security, and with NotMigrated when the schema is another one.
        """
        settings = settings or DatabaseSettings()
        database = cls(make_engine(url, settings), settings, policy or DocumentPolicy(), clock)
        try:
            with database.translating(opening=True):
                database._check()
        except BaseException:
            database.close()
            raise
        return database

    def _check(self) -> None:
        with self.engine.connect() as connection:
            if self.on_postgresql:
                require_safe(connection)
                migrate.require_head(connection)
                return
            ready = migrate.revision_of(connection) == migrate.HEAD
        if not ready:
            with migrate.migrating_sqlite(self.engine) as connection:
                if (migrate.revision_of(connection) or "") > migrate.HEAD:
                    migrate.require_head(connection)
                migrate.run_migrations(connection, migrate.HEAD, "")

    def _require_open(self) -> None:
        if self.closed:
            raise DatabaseUnavailable("the database was closed")

    def close(self) -> None:
        """Close every connection; nothing can be asked afterwards."""
        self.closed = True
        self.singles.close()
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def begin(self, owner: UUID | Search) -> Generator[Stores]:
        """Open one transaction of one person, to read and to write; it commits when the block ends without an error.

        Raises Erased or NotFound when there is no such person. Waits for other writers of the same rows. With a search
        the person is looked up in the same transaction; where there is nobody, nothing can be written.
        """
        with self.transaction(owner, writes=True) as transaction:
            yield Stores(transaction, self.policy)

    @contextmanager
    def read(self, owner: UUID | Search) -> Generator[Stores]:
        """Open one transaction of one person that only reads, and waits for nobody.

        Of whom a search does not find, every answer is the empty one.
        """
        with self.transaction(owner, writes=False) as transaction:
            yield Stores(transaction, self.policy)

    @contextmanager
    def nobody(self) -> Generator[Stores]:
        """Open a transaction of a person who does not exist: every answer is the empty one, and nothing stays."""
        self._require_open()
        with self.translating(), self.engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            connection.exec_driver_sql("BEGIN")
            try:
                yield Stores(self._of_nobody(connection), self.policy)
            finally:
                self._undo(connection, driver)

    def single(self, owner: UUID, last_seen: LastSeen | None = None) -> "Single":
        """Give stores without a transaction: each hot statement stands alone, in one round trip.

        Whatever needs more raises NeedsTransaction before anything is written. `last_seen` is kept by a caller who
        stays bound to this person.
        """
        return Single(self, owner, last_seen)

    @contextmanager
    def single_handle(self) -> Generator[Any]:
        """Give what one statement runs on, for the module that looks people up before anybody is bound."""
        self._require_open()
        with self.translating():
            single = self.singles.take()
            try:
                yield single.handle
            except BaseException:
                self.singles.discard(single)
                raise
        self.singles.give_back(single)

    @contextmanager
    def transaction(self, owner: UUID | Search, *, writes: bool) -> Generator[Transaction]:
        """Open a bound transaction, for the modules of this package that need the statements themselves."""
        self._require_open()
        with self.translating(), self.engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            try:
                transaction = self._begun(connection, driver, owner, writes)
                try:
                    yield transaction
                finally:
                    transaction.hot.end()
                require_whole(driver)
                driver.commit()
                end_reading(driver)
            except BaseException:
                self._undo(connection, driver)
                raise

    def _begun(self, connection: sa.Connection, driver: Any, owner: UUID | Search, writes: bool) -> Transaction:
        """Begin and bind. The transaction is the driver's own: SQLAlchemy takes no part in its beginning or end."""
        begun = callable(owner)
        if callable(owner):
            (begin_to_write if writes else begin_to_read)(connection)
            found = owner(connection)
            if found is None:
                return self._of_nobody(connection)
            owner = found
        if self.on_postgresql:
            # One round trip. The owner is a UUID object, so nothing but hexadecimal digits gets into the text.
            begin, bind = ("BEGIN; ", "bind_to_write") if writes else ("BEGIN READ ONLY; ", "bind")
            ask = f"SELECT usermemory.{bind}('{owner}'), usermemory.bound_owners()"
            bound = driver.execute(ask if begun else begin + ask)
            if not begun:
                bound.nextset()
            me, branches = bound.fetchone()
        else:
            if not begun:
                (begin_to_write if writes else begin_to_read)(connection)
            me = UUID(survivor(driver, owner))
            branches = list(connection.scalars(sa.select(owners.c.id).where(owners.c.survivor_id == me)))
        return Transaction(me, tuple(branches), Hot(self.hot, self.hot.handle(driver), me), self.clock, connection)

    def _of_nobody(self, connection: sa.Connection) -> Transaction:
        nobody = uuid7()
        return Transaction(nobody, (nobody,), Hot(NobodyHot(), None, nobody), self.clock, connection)

    def _undo(self, connection: sa.Connection, driver: Any) -> None:
        """Roll back what is open; where the server has gone, drop the other idle connections as well."""
        with suppress(*self.errors):
            roll_back(driver)
            end_reading(driver)
        if is_lost(driver):
            connection.invalidate()
            self.engine.dispose()

    @contextmanager
    def connection(self) -> Generator[sa.Connection]:
        """Give a connection on which nobody is bound, for the directory; each statement commits by itself."""
        if self.closed:
            raise DatabaseUnavailable("the database was closed")
        with self.translating(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def translating(self, *, opening: bool = False) -> Generator[None]:
        """Turn what a driver raises into our errors, without the values a driver's message may hold.

        `opening` is for whoever opens the database: why it cannot be reached is told with the names in its URL.
        """
        try:
            yield
        except self.errors as error:
            # A driver's message and parameters may quote what a person said.
            raise translated(error, self.engine.url if opening else None) from None


class Single:
    """Stores without a transaction, while the block lasts. A class: a generator would cost more than the read."""

    __slots__ = ("_database", "_hot", "_last_seen", "_owner", "_single")

    def __init__(self, database: Database, owner: UUID, last_seen: LastSeen | None) -> None:
        self._database = database
        self._owner = owner
        self._last_seen = last_seen

    def __enter__(self) -> Stores:
        database = self._database
        if database.closed:
            raise DatabaseUnavailable("the database was closed")
        try:
            self._single = database.singles.take()
        except database.errors as error:  # a new connection may be refused
            raise translated(error) from None
        self._hot = Hot(database.hot, self._single.handle, self._owner)
        return Stores(SingleStatement(self._owner, self._hot, database.clock), database.policy, self._last_seen)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self._hot.end()
        if error is None or isinstance(error, UserMemoryError | NeedsTransaction):
            self._database.singles.give_back(self._single)
            return
        self._database.singles.discard(self._single)
        if isinstance(error, self._database.errors):
            raise translated(error) from None
