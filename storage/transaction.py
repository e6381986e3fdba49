"""Transactions: what a store works in. Bound to one person from the first statement to the last."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from storage.errors import DatabaseError
from storage.hot import ChainLink, Head, HotStatements, NewVersion, StoredItem

Clock = Callable[[], datetime]
"""Returns now, with a time zone."""


def utc_now() -> datetime:
    """Return now, in UTC."""
    return datetime.now(UTC)


class NeedsTransaction(Exception):
    """What was asked takes more than one statement, or lost a race: do it again inside a transaction.

    Never leaves the facade: whoever works without a transaction catches it and begins one.
    """


_ENDED = "these stores were used after the block they belong to had ended"


class _Ended:
    """Stands where the connection was, once a block has ended: it belongs to somebody else by then."""

    def __getattr__(self, name: str) -> Any:
        raise DatabaseError(_ENDED)


@dataclass(slots=True)
class Hot:
    """The hot statements for one person on one connection."""

    statements: HotStatements
    connection: Any
    owner: UUID

    def end(self) -> None:
        """Let go of the connection: whoever kept the stores can do nothing with them any more."""
        self.connection = _Ended()

    def read_head(self) -> Head | None:
        """Return the newest version, or None at version 0."""
        return self.statements.read_head(self.connection, self.owner)

    def lock_head(self) -> Head | None:
        """Return the newest version, which nobody else can move before this transaction ends."""
        return self.statements.lock_head(self.connection, self.owner)

    def read_chain(self, version: int) -> list[ChainLink]:
        """Return the rows from the nearest snapshot checkpoint at or below `version` up to it."""
        return list(self.statements.read_chain(self.connection, self.owner, version))

    def save_version(self, new: NewVersion) -> bool:
        """Save; False when somebody else moved the head first."""
        return self.statements.save_version(self.connection, self.owner, new)

    def read_item(self, namespace: str, key: str) -> StoredItem | None:
        """Return one item, or None."""
        return self.statements.read_item(self.connection, self.owner, namespace, key)

    def set_item(
        self, namespace: str, key: str, value: str, expected: int | None, moment: datetime
    ) -> tuple[int, datetime] | None:
        """Set one item; None when it is not at version `expected`."""
        return self.statements.set_item(self.connection, self.owner, namespace, key, value, expected, moment)


@dataclass(frozen=True, slots=True)
class Transaction:
    """One transaction of one person: rows are written for `owner`; `owners` adds the branches merged into it."""

    owner: UUID
    owners: tuple[UUID, ...]
    hot: Hot
    clock: Clock
    connection: sa.Connection

    def execute(self, statement: sa.Executable, parameters: Any = None) -> sa.CursorResult[Any]:
        """Run one statement of SQLAlchemy Core."""
        if self.connection.closed:
            raise DatabaseError(_ENDED)
        return self.connection.execute(statement, parameters)


@dataclass(frozen=True, slots=True)
class SingleStatement:
    """No transaction: each hot statement is one of its own, and nothing else is possible."""

    owner: UUID
    hot: Hot
    clock: Clock

    @property
    def owners(self) -> tuple[UUID, ...]:
        """Only a transaction knows the merged branches."""
        raise NeedsTransaction

    def execute(self, statement: sa.Executable, parameters: Any = None) -> sa.CursorResult[Any]:
        """Refuse: a store that needs more than hot statements needs a transaction."""
        raise NeedsTransaction


Work = Transaction | SingleStatement
"""What a store is given."""
