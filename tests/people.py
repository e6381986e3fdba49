"""People of whom a database knows something: a row in every table that hangs on an owner."""

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import sqlalchemy as sa

from storage.conversations import NewMessage
from storage.database import Database
from storage.provenance import by_operator
from storage.tables import jobs, outbox, queue_messages


@dataclass(frozen=True, slots=True)
class Names:
    """What a stranger would have to know to ask for somebody's memories."""

    namespace: str
    key: str
    conversation: str
    conversation_id: UUID
    external_id: str
    purpose: str
    idempotency_key: str
    pending_id: str
    version: int
    """A version of the document, the number of a message, and where the cursor stands."""


_LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)

VERSIONS = 7
"""Versions of a person's document, and messages: more than any other number that appears in an answer about it."""


def furnish(database: Database, owner: UUID, name: str, said: str) -> Names:
    """Remember something in every table: each name begins with `name`, and all content holds `said`."""
    with database.begin(owner) as stores:
        for key in ("key", "list"):
            stores.items.set(f"{name}-namespace", f"{name}-{key}", [said])
        stores.profile.set(said)
        new = [NewMessage("user", f"{said} {number}", external_id=f"{name}-{number}") for number in range(VERSIONS)]
        stores.conversations.append(f"{name}-conversation", new)
        memory = stores.conversation_memories.set(
            f"{name}-conversation", {"summary": said, "of": f"{name}-conversation"}, provenance=by_operator
        )
        stores.cursors.advance(f"{name}-purpose", VERSIONS)
        for version in range(1, VERSIONS):
            stores.snapshots.append({"summary": f"{said} {version}"}, provenance=by_operator)
        request = f"{name}-request"
        stores.snapshots.append({"summary": said}, provenance=by_operator, idempotency_key=request)
        patch = [{"op": "replace", "path": "/summary", "value": f"{said} held"}]
        pending_id = stores.pending.hold(VERSIONS, patch, [], by_operator)
    return Names(
        namespace=f"{name}-namespace",
        key=f"{name}-key",
        conversation=f"{name}-conversation",
        conversation_id=memory.id,
        external_id=f"{name}-0",
        purpose=f"{name}-purpose",
        idempotency_key=request,
        pending_id=pending_id,
        version=VERSIONS,
    )


def give_work(administrator: sa.Engine, owner: UUID, name: str) -> None:
    """Put something about a person into the tables of the worker, which the application cannot write all of."""
    of_owner = {"owner_id": owner, "created_at": _LONG_AGO}
    job = {"kind": "person", "subject_id": owner, "state": "waiting", "error": f"{name}-error", "updated_at": _LONG_AGO}
    message = {"body": f'{{"owner_id":"{name}-id"}}', "available_at": _LONG_AGO}
    event = {"organization_id": "default", "user_id": f"{name}-user", "event": "memory.changed"}
    with administrator.begin() as connection:
        for table, row in ((jobs, job), (queue_messages, message), (outbox, event)):
            connection.execute(sa.insert(table).values(of_owner | row))
