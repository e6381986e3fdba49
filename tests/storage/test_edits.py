from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from storage.database import Database
from storage.edits import Edit, NewValue, Removal, edited, named
from storage.errors import (
    IdempotencyKeyReused,
    InvalidDocument,
    InvalidJson,
    InvalidPatch,
    NotFound,
    TooLarge,
    UserMemoryError,
    VersionConflict,
)
from storage.json_types import Document
from storage.last_seen import LastSeen
from storage.limits import DEPTH_LIMIT, PATCH_LIMIT
from storage.outcome import Held, Outcome, Saved, Unchanged
from storage.provenance import by_agent, by_user
from storage.transaction import NeedsTransaction
from tests.contents import Contents, canonically, proven_versions

ADA: Document = {
    "summary": "Ada sings.",
    "mood": None,
    "parts": {"critic": {"status": "loud", "a/b": {"~": 1}}},
    "goals": [{"id": "g-1", "status": "open"}, {"id": 7, "status": "open"}, {"status": "nameless"}],
    "facts": ["has a cat", "sings", "10", ""],
    "scores": [1, 2.5, True, None, "text"],
    "shared": [{"id": "x"}, {"id": "x", "other": 1}, "x"],
    "twice": ["a", "b", "a", 1, "1"],
}


def put(pointer: str, value: Any) -> NewValue:
    return NewValue(pointer, value)


def made(*edits: Edit) -> Document:
    """Return the members of Ada's document that the edits changed."""
    before = deepcopy(ADA)
    after = edited(before, edits)
    assert canonically(before) == canonically(ADA)
    return {
        name: value for name, value in after.items() if name not in ADA or canonically(value) != canonically(ADA[name])
    }


@pytest.mark.parametrize(
    ("edit", "changed"),
    [
        (put("/summary", "Ada dances."), {"summary": "Ada dances."}),
        (put("/summary", None), {"summary": None}),
        (put("/mood", {"now": "calm"}), {"mood": {"now": "calm"}}),
        (put("/parts/critic/a~1b/~0", 2), {"parts": {"critic": {"status": "loud", "a/b": {"~": 2}}}}),
        (put("/", "a member without a name"), {"": "a member without a name"}),
        (put("/0", "a member called 0"), {"0": "a member called 0"}),
    ],
    ids=str,
)
def test_a_member_gets_a_new_value(edit: Edit, changed: Document) -> None:
    assert made(edit) == changed


@pytest.mark.parametrize(
    ("edit", "changed"),
    [
        (put("/a/b/c", 1), {"a": {"b": {"c": 1}}}),
        (put("/a/0/c", 1), {"a": {"0": {"c": 1}}}),
        (put("/mood/now", "calm"), {"mood": {"now": "calm"}}),
        (put("/hobbies/-", "chess"), {"hobbies": ["chess"]}),
        (put("/mood/-", "calm"), {"mood": ["calm"]}),
        (put("/a/b/-", {"id": "n"}), {"a": {"b": [{"id": "n"}]}}),
    ],
    ids=str,
)
def test_what_is_missing_on_the_way_is_made(edit: Edit, changed: Document) -> None:
    assert made(edit) == changed


def goals(*entries: Any) -> Document:
    return {"goals": list(entries)}


G1, G7, NAMELESS = ADA["goals"]


@pytest.mark.parametrize(
    ("edit", "changed"),
    [
        (put("/goals/g-1/status", "done"), goals({"id": "g-1", "status": "done"}, G7, NAMELESS)),
        (put("/goals/g-1", {"status": "done"}), goals({"id": "g-1", "status": "done"}, G7, NAMELESS)),
        (put("/goals/g-1", {"id": "g-1"}), goals({"id": "g-1"}, G7, NAMELESS)),
        (put("/goals/7/status", "done"), goals(G1, {"id": 7, "status": "done"}, NAMELESS)),
        (put("/goals/7", {}), goals(G1, {"id": 7}, NAMELESS)),
        (put("/goals/g-2", {"status": "new"}), goals(G1, G7, NAMELESS, {"id": "g-2", "status": "new"})),
        (put("/goals/g-2", {"id": "g-2"}), goals(G1, G7, NAMELESS, {"id": "g-2"})),
        (put("/goals/-", {"id": "g-2"}), goals(G1, G7, NAMELESS, {"id": "g-2"})),
        (put("/goals/-", {"status": "other"}), goals(G1, G7, NAMELESS, {"status": "other"})),
        (put("/goals/-", {"status": "nameless"}), {}),
        (put("/facts/-", "has a dog"), {"facts": [*ADA["facts"], "has a dog"]}),
        (put("/facts/has a dog", "has a dog"), {"facts": [*ADA["facts"], "has a dog"]}),
        (put("/facts/-", "sings"), {}),
        (put("/facts/sings", "sings"), {}),
        (put("/facts/sings", "dances"), {"facts": ["has a cat", "dances", "10", ""]}),
        (put("/facts/sings", "has a cat"), {"facts": ["has a cat", "10", ""]}),
        (put("/facts/sings", {"id": "s"}), {"facts": ["has a cat", {"id": "s"}, "10", ""]}),
        (put("/facts/10", "ten"), {"facts": ["has a cat", "sings", "ten", ""]}),
        (put("/facts/", "something"), {"facts": ["has a cat", "sings", "10", "something"]}),
        (put("/scores/1", 3), {"scores": [3, 2.5, True, None, "text"]}),
        (put("/scores/-", 1), {}),
        (put("/scores/-", 1.0), {"scores": [1, 2.5, True, None, "text", 1.0]}),
        (put("/scores/-", "1"), {"scores": [1, 2.5, True, None, "text", "1"]}),
        (put("/scores/false", False), {"scores": [1, 2.5, True, None, "text", False]}),
        (put("/goals/-", "-"), goals(G1, G7, NAMELESS, "-")),
    ],
    ids=str,
)
def test_a_list_entry_is_named_by_its_id_or_value(edit: Edit, changed: Document) -> None:
    assert canonically(made(edit)) == canonically(changed)


@pytest.mark.parametrize(
    ("pointer", "left"),
    [
        ("/parts/critic/status", {"parts": {"critic": {"a/b": {"~": 1}}}}),
        ("/goals/g-1", goals(G7, NAMELESS)),
        ("/goals/7", goals(G1, NAMELESS)),
        ("/goals/g-1/status", goals({"id": "g-1"}, G7, NAMELESS)),
        ("/facts/has a cat", {"facts": ["sings", "10", ""]}),
        ("/facts/10", {"facts": ["has a cat", "sings", ""]}),
        ("/scores/true", {"scores": [1, 2.5, None, "text"]}),
        ("/scores/null", {"scores": [1, 2.5, True, "text"]}),
        ("/scores/2.5", {"scores": [1, True, None, "text"]}),
    ],
)
def test_what_is_removed_is_gone(pointer: str, left: Document) -> None:
    assert canonically(made(Removal(pointer))) == canonically(left)


def test_a_removed_member_is_gone() -> None:
    assert edited(ADA, [Removal("/mood")]).keys() == ADA.keys() - {"mood"}


@pytest.mark.parametrize(
    ("pointer", "missing"),
    [
        ("/nothing", "/nothing"),
        ("/nothing/inside", "/nothing"),
        ("/mood/now", "/mood"),
        ("/parts/critic/volume", "/parts/critic/volume"),
        ("/goals/g-9", "/goals/g-9"),
        ("/goals/g-9/status", "/goals/g-9"),
        ("/goals/g-1/due", "/goals/g-1/due"),
        ("/facts/has a dog", "/facts/has a dog"),
        ("/scores/false", "/scores/false"),
        ("/scores/1.00", "/scores/1.00"),
        ("/scores/{}", "/scores/{}"),
    ],
)
def test_removing_what_is_not_there_names_the_first_place_that_is_missing(pointer: str, missing: str) -> None:
    with pytest.raises(NotFound) as refused:
        edited(ADA, [Removal(pointer)])
    assert str(refused.value) == f'There is nothing at "{missing}".'


@pytest.mark.parametrize(
    "edit",
    [
        put("/goals/g-9", "text"),
        put("/goals/g-9", ["list"]),
        put("/goals/g-9/status", "done"),
        put("/facts/has a dog", "has a horse"),
        put("/facts/has a dog", None),
    ],
    ids=str,
)
def test_an_entry_that_is_not_there_is_not_replaced(edit: Edit) -> None:
    with pytest.raises(NotFound):
        edited(ADA, [edit])


@pytest.mark.parametrize("index", ["0", "1", "4", "-1", "007"])
@pytest.mark.parametrize("what", [Removal, lambda pointer: put(pointer, {"status": "done"})], ids=["remove", "set"])
def test_an_index_is_refused(index: str, what: Callable[[str], Edit]) -> None:
    for pointer in (f"/goals/{index}", f"/facts/{index}"):
        with pytest.raises(InvalidPatch, match="never by its index") as refused:
            edited(ADA, [what(pointer)])
        assert refused.value.details == {"pointer": pointer}
    with pytest.raises(InvalidPatch, match="never by its index"):
        edited(ADA, [put(f"/goals/{index}/status", "done")])


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("", ADA),
        ("/mood", None),
        ("/parts/critic/a~1b/~0", 1),
        ("/goals/0/status", "open"),
        ("/goals/g-1/status", "open"),
        ("/goals/7", {"id": 7, "status": "open"}),
        ("/facts/3", ""),
        ("/facts/", ""),
        ("/facts/sings", "sings"),
        ("/facts/10", "10"),
        ("/scores/4", "text"),
        ("/scores/2.5", 2.5),
        ("/scores/true", True),
        ("/scores/null", None),
        ("/twice/1", "b"),
        ("/shared/1/other", 1),
    ],
)
def test_a_value_is_read_by_index_or_by_the_name_under_which_it_is_edited(pointer: str, value: Any) -> None:
    found = named(ADA, pointer)
    assert (type(found), found) == (type(value), value)


def test_an_id_that_looks_like_an_index_is_one_as_long_as_there_is_such_an_entry() -> None:
    goals: list[Any] = [{"id": 1}, {"id": "0"}]
    assert named({"goals": goals}, "/goals/1") is goals[1]
    assert named({"goals": goals}, "/goals/0") is goals[0]
    assert named({"goals": goals[:1]}, "/goals/1") is goals[0]


@pytest.mark.parametrize(
    ("pointer", "why"),
    [
        ("/nothing", "no member"),
        ("/goals/g-9", "no entry has"),
        ("/goals/g-9/status", "no entry has"),
        ("/goals/g-1/due", "no member"),
        ("/goals/nameless", "no entry has"),
        ("/goals/3", "no entry has"),
        ("/goals/-", "no entry has"),
        ("/goals/-1", "no entry has"),
        ("/facts/has a dog", "no entry has"),
        ("/facts/01", "no entry has"),
        ("/facts/sings/0", "a string has no"),
        ("/scores/1.00", "no entry has"),
        ("/scores/[]", "no entry has"),
        ("/shared/x", "several entries"),
        ("/twice/a", "several entries"),
        ("/facts/" + "9" * 100_000, "no entry has"),
        ("/facts/" + "[" * 100_000, "no entry has"),
    ],
    ids=lambda text: text[:30],
)
def test_where_no_single_value_is_nothing_is_found(pointer: str, why: str) -> None:
    with pytest.raises(NotFound, match=why) as missing:
        named(ADA, pointer)
    assert pointer[:30] in str(missing.value)
    assert len(str(missing.value)) < 500


@pytest.mark.parametrize("pointer", ["summary", "/a~", "/a~2", "facts/sings"])
def test_what_is_no_pointer_names_nothing(pointer: str) -> None:
    with pytest.raises(InvalidPatch, match="pointer"):
        named(ADA, pointer)


@pytest.mark.parametrize(
    ("edit", "why", "place"),
    [
        (Removal("/shared/x"), "several entries", "/shared/x"),
        (put("/shared/x/other", 2), "several entries", "/shared/x"),
        (Removal("/twice/a"), "several entries", "/twice/a"),
        (Removal("/twice/1"), "several entries", "/twice/1"),
        (put("/summary/first", "Ada"), "a string stands there", "/summary"),
        (Removal("/summary/first"), "a string stands there", "/summary"),
        (put("/scores/2.5/x", 1), "a number stands there", "/scores/2.5"),
        (put("/facts/sings/-", 1), "a string stands there", "/facts/sings"),
        (put("/goals/g-1", {"id": "g-2"}), "another id", "/goals/g-1"),
        (put("/goals/g-1", {"id": None}), "another id", "/goals/g-1"),
        (put("/goals/g-9", {"id": "g-2"}), "another id", "/goals/g-9"),
        (put("/goals/7", {"id": 7.0}), "another id", "/goals/7"),
        (put("/goals/g-1", "done"), "is an object, not a string", "/goals/g-1"),
        (put("/goals/g-1", None), "is an object, not null", "/goals/g-1"),
        (put("/goals/-", {"id": "g-1"}), "by its id", "/goals/-"),
        (put("/goals/-", {"id": "7"}), "by its id", "/goals/-"),
        (put("/goals/-", dict(G1)), "by its id", "/goals/-"),
        (put("/goals/-/status", "done"), "a new entry", "/goals/-"),
        (Removal("/goals/-"), "a new entry", "/goals/-"),
        (put("/parts/-", 1), "not the end of a list", "/parts/-"),
        (put("/-", 1), "not the end of a list", "/-"),
        (put("/hobbies/-/name", 1), "not the end of a list", "/hobbies/-"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused_with_its_place(edit: Edit, why: str, place: str) -> None:
    with pytest.raises(InvalidPatch, match=why) as refused:
        edited(ADA, [edit])
    assert refused.value.details == {"pointer": place}
    assert refused.value.code == "invalid_patch"


@pytest.mark.parametrize("pointer", ["", "/version", "/last_updated_by", "/version/1", "summary", "/a~", "/a~2"])
@pytest.mark.parametrize("what", [Removal, lambda pointer: put(pointer, 1)], ids=["remove", "set"])
def test_some_pointers_are_no_place_for_an_edit(pointer: str, what: Callable[[str], Edit]) -> None:
    with pytest.raises(InvalidPatch) as refused:
        what(pointer)
    assert refused.value.details == {"pointer": pointer}


def test_only_the_documents_own_version_is_the_memorys() -> None:
    assert made(put("/parts/critic", {"version": 2})) == {"parts": {"critic": {"version": 2}}}


def test_what_is_no_json_is_refused_when_an_edit_is_made() -> None:
    for value in (float("nan"), {1: 2}, {"a": {1}}, (1,), 2**64, "\ud800", "\0"):
        with pytest.raises(InvalidJson):
            put("/a", value)
    for pointer in ("/\ud800", "/\0"):
        with pytest.raises(InvalidJson):
            Removal(pointer)
    with pytest.raises(InvalidPatch):
        Removal(7)  # type: ignore[arg-type]
    with pytest.raises(TooLarge):
        put("/a", "x" * 300_000)


def test_nesting_and_numbers_of_edits_have_a_limit() -> None:
    assert edited({}, [put("/a" * DEPTH_LIMIT, 1)])
    with pytest.raises(TooLarge):
        put("/a" * (DEPTH_LIMIT + 1), 1)
    with pytest.raises(TooLarge):
        edited({}, [put("/a" * DEPTH_LIMIT, {})])
    assert edited({}, [put("/a", 1)] * PATCH_LIMIT) == {"a": 1}
    with pytest.raises(InvalidPatch, match="10001 edits"):
        edited({}, [put("/a", 1)] * (PATCH_LIMIT + 1))


def test_edits_are_made_in_order_all_or_none() -> None:
    before = deepcopy(ADA)
    assert edited({}, [put("/a/-", 1), put("/a/-", 2), Removal("/a/1"), put("/a/2", {"id": 2})]) == {"a": [{"id": 2}]}
    with pytest.raises(NotFound):
        edited(before, [put("/summary", "lost"), Removal("/facts/sings"), Removal("/facts/sings")])
    assert before == ADA


def test_the_result_shares_nothing_with_what_was_given() -> None:
    value = {"list": [1]}
    before: Document = {"kept": {"list": [1]}}
    after = edited(before, [put("/a", value), put("/b", value)])
    after["a"]["list"].append(2)
    after["kept"]["list"].append(2)
    assert value == {"list": [1]}
    assert before == {"kept": {"list": [1]}}
    assert after["b"] == {"list": [1]}


NAMES = st.sampled_from(["a", "b", "id", "0", "1", "-", "x~y", "true", ""])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2) | NAMES,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(NAMES, inside, max_size=3),
    max_leaves=8,
)
DOCUMENTS = st.dictionaries(NAMES, VALUES, max_size=4)
POINTERS = st.lists(NAMES, min_size=1, max_size=4).map(
    lambda names: "".join(f"/{name.replace('~', '~0')}" for name in names)
)
EDITS = st.lists(st.builds(NewValue, POINTERS, VALUES) | st.builds(Removal, POINTERS), max_size=4)


@given(DOCUMENTS, EDITS)
def test_any_edits_leave_the_document_alone_and_fail_only_as_said(document: Document, edits: list[Edit]) -> None:
    before = canonically(document)
    with suppress(InvalidPatch, NotFound):
        after = edited(document, edits)
        for last in edits[-1:]:
            if isinstance(last, Removal):
                with pytest.raises((InvalidPatch, NotFound)):
                    edited(after, [last])
    assert canonically(document) == before


# In the store.


def edit(database: Database, owner: UUID, *edits: Edit, **how: Any) -> Outcome:
    with database.begin(owner) as stores:
        return stores.snapshots.edit(edits, **{"provenance": by_user} | how)


def current(database: Database, owner: UUID) -> Document:
    with database.read(owner) as stores:
        return stores.snapshots.current().document


def test_edits_become_the_next_version(database: Database, ada: UUID, administrator: sa.Engine) -> None:
    first = edit(database, ada, put("/facts/-", "sings"), put("/facts/-", "has a cat, two dogs and a horse"))
    assert isinstance(first, Saved)
    assert edit(database, ada, put("/facts/-", "sings")) == Unchanged(1)
    assert edit(database, ada) == Unchanged(1)
    assert edit(database, ada, Removal("/facts/sings")) == Saved(2, [{"op": "remove", "path": "/facts/0"}])
    assert proven_versions(administrator, ada) == [
        '{"facts":["sings","has a cat, two dogs and a horse"]}',
        '{"facts":["has a cat, two dogs and a horse"]}',
    ]


def test_a_refused_edit_writes_nothing(database: Database, ada: UUID, contents: Callable[[], Contents]) -> None:
    edit(database, ada, put("/facts", ["sings"]))
    before = contents()
    refused: list[tuple[Edit, type[UserMemoryError]]] = [
        (Removal("/facts/dances"), NotFound),
        (put("/facts/0", "x"), InvalidPatch),
        (put("/summary", 7), InvalidDocument),
    ]
    for wrong, error in refused:
        with pytest.raises(error):
            edit(database, ada, put("/mood", "calm"), wrong)
    assert contents() == before


def test_edits_of_an_older_version_are_merged(database: Database, ada: UUID) -> None:
    edit(database, ada, put("/facts", ["sings"]), put("/mood", "calm"))
    edit(database, ada, put("/facts/-", "has a cat"))
    merged = edit(database, ada, put("/facts/-", "dances"), Removal("/mood"), expected_version=1)
    assert isinstance(merged, Saved)
    assert merged.merged
    assert current(database, ada)["facts"] == ["sings", "has a cat", "dances"]
    assert "mood" not in current(database, ada)
    assert edit(database, ada, put("/facts/sings", "sings"), expected_version=1) == Unchanged(3)


def test_what_both_sides_changed_is_a_conflict(database: Database, ada: UUID, contents: Callable[[], Contents]) -> None:
    edit(database, ada, put("/summary", "Ada."))
    edit(database, ada, put("/summary", "Ada sings."))
    before = contents()
    with pytest.raises(VersionConflict) as conflict:
        edit(database, ada, put("/summary", "Ada dances."), expected_version=1)
    assert conflict.value.details["conflicts"][0]["pointer"] == "/summary"
    for nowhere in (3, -1, 2**100):
        with pytest.raises(VersionConflict) as ahead:
            edit(database, ada, put("/summary", "Ada dances."), expected_version=nowhere)
        assert (ahead.value.expected, ahead.value.current) == (nowhere, 2)
    assert contents() == before


def test_an_edit_is_looked_up_in_the_version_that_it_was_made_from(database: Database, ada: UUID) -> None:
    edit(database, ada, put("/facts", ["sings"]))
    edit(database, ada, put("/facts/-", "has a cat"))
    with pytest.raises(NotFound):
        edit(database, ada, Removal("/facts/has a cat"), expected_version=1)
    assert edit(database, ada, Removal("/facts/has a cat"), expected_version=2).version == 3


def test_the_guard_holds_edits_as_it_holds_any_change(database: Database, ada: UUID) -> None:
    edit(database, ada, put("/safety_notes", "Never mention the flood."))
    held = edit(database, ada, Removal("/safety_notes"), provenance=by_agent("loop"))
    assert isinstance(held, Held)
    assert current(database, ada)["safety_notes"]


def test_the_same_edits_under_one_key_are_made_once(database: Database, ada: UUID) -> None:
    first = edit(database, ada, put("/count", 1), idempotency_key="k")
    edit(database, ada, put("/count", 2))
    assert edit(database, ada, put("/count", 1), idempotency_key="k") == first
    assert current(database, ada)["count"] == 2
    for other in ((put("/count", 3),), (put("/count", 1.0),), (Removal("/count"),), ()):
        with pytest.raises(IdempotencyKeyReused):
            edit(database, ada, *other, idempotency_key="k")


def test_edits_need_no_transaction(database: Database, ada: UUID) -> None:
    seen = LastSeen()
    for number in range(1, 4):
        with database.single(ada, seen) as stores:
            assert stores.snapshots.edit([put("/count", number)], provenance=by_user).version == number
    with database.single(ada, seen) as stores:
        late = stores.snapshots.edit([put("/mood", "calm")], provenance=by_user, expected_version=1)
    assert late.version == 4
    assert current(database, ada) == {"version": 4, "last_updated_by": "user", "count": 3, "mood": "calm"}
    with database.single(ada, seen) as stores, pytest.raises(NeedsTransaction):
        stores.snapshots.edit([put("/mood", "x")], provenance=by_user, idempotency_key="k")


def test_who_saves_between_reading_and_saving_is_merged_not_overwritten(database: Database, ada: UUID) -> None:
    edit(database, ada, put("/facts", ["sings"]))

    class Interrupted(list[Edit]):
        """Edits that somebody else's save comes before, once the head was read."""

        def __len__(self) -> int:
            edit(database, ada, put("/facts/-", "has a cat"))
            return super().__len__()

    with database.single(ada, LastSeen()) as stores:
        outcome = stores.snapshots.edit(Interrupted([put("/facts/-", "dances")]), provenance=by_user)
    assert isinstance(outcome, Saved)
    assert outcome.merged
    assert sorted(current(database, ada)["facts"]) == ["dances", "has a cat", "sings"]
