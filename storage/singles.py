"""Singles: connections for what is done in one statement, without the ceremony of a pool.

A checkout from SQLAlchemy's pool costs more than the statements that use these. They come from the same engine, with
the same settings, and belong to nobody else.
"""

import os
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

import sqlalchemy as sa

from storage.dialect import is_in_memory
from storage.errors import DatabaseUnavailable
from storage.settings import DatabaseSettings
from storage.transaction import NeedsTransaction


class SingleConnection(NamedTuple):
    """A driver's connection and what the hot statements run on."""

    driver: Any
    handle: Any


class SingleConnections:
    """As many driver connections as the pool has, the one used last first, made when they are first needed."""

    def __init__(self, engine: sa.Engine, settings: DatabaseSettings, handle: Callable[[Any], Any]) -> None:
        self._engine = engine
        self._handle = handle
        self._timeout = settings.pool_timeout
        self._free: SimpleQueue[None] = SimpleQueue()  # one token for each connection that may be taken
        for _ in range(settings.pool_size):
            self._free.put(None)
        self._shared = is_in_memory(engine)
        self._idle: deque[SingleConnection] = deque()
        self._process = os.getpid()

    def take(self) -> SingleConnection:
        """Return a connection that nobody else has; raises DatabaseUnavailable when none becomes free in time.

        A database in memory has one connection, which transactions hold: there NeedsTransaction is raised.
        """
        if self._shared:
            raise NeedsTransaction
        try:
            self._free.get(timeout=self._timeout)
        except Empty:
            raise DatabaseUnavailable("no database connection became free in time") from None
        if self._process != os.getpid():  # forked: the parent's connections are not ours to use or to close
            self._idle, self._process = deque(), os.getpid()
        try:
            return self._idle.pop()
        except IndexError:
            pass
        try:
            pooled = self._engine.raw_connection()
            connection = pooled.driver_connection
            pooled.detach()
            return SingleConnection(connection, self._handle(connection))
        except BaseException:
            self._free.put(None)
            raise

    def give_back(self, connection: SingleConnection) -> None:
        """Keep a connection for the next one."""
        self._idle.append(connection)
        self._free.put(None)

    def discard(self, connection: SingleConnection) -> None:
        """Close a connection on which something went wrong, and those that are idle: the server may have gone."""
        self._free.put(None)
        connection.driver.close()
        self.close()

    def close(self) -> None:
        """Close every idle connection."""
        while self._idle:
            self._idle.pop().driver.close()
