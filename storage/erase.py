"""Erase: the end of all that is known about a person; only that it happened stays."""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from storage.database import Database
from storage.dialect import overwrite_deleted
from storage.errors import Conflict
from storage.tables import erasures, identities, metadata, outbox, owners, publishing
from storage.transaction import Transaction

ATTEMPTS: Final = 5
"""How often an erasure is begun where it and another writer each wait for the other, and PostgreSQL ends one of them.

Whoever sends the jobs of many people holds those before it needs the people, the other way round than here.
"""


def erase(database: Database, owner: UUID) -> None:
    """Delete everything of the person and of the branches merged into them; the ledger keeps the ids alone.

    The owner's rows go last: a table that was forgotten, or a write that comes later, fails on its foreign key.
    """
    again = Retrying(retry=retry_if_exception_type(Conflict), stop=stop_after_attempt(ATTEMPTS), reraise=True)
    again(_erase, database, owner)
    if not database.on_postgresql:
        with database.connection() as connection:
            overwrite_deleted(connection)


def _erase(database: Database, owner: UUID) -> None:
    with database.transaction(owner, writes=True) as transaction:
        if database.on_postgresql:
            transaction.execute(sa.select(sa.func.usermemory.erase(transaction.owner)))
            return
        everyone, now = transaction.owners, database.clock()
        erased = _erased_events(transaction, now)
        for table in reversed([table for table in metadata.sorted_tables if "owner_id" in table.c]):
            if table not in (erasures, outbox):
                transaction.execute(sa.delete(table).where(table.c.owner_id.in_(everyone)))
        transaction.execute(sa.delete(outbox).where(outbox.c.owner_id.in_(everyone)))
        if erased:
            transaction.execute(sa.insert(outbox), erased)
        transaction.execute(sa.insert(erasures), [{"owner_id": each, "erased_at": now} for each in everyone])
        transaction.execute(sa.delete(owners).where(owners.c.id.in_(everyone)))


def _erased_events(transaction: Transaction, now: datetime) -> list[dict[str, Any]]:
    """Return the last events of a person who is erased now, one for each name that others know them by."""
    if not transaction.execute(sa.select(publishing.c.enabled)).scalar():
        return []
    user_ids = owners.join(
        identities, sa.and_(identities.c.owner_id == owners.c.id, identities.c.kind == "user"), isouter=True
    )
    names = sa.select(owners.c.id, owners.c.organization_id, identities.c.value).select_from(user_ids)
    ordered = names.where(owners.c.id.in_(transaction.owners)).order_by(owners.c.id, identities.c.value)
    return [
        {"owner_id": row.id, "organization_id": row.organization_id, "user_id": row.value}
        | {"event": "memory.erased", "created_at": now}
        for row in transaction.execute(ordered)
    ]
