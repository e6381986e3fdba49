"""People of whom a database knows something: a row in every table that hangs on an owner."""

from dataclasses import dataclass
from uuid import UUID

from storage.conversations import NewMessage
from storage.database import Database
from storage.provenance import by_operator


@dataclass(frozen=True, slots=True)
class Names:
    """What a stranger would have to know to ask for somebody's memories."""

    namespace: str
    key: str
    conversation: str
    external_id: str
    purpose: str
    idempotency_key: str
    pending_id: str
    version: int
    """A version of the document, the number of a message, and where the cursor stands."""


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
        external_id=f"{name}-0",
        purpose=f"{name}-purpose",
        idempotency_key=request,
        pending_id=pending_id,
        version=VERSIONS,
    )
