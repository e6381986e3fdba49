"""Idempotency: the same request under the same key is done once, and answered the same way every time."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from storage.canonical import canonical, dumps, loads
from storage.dialect import insert_if_new
from storage.errors import IdempotencyKeyReused, UserMemoryError
from storage.json_types import Json
from storage.names import check_name
from storage.outcome import Outcome, outcome_as_json, outcome_from_json
from storage.tables import configuration_keys, idempotency_keys
from storage.transaction import Work


@dataclass(frozen=True, slots=True)
class Answered:
    """What a request was answered. `again` tells that nothing was done for it, because it had come before."""

    answer: Json
    again: bool


def once(work: Work, key: str, request: Json, act: Callable[[], Outcome]) -> Outcome:
    """Return what `act` returns, or what it returned when the same `request` came under `key` before.

    Raises what `answer_once` raises.
    """
    return outcome_from_json(answer_once(work, key, request, lambda: outcome_as_json(act())).answer)


def answer_once(work: Work, key: str, request: Json, act: Callable[[], Json]) -> Answered:
    """Return what `act` answers, or what it answered when the same `request` came under `key` before.

    The key is claimed by inserting it first: the unique index is the lock, and a second caller waits for the first
    one's outcome. (Locking and looking in one statement fails under a race.) The claim, the act and the answer are
    one transaction. Raises IdempotencyKeyReused when the key came with another request.
    """
    return _answer_once(work.execute, idempotency_keys.c.owner_id, work.owner, key, request, work.clock(), act)


def configure_once(
    connection: sa.Connection, organization: str, key: str, request: Json, now: datetime, act: Callable[[], Json]
) -> Answered:
    """Do the same with a key of an organization, in a transaction that writes its configurations."""
    whose = configuration_keys.c.organization_id
    return _answer_once(connection.execute, whose, organization, key, request, now, act)


def _answer_once(
    execute: Callable[..., sa.CursorResult[Any]],
    whose: sa.Column[Any],
    holder: UUID | str,
    key: str,
    request: Json,
    now: datetime,
    act: Callable[[], Json],
) -> Answered:
    check_name(key, "idempotency key")
    keys = whose.table
    fingerprint = hashlib.sha256(canonical(request).encode()).hexdigest()
    mine = whose == holder, keys.c.key == key
    claim = {whose.name: holder, "key": key, "fingerprint": fingerprint, "created_at": now}
    if insert_if_new(execute, keys, claim):
        try:
            answer = act()
        except UserMemoryError:  # whoever catches it commits the rest: a key without an outcome must not stay
            execute(sa.delete(keys).where(*mine))
            raise
        execute(sa.update(keys).where(*mine).values(outcome=dumps(answer)))
        return Answered(answer, again=False)
    earlier = execute(sa.select(keys).where(*mine)).one()
    if earlier.fingerprint != fingerprint:
        raise IdempotencyKeyReused(f"the idempotency key {key!r} was used before, for another request")
    return Answered(loads(earlier.outcome), again=True)
