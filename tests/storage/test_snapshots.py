import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import jsonpatch
import pytest
import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict

from storage.database import Database
from storage.errors import (
    InvalidDocument,
    InvalidInput,
    InvalidJson,
    InvalidPatch,
    NotFound,
    PatchDoesNotApply,
    TooLarge,
    VersionConflict,
)
from storage.json_types import Document, Patch
from storage.limits import CHECKPOINT_EVERY, DEPTH_LIMIT, DOCUMENT_LIMIT, PAGE_LIMIT, PATCH_LIMIT
from storage.outcome import Held, Outcome, Saved, Unchanged
from storage.policy import DocumentPolicy
from storage.provenance import Actor, ChangeSource, Provenance, TokenUsage, by_agent, by_operator, by_user
from storage.snapshots import HistoryEntry, Snapshot
from storage.stores import Stores
from tests.clock import Clock
from tests.contents import Contents, canonically, proven_versions, rows_of

SUMMARY = {"summary": "Ada is a student."}
LONG_NOTE = " ".join(f"word{number}" for number in range(60))


def append(database: Database, owner: UUID, *changes: Patch | Document, by: Provenance = by_user) -> list[Outcome]:
    outcomes = []
    for change in changes:
        with database.begin(owner) as stores:
            outcomes.append(stores.snapshots.append(change, provenance=by))
    return outcomes


def stored(snapshot: Snapshot) -> Document:
    """Return the document without what is only rendered."""
    return {name: value for name, value in snapshot.document.items() if name not in ("version", "last_updated_by")}


def add(path: str, value: Any) -> Patch:
    return [{"op": "add", "path": path, "value": value}]


def test_version_0_is_the_empty_document(database: Database, ada: UUID) -> None:
    with database.read(ada) as stores:
        assert stores.snapshots.current() == Snapshot(0, {}) == stores.snapshots.as_of(0)
        assert stores.snapshots.as_of(datetime.now(UTC)) == Snapshot(0, {})
        assert stores.snapshots.history().entries == ()
        assert stores.snapshots.changes_since(0).patch == []


def test_a_document_becomes_the_next_version(database: Database, ada: UUID) -> None:
    outcomes = append(database, ada, SUMMARY, SUMMARY | {"nickname": "Countess"})
    assert outcomes == [
        Saved(1, add("/summary", "Ada is a student.")),
        Saved(2, add("/nickname", "Countess")),
    ]
    with database.read(ada) as stores:
        assert stores.snapshots.current() == Snapshot(
            2,
            {"version": 2, "last_updated_by": "user", "summary": "Ada is a student.", "nickname": "Countess"},
        )


def test_a_patch_becomes_the_next_version(database: Database, ada: UUID) -> None:
    append(database, ada, add("/summary", "Ada is a student."), add("/facts", []), add("/facts/-", "has a cat"))
    with database.read(ada) as stores:
        assert stored(stores.snapshots.current()) == SUMMARY | {"facts": ["has a cat"]}


def test_version_and_author_are_rendered_and_never_stored(
    database: Database, ada: UUID, administrator: sa.Engine
) -> None:
    append(database, ada, SUMMARY)
    with database.begin(ada) as stores:
        read = stores.snapshots.current().document
        saved = stores.snapshots.append(read | {"mood": "calm"}, provenance=by_agent("loop"))
    assert saved == Saved(2, add("/mood", "calm"))
    with database.read(ada) as stores:
        assert stores.snapshots.current().document["last_updated_by"] == "agent"
        assert stores.snapshots.as_of(1).document == {"version": 1, "last_updated_by": "user"} | SUMMARY
    assert proven_versions(administrator, ada)[-1] == canonically(SUMMARY | {"mood": "calm"})


def test_what_changes_nothing_makes_no_version(database: Database, ada: UUID, contents: Callable[[], Contents]) -> None:
    assert append(database, ada, {}, []) == [Unchanged(0), Unchanged(0)]
    append(database, ada, SUMMARY)
    before = contents()
    there_and_back = [*add("/mood", "calm"), {"op": "remove", "path": "/mood"}]
    for change in (SUMMARY, {"version": 1, "last_updated_by": "user"} | SUMMARY, [], there_and_back):
        assert append(database, ada, change) == [Unchanged(1)]
    assert contents() == before


def test_numbers_that_are_equal_in_python_are_different_values(database: Database, ada: UUID) -> None:
    outcomes = append(database, ada, {"n": 1}, {"n": 1.0}, {"n": True}, {"n": [1]}, {"n": [True]}, {"n": [True]})
    assert [outcome.version for outcome in outcomes] == [1, 2, 3, 4, 5, 5]
    with database.read(ada) as stores:
        assert [repr(stores.snapshots.as_of(version).document["n"]) for version in range(1, 6)] == [
            "1",
            "1.0",
            "True",
            "[1]",
            "[True]",
        ]


def long_history(database: Database, owner: UUID, clock: Clock, versions: int) -> list[Document]:
    """Save versions a second apart, each a little different from the one before, and return them from version 0."""
    documents: list[Document] = [{}]
    for number in range(1, versions + 1):
        clock.move(1)
        facts = {f"fact {place}": number // (place + 1) for place in range(20)}
        documents.append({"facts": facts, "log": [*documents[-1].get("log", []), number][-5:]})
        append(database, owner, documents[-1])
    return documents


def test_every_version_can_be_read_back_by_number_and_by_time(
    clocked: Database, ada: UUID, clock: Clock, administrator: sa.Engine
) -> None:
    began = clock.now
    documents = long_history(clocked, ada, clock, CHECKPOINT_EVERY * 2 + 7)
    texts = [canonically(document) for document in documents]
    assert proven_versions(administrator, ada) == texts[1:]
    with clocked.read(ada) as stores:
        for version, text in enumerate(texts):
            assert canonically(stored(stores.snapshots.as_of(version))) == text
            for seconds in (0.0, 0.999999):
                then = stores.snapshots.as_of(began + timedelta(seconds=version + seconds))
                assert (then.version, canonically(stored(then))) == (version, text)
        in_tokyo = (began + timedelta(seconds=3)).astimezone(timezone(timedelta(hours=9)))
        assert stores.snapshots.as_of(in_tokyo).version == 3


@pytest.mark.parametrize("year", [1, 999, 1969, 2025])
def test_long_ago_there_was_nothing(database: Database, ada: UUID, year: int) -> None:
    append(database, ada, SUMMARY)
    with database.read(ada) as stores:
        assert stores.snapshots.as_of(datetime(year, 1, 1, tzinfo=UTC)).version == 0
        assert stores.snapshots.as_of(datetime(9999, 12, 31, tzinfo=UTC)).version == 1


def test_a_snapshot_checkpoint_comes_at_the_latest_after_fifty_versions(
    clocked: Database, ada: UUID, clock: Clock
) -> None:
    append(clocked, ada, {"note": "x" * 5_000, "count": 0})
    append(clocked, ada, *[add("/count", number) for number in range(1, CHECKPOINT_EVERY + 10)])
    assert checkpoints(clocked, ada) == [1, 1 + CHECKPOINT_EVERY]


def test_a_snapshot_checkpoint_comes_when_patches_outgrow_twice_the_document(database: Database, ada: UUID) -> None:
    append(database, ada, {"note": "x" * 1_000}, *[{"note": letter * 1_000} for letter in "abcdef"], by=by_operator)
    assert checkpoints(database, ada) == [1, 3, 5, 7]  # each patch holds the whole note


def checkpoints(database: Database, owner: UUID) -> list[int]:
    with database.read(owner) as stores:
        entries = stores.snapshots.history(limit=PAGE_LIMIT).entries
    return [entry.version for entry in reversed(entries) if entry.checkpoint_bytes is not None]


def test_a_database_may_be_opened_with_fewer_versions_between_checkpoints(
    clocked: Database, database_url: str, ada: UUID, clock: Clock
) -> None:
    began = clock.now
    for number in range(20):
        clock.move(1)
        append(clocked, ada, {"note": "x" * 5_000, "n": number})
    assert checkpoints(clocked, ada) == [1]
    with Database.open(database_url, policy=DocumentPolicy(checkpoint_every=5), clock=clock) as other:
        with other.read(ada) as stores:
            seen = [stores.snapshots.as_of(began + timedelta(seconds=second)).version for second in range(21)]
        assert seen == list(range(21))
        append(other, ada, add("/n", 20))
        assert checkpoints(other, ada)[-1] == 21


def test_versions_never_go_back_in_time(clocked: Database, ada: UUID, clock: Clock, administrator: sa.Engine) -> None:
    noon = clock.now
    append(clocked, ada, {"n": 1})
    clock.move(-3_600)
    append(clocked, ada, {"n": 2})
    proven_versions(administrator, ada)
    with clocked.read(ada) as stores:
        assert stores.snapshots.as_of(noon).version == 2
        assert stores.snapshots.as_of(noon - timedelta(seconds=1)).version == 0


def test_a_time_without_zone_names_no_version(database: Database, ada: UUID) -> None:
    append(database, ada, SUMMARY)
    with database.read(ada) as stores, pytest.raises(InvalidInput, match="zone"):
        stores.snapshots.as_of(datetime(2026, 11, 20))


@pytest.mark.parametrize("version", [-1, 2, 2**31, 2**63, 2**200, -(2**63) - 1])
def test_a_version_that_was_never_saved_is_not_found(database: Database, ada: UUID, version: int) -> None:
    append(database, ada, SUMMARY)
    with database.begin(ada) as stores:
        for look in (
            stores.snapshots.as_of,
            stores.snapshots.changes_since,
            lambda number: stores.snapshots.difference(number, 1),
            lambda number: stores.snapshots.difference(1, number),
            lambda number: stores.snapshots.revert(number, provenance=by_operator),
        ):
            with pytest.raises(NotFound, match="there is no version"):
                look(version)
        assert stores.snapshots.current().version == 1


def test_history_tells_how_each_version_came_about(clocked: Database, ada: UUID, clock: Clock) -> None:
    by = Provenance(
        Actor.AGENT,
        "loop",
        conversations=["call-1"],
        messages=[3, 4],
        why="She said so.",
        model="scripted",
        prompt="summarize/1",
        tokens=TokenUsage(900, 120),
        changes=[ChangeSource("/mood", None, (4,))],
    )
    append(clocked, ada, SUMMARY)
    clock.move(60)
    append(clocked, ada, add("/mood", "heiter ☀"), by=by)
    with clocked.read(ada) as stores:
        newest, oldest = stores.snapshots.history().entries
    patch_bytes = len(canonically(newest.patch).encode())
    assert newest == HistoryEntry(2, add("/mood", "heiter ☀"), by, clock.now, patch_bytes, None)
    assert (oldest.version, oldest.provenance) == (1, by_user)
    assert oldest.checkpoint_bytes == len(canonically(SUMMARY))


def test_history_comes_newest_first_in_pages(database: Database, ada: UUID) -> None:
    append(database, ada, *[{"n": number} for number in range(1, 8)])
    with database.read(ada) as stores:
        seen: list[int] = []
        before: int | None = None
        for size in (3, 3, 1):
            page = stores.snapshots.history(limit=3, before=before)
            assert len(page.entries) == size
            seen += [entry.version for entry in page.entries]
            before = page.next
        assert seen == [7, 6, 5, 4, 3, 2, 1]
        assert before is None
        assert [entry.version for entry in stores.snapshots.history(before=2**200).entries] == seen
        for nothing in (1, 0, -1):
            assert stores.snapshots.history(before=nothing).entries == ()
        for limit in (0, PAGE_LIMIT + 1):
            with pytest.raises(InvalidInput):
                stores.snapshots.history(limit=limit)


def test_the_patches_of_the_history_rebuild_the_document(database: Database, ada: UUID) -> None:
    append(database, ada, SUMMARY, {"facts": ["a", "b"]}, {"facts": ["b", "c", {"d": 1}]}, by=by_operator)
    document: Document = {}
    with database.read(ada) as stores:
        for entry in reversed(stores.snapshots.history().entries):
            document = jsonpatch.apply_patch(document, entry.patch)
            assert document == stored(stores.snapshots.as_of(entry.version))


def test_a_difference_turns_one_version_into_another_in_either_direction(database: Database, ada: UUID) -> None:
    append(
        database, ada, {"a": [1, 2], "b": {"c": 1}}, {"a": [2], "b": {"c": 1, "d": None}}, {"e": True}, by=by_operator
    )
    with database.read(ada) as stores:
        documents = [stored(stores.snapshots.as_of(version)) for version in range(4)]
        for before in range(4):
            for after in range(4):
                patch = stores.snapshots.difference(before, after)
                assert canonically(jsonpatch.apply_patch(documents[before], patch)) == canonically(documents[after])
                assert (patch == []) == (before == after)


def test_changes_since_a_version_tell_what_is_new(database: Database, ada: UUID) -> None:
    append(database, ada, SUMMARY, add("/mood", "calm"), add("/city", "London"))
    with database.read(ada) as stores:
        changes = stores.snapshots.changes_since(1)
        assert (changes.since, changes.version) == (1, 3)
        assert jsonpatch.apply_patch(SUMMARY, changes.patch) == SUMMARY | {"mood": "calm", "city": "London"}
        assert stores.snapshots.changes_since(3).patch == []


def test_reverting_makes_a_new_version_and_forgets_none(
    database: Database, ada: UUID, administrator: sa.Engine
) -> None:
    append(database, ada, SUMMARY, SUMMARY | {"mood": "calm"})
    with database.begin(ada) as stores:
        assert stores.snapshots.revert(1, provenance=by_operator) == Saved(3, [{"op": "remove", "path": "/mood"}])
        assert stores.snapshots.revert(3, provenance=by_operator) == Unchanged(3)
        assert stores.snapshots.revert(0, provenance=by_operator).version == 4
        assert stores.snapshots.current().document == {"version": 4, "last_updated_by": "operator"}
        assert stores.snapshots.revert(2, provenance=by_operator).version == 5
    texts = proven_versions(administrator, ada)
    assert [texts[0], texts[1], "{}"] == [texts[2], texts[4], texts[3]]


def test_a_revert_that_loses_much_waits_for_an_operator(database: Database, ada: UUID) -> None:
    append(database, ada, SUMMARY, SUMMARY | {"note": LONG_NOTE})
    with database.begin(ada) as stores:
        assert isinstance(stores.snapshots.revert(1, provenance=by_user), Held)
        assert stores.snapshots.current().version == 2
        assert stores.snapshots.revert(1, provenance=by_operator).version == 3


def test_changes_to_different_places_are_both_kept(database: Database, ada: UUID, administrator: sa.Engine) -> None:
    append(database, ada, {"mood": "calm", "facts": ["a"]}, {"mood": "calm", "facts": ["a", "b"]})
    with database.begin(ada) as stores:
        merged = stores.snapshots.append({"mood": "merry", "facts": ["a", "c"]}, provenance=by_user, expected_version=1)
    assert isinstance(merged, Saved)
    assert (merged.version, merged.merged) == (3, True)
    with database.begin(ada) as stores:
        assert stored(stores.snapshots.current()) == {"mood": "merry", "facts": ["a", "b", "c"]}
        again = stores.snapshots.append(add("/facts/-", "d"), provenance=by_user, expected_version=1)
        assert stored(stores.snapshots.current())["facts"] == ["a", "b", "c", "d"]
        assert again.version == 4
    proven_versions(administrator, ada)


def test_a_patch_is_meant_for_the_version_it_was_made_from(database: Database, ada: UUID) -> None:
    append(database, ada, {"facts": ["a", "b"]}, {"facts": ["new", "a", "b"]})
    with database.begin(ada) as stores:
        remove_a = [{"op": "remove", "path": "/facts/0"}]
        stores.snapshots.append(remove_a, provenance=by_user, expected_version=1)
        assert stored(stores.snapshots.current()) == {"facts": ["new", "b"]}


def test_what_others_did_already_makes_no_version(database: Database, ada: UUID) -> None:
    append(database, ada, {"n": 1}, {"n": 2})
    with database.begin(ada) as stores:
        assert stores.snapshots.append({"n": 2}, provenance=by_user, expected_version=1) == Unchanged(2)
        assert stores.snapshots.append({"n": 1}, provenance=by_user, expected_version=1) == Unchanged(2)


def test_a_conflict_names_the_places_and_writes_nothing(
    database: Database, ada: UUID, contents: Callable[[], Contents]
) -> None:
    append(database, ada, {"mood": "calm", "city": "Bath"}, {"mood": "sad", "city": "Bath"})
    before = contents()
    with pytest.raises(VersionConflict) as refused, database.begin(ada) as stores:
        stores.snapshots.append({"mood": "merry", "city": "York"}, provenance=by_user, expected_version=1)
    assert (refused.value.expected, refused.value.current) == (1, 2)
    assert refused.value.conflicts == ({"pointer": "/mood", "base": "calm", "ours": "merry", "theirs": "sad"},)
    json.dumps(refused.value.details)
    assert contents() == before


@pytest.mark.parametrize("expected", [2, 99, -1, 2**63])
def test_a_version_that_never_was_cannot_be_expected(
    database: Database, ada: UUID, contents: Callable[[], Contents], expected: int
) -> None:
    append(database, ada, SUMMARY)
    before = contents()
    with database.begin(ada) as stores, pytest.raises(VersionConflict):
        stores.snapshots.append({"n": 1}, provenance=by_user, expected_version=expected)
    assert contents() == before


def deep(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


BAD_CHANGES = [
    ({"summary": 7}, InvalidDocument),
    ({"version": "one"}, InvalidDocument),
    ({"a": float("nan")}, InvalidJson),
    ({"a": 2**63}, InvalidJson),
    ({"a": "\0"}, InvalidJson),
    ({"a": "\ud800"}, InvalidJson),
    ({7: "a"}, InvalidJson),
    ({"a": {1, 2}}, InvalidJson),
    ({"a": "x" * DOCUMENT_LIMIT}, TooLarge),
    ({"a": [0] * 100_001}, TooLarge),
    ({"a": deep(DEPTH_LIMIT)}, InvalidJson),
    ([{"op": "add", "path": "/a"}], InvalidPatch),
    ([{"op": "add", "path": "a", "value": 1}], InvalidPatch),
    ([{"op": "grow", "path": "/a", "value": 1}], InvalidPatch),
    (["remove"], InvalidPatch),
    ("remove", InvalidPatch),
    (None, InvalidPatch),
    (add("/a", 1) * (PATCH_LIMIT + 1), InvalidPatch),
    ([{"op": "remove", "path": "/b"}], PatchDoesNotApply),
    ([{"op": "replace", "path": "/b", "value": 1}], PatchDoesNotApply),
    ([{"op": "test", "path": "/a", "value": True}], PatchDoesNotApply),
    ([*add("/c", 1), {"op": "add", "path": "/list/7", "value": 1}], PatchDoesNotApply),
    ([{"op": "add", "path": "/a/b", "value": 1}], PatchDoesNotApply),
    ([{"op": "replace", "path": "", "value": [1]}], InvalidInput),
    ([{"op": "remove", "path": ""}], PatchDoesNotApply),
    (add("/b", float("inf")), InvalidJson),
    (add("/summary", None), InvalidDocument),
    ([{"op": "copy", "from": "/list", "path": "/list/-"}] * 60, InvalidPatch),
]


@pytest.mark.parametrize("alone", [True, False], ids=["alone", "in a transaction"])
@pytest.mark.parametrize(("change", "error"), BAD_CHANGES, ids=range(len(BAD_CHANGES)))
def test_a_change_that_cannot_be_made_leaves_no_trace(
    database: Database, ada: UUID, contents: Callable[[], Contents], change: Any, error: type[Exception], alone: bool
) -> None:
    append(database, ada, {"a": 1, "list": ["x"]})
    before = contents()
    with (database.single if alone else database.begin)(ada) as stores, pytest.raises(error):
        stores.snapshots.append(change, provenance=by_user)
    assert contents() == before


def test_a_refused_value_is_not_quoted(database: Database, ada: UUID) -> None:
    secret = "takes 40 mg of a medicine"
    for change in ({"summary": [secret]}, {"a": {secret}}, [{"op": "add", "path": "", "value": [secret]}]):
        with pytest.raises(InvalidInput) as refused:
            append(database, ada, change)
        assert secret not in str(refused.value)


def test_the_callers_objects_are_neither_kept_nor_changed(database: Database, ada: UUID) -> None:
    document = {"facts": ["a"], "version": 0}
    patch = [*add("/facts/-", ["b"]), *add("/facts/1/-", "c")]
    with database.begin(ada) as stores:
        stores.snapshots.append(document, provenance=by_user)
        stores.snapshots.append(patch, provenance=by_user)
        assert document == {"facts": ["a"], "version": 0}
        assert patch == [*add("/facts/-", ["b"]), *add("/facts/1/-", "c")]
        document["facts"].append("never saved")  # type: ignore[attr-defined]
        assert stored(stores.snapshots.current()) == {"facts": ["a", ["b", "c"]]}


def test_a_patch_that_copies_and_moves_is_kept_as_what_it_did(
    database: Database, ada: UUID, administrator: sa.Engine
) -> None:
    append(database, ada, {"a": {"x": [1], "y": 2}})
    copy_then_change: Patch = [
        {"op": "copy", "from": "/a", "path": "/b"},
        {"op": "replace", "path": "/a/x/0", "value": 5},
        {"op": "move", "from": "/a/y", "path": "/b/z"},
        {"op": "test", "path": "/b/x", "value": [1]},
    ]
    (outcome,) = append(database, ada, copy_then_change)
    assert isinstance(outcome, Saved)
    expected = {"a": {"x": [5]}, "b": {"x": [1], "y": 2, "z": 2}}
    assert jsonpatch.apply_patch({"a": {"x": [1], "y": 2}}, outcome.patch) == expected
    assert proven_versions(administrator, ada)[-1] == canonically(expected)


def test_what_follows_in_the_same_transaction_sees_the_version(database: Database, ada: UUID) -> None:
    with database.begin(ada) as stores:
        for number in range(1, 4):
            stores.snapshots.append({"n": number}, provenance=by_user)
            assert stores.snapshots.current().version == number
        assert stored(stores.snapshots.as_of(2)) == {"n": 2}


def test_a_conflict_that_was_caught_does_not_spoil_the_transaction(
    database: Database, ada: UUID, administrator: sa.Engine
) -> None:
    append(database, ada, {"n": 1}, {"n": 2})
    with database.begin(ada) as stores:
        with pytest.raises(VersionConflict):
            stores.snapshots.append({"n": 3}, provenance=by_user, expected_version=1)
        assert stores.snapshots.append({"n": 4}, provenance=by_user).version == 3
    assert proven_versions(administrator, ada)[-1] == '{"n":4}'


class Preferences(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tone: str
    topics: list[str] = []


def test_the_host_may_bring_its_own_model(clocked: Database, database_url: str, ada: UUID) -> None:
    with Database.open(database_url, policy=DocumentPolicy(schema=Preferences)) as database:
        append(database, ada, {"tone": "warm"}, add("/topics", ["cats"]))
        for wrong in ({"tone": 7}, {"tone": "warm", "summary": "no"}, {}):
            with pytest.raises(InvalidDocument):
                append(database, ada, wrong)
        with database.read(ada) as stores:
            assert stores.snapshots.current().document == {
                "version": 2,
                "last_updated_by": "user",
                "tone": "warm",
                "topics": ["cats"],
            }


def test_one_statement_and_a_transaction_write_the_same_rows(
    clocked: Database, ada: UUID, bob: UUID, clock: Clock, administrator: sa.Engine
) -> None:
    def visit(stores: Stores) -> list[Outcome]:
        append = stores.snapshots.append
        return [
            append({"facts": ["a"], "note": LONG_NOTE}, provenance=by_user),
            append(add("/facts/-", "b"), provenance=by_agent("loop"), expected_version=1),
            append(add("/facts/-", "c"), provenance=by_user, expected_version=1),
            append([], provenance=by_user),
            append({"facts": [], "note": "x" * 500}, provenance=by_operator),
        ]

    with clocked.single(ada) as stores:
        alone = visit(stores)
    with clocked.begin(bob) as stores:
        assert visit(stores) == alone
    assert proven_versions(administrator, ada) == proven_versions(administrator, bob)
    without_owner = [
        {
            table: [[cell for cell in row if cell != owner] for row in rows]
            for table, rows in kept.items()
            if table not in ("identities", "owners")
        }
        for owner, kept in ((ada, rows_of(administrator, ada)), (bob, rows_of(administrator, bob)))
    ]
    assert without_owner[0] == without_owner[1]


def test_the_log_of_another_person_is_untouched(
    database: Database, ada: UUID, bob: UUID, administrator: sa.Engine
) -> None:
    append(database, bob, SUMMARY, SUMMARY | {"mood": "calm"})
    before = rows_of(administrator, bob)
    append(database, ada, {"a": 1}, {"b": 2})
    with database.begin(ada) as stores:
        stores.snapshots.revert(1, provenance=by_operator)
    assert rows_of(administrator, bob) == before
