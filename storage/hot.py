"""Hot statements: the six that decide how fast memory is, straight to the driver, in two variants of one signature.

Each names its person itself, so that it may run alone (one round trip, its own transaction) as well as inside a
transaction that is bound already. An id of a merged person reaches the survivor.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol
from uuid import UUID
from weakref import WeakKeyDictionary

from storage.errors import Erased, NotFound
from storage.prepared_calls import PreparedCalls
from storage.tables import instant, instant_text


class Head(NamedTuple):
    """The newest version of a document, with what the next save needs to know."""

    version: int
    document: str
    updated_by: str
    checkpoint_version: int
    patch_bytes: int
    updated_at: datetime | str
    """As the driver gives it; `instant` makes a moment of it, which most readers do not need."""


class ChainLink(NamedTuple):
    """One row of the log: a version, its patch, and the full document where it is a snapshot checkpoint."""

    version: int
    patch: str
    checkpoint: str | None
    provenance: str


class StoredItem(NamedTuple):
    """One item as it is stored: canonical text and its times."""

    value: str
    version: int
    created_at: datetime
    updated_at: datetime


class NewVersion(NamedTuple):
    """Everything that one save writes."""

    expected: int
    document: str
    patch: str
    checkpoint: str | None
    provenance: str
    updated_by: str
    checkpoint_version: int
    patch_bytes: int
    moment: datetime

    def as_head(self) -> Head:
        """Return the head as it is once this is saved."""
        return Head(
            self.expected + 1,
            self.document,
            self.updated_by,
            self.checkpoint_version,
            self.patch_bytes,
            self.moment,
        )


class HotStatements(Protocol):
    """What both databases can do in one go. `connection` is what `handle` made of the driver's."""

    def handle(self, connection: Any) -> Any:
        """Return what the statements run on, for as long as the connection is used."""

    def read_head(self, connection: Any, person: UUID) -> Head | None:
        """Return the head, or None at version 0. Raises Erased or NotFound when there is no such person."""

    def lock_head(self, connection: Any, person: UUID) -> Head | None:
        """Return the head under its row lock, in a transaction bound to this very person."""

    def read_chain(self, connection: Any, person: UUID, version: int) -> Sequence[ChainLink]:
        """Return the rows from the nearest snapshot checkpoint at or below `version` up to it."""

    def save_version(self, connection: Any, person: UUID, new: NewVersion) -> bool:
        """Move the head on from `new.expected` and add the log row, both or neither; False: a race was lost."""

    def read_item(self, connection: Any, person: UUID, namespace: str, key: str) -> StoredItem | None:
        """Return one item."""

    def set_item(
        self,
        connection: Any,
        person: UUID,
        namespace: str,
        key: str,
        value: str,
        expected: int | None,
        moment: datetime,
    ) -> tuple[int, datetime] | None:
        """Insert or replace one item and return its version and creation; None: it is not at version `expected`."""


_SURVIVOR = "(SELECT survivor_id FROM owners WHERE id = ?)"

SQLITE = {
    "read_head": "SELECT version, document, updated_by, checkpoint_version, patch_bytes, updated_at FROM heads"
    f" WHERE owner_id = {_SURVIVOR}",
    "read_chain": "SELECT version, patch, checkpoint, provenance FROM snapshots"
    " WHERE owner_id = ?1 AND version <= ?2 AND version >= (SELECT version FROM snapshots"
    " WHERE owner_id = ?1 AND version <= ?2 AND checkpoint IS NOT NULL ORDER BY version DESC LIMIT 1) ORDER BY version",
    "first_head": "INSERT INTO heads"
    " (owner_id, version, document, updated_by, checkpoint_version, patch_bytes, updated_at)"
    " SELECT survivor_id, ?7 + 1, ?2, ?3, ?4, ?5, ?6 FROM owners WHERE id = ?1 ON CONFLICT DO NOTHING",
    "next_head": "UPDATE heads SET version = ?7 + 1, document = ?2, updated_by = ?3, checkpoint_version = ?4,"
    " patch_bytes = ?5, updated_at = ?6"
    " WHERE owner_id = (SELECT survivor_id FROM owners WHERE id = ?1) AND version = ?7",
    "add_snapshot": "INSERT INTO snapshots (owner_id, version, patch, checkpoint, provenance, created_at)"
    " SELECT survivor_id, ?2, ?3, ?4, ?5, ?6 FROM owners WHERE id = ?1",
    "read_item": "SELECT value, version, created_at, updated_at FROM items"
    f" WHERE owner_id = {_SURVIVOR} AND namespace = ? AND key = ?",
    "set_item": "INSERT INTO items (owner_id, namespace, key, value, version, created_at, updated_at)"
    " SELECT survivor_id, ?2, ?3, ?4, 1, ?5, ?5 FROM owners WHERE id = ?1"
    " ON CONFLICT (owner_id, namespace, key) DO UPDATE"
    " SET value = excluded.value, version = items.version + 1, updated_at = excluded.updated_at"
    " RETURNING version, created_at",
    "add_item": "INSERT INTO items (owner_id, namespace, key, value, version, created_at, updated_at)"
    " SELECT survivor_id, ?2, ?3, ?4, 1, ?5, ?5 FROM owners WHERE id = ?1"
    " ON CONFLICT DO NOTHING RETURNING version, created_at",
    "change_item": "UPDATE items SET value = ?4, version = version + 1, updated_at = ?5"
    " WHERE owner_id = (SELECT survivor_id FROM owners WHERE id = ?1) AND namespace = ?2 AND key = ?3 AND version = ?6"
    " RETURNING version, created_at",
    "survivor": "SELECT survivor_id FROM owners WHERE id = ?",
    "erased": "SELECT 1 FROM erasures WHERE owner_id = ?",
}
"""Every statement of the embedded variant; a test holds that each on a content table pins the owner."""


class SqliteHot:
    """The embedded variant: one statement where that is enough, one `BEGIN IMMEDIATE` where it is not."""

    def handle(self, connection: Any) -> Any:
        """Return the connection: a cursor kept for later would keep its last statement, and so a read, open."""
        return connection

    def read_head(self, connection: Any, person: UUID) -> Head | None:
        """Return the head, or None at version 0. Raises Erased or NotFound when there is no such person."""
        row = connection.execute(SQLITE["read_head"], (person.hex,)).fetchone()
        if row is None:
            survivor(connection, person)
            return None
        return Head._make(row)

    def lock_head(self, connection: Any, person: UUID) -> Head | None:
        """Return the head: a transaction that writes has the whole file's lock already."""
        return self.read_head(connection, person)

    def read_chain(self, connection: Any, person: UUID, version: int) -> Sequence[ChainLink]:
        """Return the rows from the nearest snapshot checkpoint at or below `version` up to it."""
        rows = connection.execute(SQLITE["read_chain"], (survivor(connection, person), version)).fetchall()
        return [ChainLink(*row) for row in rows]

    def save_version(self, connection: Any, person: UUID, new: NewVersion) -> bool:
        """Move the head on and add the log row, in the transaction that is open or in one of its own."""
        if connection.in_transaction:
            return self._save(connection, person, new)
        connection.execute("BEGIN IMMEDIATE")
        try:
            saved = self._save(connection, person, new)
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
        return saved

    def _save(self, connection: Any, person: UUID, new: NewVersion) -> bool:
        me, moment = person.hex, instant_text(new.moment)
        head = (me, new.document, new.updated_by, new.checkpoint_version, new.patch_bytes, moment, new.expected)
        done = connection.execute(SQLITE["next_head" if new.expected else "first_head"], head)
        if done.rowcount == 0:
            survivor(connection, person)
            return False
        row = (me, new.expected + 1, new.patch, new.checkpoint, new.provenance, moment)
        connection.execute(SQLITE["add_snapshot"], row)
        return True

    def read_item(self, connection: Any, person: UUID, namespace: str, key: str) -> StoredItem | None:
        """Return one item."""
        row = connection.execute(SQLITE["read_item"], (person.hex, namespace, key)).fetchone()
        if row is None:
            survivor(connection, person)
            return None
        return StoredItem(row[0], row[1], instant(row[2]), instant(row[3]))

    def set_item(
        self,
        connection: Any,
        person: UUID,
        namespace: str,
        key: str,
        value: str,
        expected: int | None,
        moment: datetime,
    ) -> tuple[int, datetime] | None:
        """Insert or replace one item and return its version and creation; None: it is not at version `expected`."""
        wanted: tuple[Any, ...] = (person.hex, namespace, key, value, instant_text(moment))
        if expected is None:
            rows = connection.execute(SQLITE["set_item"], wanted).fetchall()
        elif expected == 0:
            rows = connection.execute(SQLITE["add_item"], wanted).fetchall()
        else:
            rows = connection.execute(SQLITE["change_item"], (*wanted, expected)).fetchall()
        if not rows:
            survivor(connection, person)
            return None
        return rows[0][0], instant(rows[0][1])


def survivor(connection: Any, person: UUID) -> str:
    """Return the id under which a person's rows are kept on SQLite; raises Erased or NotFound when there is none."""
    row = connection.execute(SQLITE["survivor"], (person.hex,)).fetchone()
    if row is None:
        if connection.execute(SQLITE["erased"], (person.hex,)).fetchone():
            raise Erased()
        raise NotFound("there is no such owner")
    return str(row[0])


POSTGRESQL = {
    "read_head": "SELECT * FROM usermemory.read_head($1)",
    "lock_head": "SELECT version, document, updated_by, checkpoint_version, patch_bytes, updated_at"
    " FROM usermemory.heads WHERE owner_id = $1 FOR NO KEY UPDATE",
    "read_chain": "SELECT * FROM usermemory.read_chain($1, $2)",
    "save_version": "SELECT usermemory.save_version($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    "read_item": "SELECT * FROM usermemory.read_item($1, $2, $3)",
    "set_item": "SELECT * FROM usermemory.set_item($1, $2, $3, $4, $5, $6)",
}
"""Every statement of the server's variant: all but `lock_head` are functions that bind the person (migration 0003)."""


class PostgresHot:
    """The server's variant: one function call each, one round trip."""

    def __init__(self) -> None:
        self._calls: WeakKeyDictionary[Any, PreparedCalls] = WeakKeyDictionary()

    def handle(self, connection: Any) -> Any:
        """Return what calls the functions: prepared once in a connection's life, and without a cursor's ceremony."""
        calls = self._calls.get(connection)
        if calls is None:
            calls = self._calls[connection] = PreparedCalls(connection)
        return calls

    def read_head(self, connection: Any, person: UUID) -> Head | None:
        """Return the head, or None at version 0. Erased and NotFound come from `bind` in the database."""
        return self._head(connection.call(POSTGRESQL["read_head"], person))

    def lock_head(self, connection: Any, person: UUID) -> Head | None:
        """Return the head under its row lock; the person is bound already."""
        return self._head(connection.call(POSTGRESQL["lock_head"], person))

    def _head(self, rows: list[Any]) -> Head | None:
        if not rows or rows[0][0] is None:
            return None
        version, document, updated_by, checkpoint_version, patch_bytes, updated_at = rows[0]
        return Head(int(version), document, updated_by, int(checkpoint_version), int(patch_bytes), updated_at)

    def read_chain(self, connection: Any, person: UUID, version: int) -> Sequence[ChainLink]:
        """Return the rows from the nearest snapshot checkpoint at or below `version` up to it."""
        rows = connection.call(POSTGRESQL["read_chain"], person, version)
        return [ChainLink(int(number), patch, checkpoint, provenance) for number, patch, checkpoint, provenance in rows]

    def save_version(self, connection: Any, person: UUID, new: NewVersion) -> bool:
        """Move the head on and add the log row, in one statement."""
        return connection.call(POSTGRESQL["save_version"], person, *new)[0][0] is not None

    def read_item(self, connection: Any, person: UUID, namespace: str, key: str) -> StoredItem | None:
        """Return one item."""
        value, version, created_at, updated_at = connection.call(POSTGRESQL["read_item"], person, namespace, key)[0]
        return None if value is None else StoredItem(value, int(version), instant(created_at), instant(updated_at))

    def set_item(
        self,
        connection: Any,
        person: UUID,
        namespace: str,
        key: str,
        value: str,
        expected: int | None,
        moment: datetime,
    ) -> tuple[int, datetime] | None:
        """Insert or replace one item and return its version and creation; None: it is not at version `expected`."""
        version, created_at = connection.call(POSTGRESQL["set_item"], person, namespace, key, value, expected, moment)[
            0
        ]
        return None if version is None else (int(version), instant(created_at))
