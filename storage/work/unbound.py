"""Unbound: transactions in which nobody is bound, for the directory's ids, counters and times."""

from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

import sqlalchemy as sa

from storage.database import Database
from storage.dialect import begin_to_write, is_lost, require_whole, roll_back
from storage.tables import batches


@contextmanager
def unbound(database: Database, *, in_order_of_an_index: bool = False) -> Generator[sa.Connection]:
    """Open a transaction that writes; it commits when the block ends without an error.

    `in_order_of_an_index` is as in `storage.dialect.begin_to_write`. On PostgreSQL it reaches what the role of the URL
    may reach without being bound: UnsafeRole for anything else.
    """
    with database.connection() as connection:
        driver: Any = connection.connection.driver_connection
        begin_to_write(connection, in_order_of_an_index=in_order_of_an_index)
        try:
            yield connection
            require_whole(driver)
            driver.commit()
        except BaseException:
            with suppress(*database.errors):
                roll_back(driver)
            if is_lost(driver):
                connection.invalidate()
            raise


def require_workers_role(database: Database) -> None:
    """Raise UnsafeRole where the URL is not one that works for everybody: on PostgreSQL, the application's."""
    with database.connection() as connection:
        connection.execute(sa.select(batches.c.id).limit(1))
