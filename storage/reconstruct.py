"""Reconstruct: seed 001's `reconstruct_memory` and `save_new_snapshot`, thin entries to the versions of a document."""

from datetime import datetime
from typing import Protocol

from storage.database import Database
from storage.directory import find, require_one_person, resolve
from storage.identity import DEFAULT_ORGANIZATION, Identity
from storage.json_types import Document, Patch
from storage.outcome import Outcome
from storage.provenance import Provenance, by_user


class HasDatabase(Protocol):
    """Whatever holds an open database, such as `Memory`."""

    @property
    def database(self) -> Database:
        """The open database."""


def reconstruct_memory(
    memory: HasDatabase,
    user: str | None,
    version: int | datetime | None = None,
    *,
    phone: str | None = None,
    organization: str = DEFAULT_ORGANIZATION,
    phone_verified: bool = False,
    default_region: str | None = None,
) -> Document:
    """Return a user's document: the newest, that of a version, or the one that was in force at a time.

    Of a user nobody has met it is `{}`, and nobody is made. Raises NotFound for a version that was never saved,
    InvalidInput for a time without a zone, NoIdentity, InvalidIdentity and IdentityConflict.
    """
    identity = Identity.of(
        organization=organization,
        user=user,
        phone=phone,
        phone_verified=phone_verified,
        default_region=default_region,
    )
    database = memory.database
    found = find(database, identity)
    with database.nobody() if found is None else database.read(require_one_person(found)) as stores:
        snapshot = stores.snapshots.current() if version is None else stores.snapshots.as_of(version)
    return snapshot.document


def save_new_snapshot(
    memory: HasDatabase,
    user: str | None,
    patch: Patch,
    *,
    expected_version: int | None = None,
    provenance: Provenance = by_user,
    idempotency_key: str | None = None,
    phone: str | None = None,
    organization: str = DEFAULT_ORGANIZATION,
    phone_verified: bool = False,
    default_region: str | None = None,
) -> Outcome:
    """Save `patch` (RFC 6902) as the next version of a user's document; a user met for the first time is made.

    Without `expected_version` the patch applies to the newest version; with it, and a newer one there, both sides'
    changes are kept or refused as `SnapshotStore.append` says, which also lists the errors.
    """
    identity = Identity.of(
        organization=organization,
        user=user,
        phone=phone,
        phone_verified=phone_verified,
        default_region=default_region,
    )
    database = memory.database
    with database.begin(require_one_person(resolve(database, identity))) as stores:
        return stores.snapshots.append(
            patch,
            provenance=provenance,
            expected_version=expected_version,
            idempotency_key=idempotency_key,
        )
