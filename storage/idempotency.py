"""Idempotency: the same request under the same key is done once, and answered the same way every time."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from storage.canonical import canonical, dumps, loads
from storage.dialect import insert_if_new
from storage.errors import IdempotencyKeyReused, UserMemoryError
from storage.json_types import Json
from storage.names import check_name
from storage.outcome import Outcome, outcome_as_json, outcome_from_json
from storage.tables import idempotency_keys
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
    check_name(key, "idempotency key")
    fingerprint = hashlib.sha256(canonical(request).encode()).hexdigest()
    mine = idempotency_keys.c.owner_id == work.owner, idempotency_keys.c.key == key
    claim = {"owner_id": work.owner, "key": key, "fingerprint": fingerprint, "created_at": work.clock()}
    if insert_if_new(work.execute, idempotency_keys, claim):
        try:
            answer = act()
        except UserMemoryError:  # whoever catches it commits the rest: a key without an outcome must not stay
            work.execute(sa.delete(idempotency_keys).where(*mine))
            raise
        work.execute(sa.update(idempotency_keys).where(*mine).values(outcome=dumps(answer)))
        return Answered(answer, again=False)
    earlier = work.execute(sa.select(idempotency_keys).where(*mine)).one()
    if earlier.fingerprint != fingerprint:
        raise IdempotencyKeyReused(f"the idempotency key {key!r} was used before, for another request")
    return Answered(loads(earlier.outcome), again=True)
