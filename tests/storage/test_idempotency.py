from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from storage.database import Database
from storage.errors import IdempotencyKeyReused, InvalidJson, InvalidName, UserMemoryError, VersionConflict
from storage.outcome import Held, Saved, Unchanged
from storage.provenance import by_agent, by_user
from tests.contents import Contents, proven_versions

KEY = "request-1"
NOTES = {"safety_notes": "Never mention the flood.", "facts": ["a"]}
ADD = [{"op": "add", "path": "/facts/-", "value": "b"}]
LATER = [{"op": "add", "path": "/facts/-", "value": "later"}]


@pytest.fixture
def noted(database: Database, ada: UUID) -> UUID:
    with database.begin(ada) as stores:
        stores.snapshots.append(NOTES, provenance=by_user)
    return ada


@pytest.mark.parametrize(
    ("change", "kind"),
    [(ADD, Saved), (NOTES, Unchanged), (NOTES | {"safety_notes": "None."}, Held)],
    ids=["saved", "unchanged", "held"],
)
def test_the_same_request_is_done_once_and_answered_alike(
    database: Database, noted: UUID, contents: Callable[[], Contents], change: Any, kind: type
) -> None:
    with database.begin(noted) as stores:
        first = stores.snapshots.append(change, provenance=by_agent("loop"), idempotency_key=KEY)
    assert isinstance(first, kind)
    with database.begin(noted) as stores:
        stores.snapshots.append(LATER, provenance=by_user)
    before = contents()
    for _ in range(2):
        with database.begin(noted) as stores:
            assert stores.snapshots.append(change, provenance=by_agent("loop"), idempotency_key=KEY) == first
    assert contents() == before


def test_a_merged_outcome_is_answered_alike(database: Database, noted: UUID) -> None:
    def add() -> Any:
        with database.begin(noted) as stores:
            return stores.snapshots.append(ADD, provenance=by_user, expected_version=1, idempotency_key=KEY)

    with database.begin(noted) as stores:
        stores.snapshots.append(LATER, provenance=by_user)
    first = add()
    assert first.merged is True
    assert add() == first


def test_a_key_belongs_to_one_request(database: Database, noted: UUID, contents: Callable[[], Contents]) -> None:
    with database.begin(noted) as stores:
        stores.snapshots.append(ADD, provenance=by_user, idempotency_key=KEY)
    before = contents()
    others: list[tuple[Any, int | None]] = [(LATER, None), (ADD, 1), ([], None), ({}, None)]
    for change, expected in others:
        with pytest.raises(IdempotencyKeyReused, match="'request-1'"), database.begin(noted) as stores:
            stores.snapshots.append(change, provenance=by_user, expected_version=expected, idempotency_key=KEY)
    assert contents() == before


def test_values_that_are_equal_in_python_are_another_request(database: Database, ada: UUID) -> None:
    with database.begin(ada) as stores:
        stores.snapshots.append({"n": 1}, provenance=by_user, idempotency_key=KEY)
        stores.snapshots.append({"n": 1}, provenance=by_user, idempotency_key=KEY)
        for other in (1.0, True):
            with pytest.raises(IdempotencyKeyReused):
                stores.snapshots.append({"n": other}, provenance=by_user, idempotency_key=KEY)


def test_each_person_has_keys_of_their_own(database: Database, ada: UUID, bob: UUID) -> None:
    for person, summary in ((ada, "Ada."), (bob, "Bob.")):
        with database.begin(person) as stores:
            saved = stores.snapshots.append({"summary": summary}, provenance=by_user, idempotency_key=KEY)
            assert saved.version == 1


def test_a_request_that_failed_may_come_again(
    database: Database, noted: UUID, contents: Callable[[], Contents]
) -> None:
    with database.begin(noted) as stores:
        stores.snapshots.append([{"op": "replace", "path": "/facts/0", "value": "c"}], provenance=by_user)
    before = contents()
    ours = [{"op": "replace", "path": "/facts/0", "value": "d"}]
    with pytest.raises(UserMemoryError), database.begin(noted) as stores:
        stores.snapshots.append([{"op": "remove", "path": "/x"}], provenance=by_user, idempotency_key=KEY)
    assert contents() == before
    with database.begin(noted) as stores:
        assert stores.snapshots.append(ours, provenance=by_user, idempotency_key=KEY).version == 3


def test_a_failure_that_was_caught_does_not_keep_the_key(
    database: Database, noted: UUID, administrator: sa.Engine
) -> None:
    """Whoever catches the conflict inside the transaction commits it: a key without an outcome must not stay."""
    with database.begin(noted) as stores:
        stores.snapshots.append(NOTES | {"mood": "calm"}, provenance=by_user)
        stores.snapshots.append(NOTES | {"mood": "sad"}, provenance=by_user)
    with database.begin(noted) as stores, pytest.raises(VersionConflict):
        stores.snapshots.append(NOTES | {"mood": "merry"}, provenance=by_user, expected_version=2, idempotency_key=KEY)
    with database.begin(noted) as stores:
        assert stores.snapshots.append(ADD, provenance=by_user, idempotency_key=KEY).version == 4
    assert len(proven_versions(administrator, noted)) == 4


@pytest.mark.parametrize("key", ["", "\0", "\ud800", " a", "x" * 257])
def test_a_key_is_a_name(database: Database, noted: UUID, key: str) -> None:
    with database.begin(noted) as stores, pytest.raises(InvalidName):
        stores.snapshots.append(ADD, provenance=by_user, idempotency_key=key)


def test_what_is_no_json_claims_no_key(database: Database, noted: UUID, contents: Callable[[], Contents]) -> None:
    before = contents()
    with database.begin(noted) as stores, pytest.raises(InvalidJson):
        stores.snapshots.append({"a": float("nan")}, provenance=by_user, idempotency_key=KEY)
    assert contents() == before
