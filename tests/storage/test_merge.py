import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.equality import same
from storage.json_types import Document, Json
from storage.merge import MergeConflict, Merged, merge

EXAMPLES = settings(max_examples=1_000)

# Few names and few values, so that the three documents meet in the same places; 1, 1.0 and True on purpose.
scalars = st.sampled_from([None, True, False, 0, 1, 1.0, -0.0, "", "a", "b", "c"])
names = st.sampled_from(["k", "l", "m", "id"])
values = st.recursive(
    scalars,
    lambda inner: (
        st.dictionaries(names, inner, max_size=3)
        | st.lists(inner, max_size=4)
        | st.lists(st.fixed_dictionaries({"id": st.integers(1, 3)}, optional={"text": inner}), max_size=3)
    ),
    max_leaves=6,
)
documents = st.dictionaries(names, values, max_size=4)
objects = st.recursive(scalars, lambda inner: st.dictionaries(names, inner, max_size=3), max_leaves=8)
object_documents = st.dictionaries(names, objects, max_size=4)
texts = st.lists(st.sampled_from("abcdef"), max_size=5, unique=True)


@EXAMPLES
@given(base=documents, change=documents)
def test_a_change_on_one_side_only_is_the_result(base: Document, change: Document) -> None:
    assert same(merge(base, base, change).document, change)
    assert same(merge(base, change, base).document, change)
    assert merge(base, base, change).conflicts == merge(base, change, base).conflicts == ()


@EXAMPLES
@given(base=documents, change=documents)
def test_the_same_change_on_both_sides_is_the_result(base: Document, change: Document) -> None:
    assert same(merge(base, change, copy.deepcopy(change)).document, change)
    assert merge(base, change, copy.deepcopy(change)).conflicts == ()


@EXAMPLES
@given(base=documents, ours=documents, theirs=documents)
def test_the_sides_may_be_swapped_and_the_conflicts_stay_where_they_are(
    base: Document, ours: Document, theirs: Document
) -> None:
    one, other = merge(base, ours, theirs), merge(base, theirs, ours)
    assert [conflict.pointer for conflict in one.conflicts] == [conflict.pointer for conflict in other.conflicts]


@EXAMPLES
@given(base=object_documents, ours=object_documents, theirs=object_documents)
def test_no_change_of_one_side_is_lost_in_objects(base: Document, ours: Document, theirs: Document) -> None:
    merged = merge(base, ours, theirs).document
    for place, value in one_sided(base, ours, theirs):
        assert same(at(merged, place), value)


@EXAMPLES
@given(base=texts, ours=texts, theirs=texts)
def test_lists_keep_the_additions_and_the_removals_of_both_sides(
    base: list[str], ours: list[str], theirs: list[str]
) -> None:
    merged = merge({"list": base}, {"list": ours}, {"list": theirs})
    removed = set(base) - set(ours) | set(base) - set(theirs)
    assert merged.conflicts == ()
    assert sorted(merged.document["list"]) == sorted(set(base + ours + theirs) - removed)


@EXAMPLES
@given(base=documents, ours=documents, theirs=documents)
def test_the_documents_given_are_neither_changed_nor_shared(base: Document, ours: Document, theirs: Document) -> None:
    given_ = copy.deepcopy((base, ours, theirs))
    merged = merge(base, ours, theirs)
    spoil(merged.document)
    for conflict in merged.conflicts:
        spoil(conflict.as_json())
    assert same(list((base, ours, theirs)), list(given_))


def test_different_members_changed_on_both_sides_are_both_kept() -> None:
    base = {"summary": "calm", "parts": {"a": {"status": "active", "name": "Critic"}}}
    ours = {"summary": "calm", "parts": {"a": {"status": "resting", "name": "Critic"}}}
    theirs = {"summary": "calm", "parts": {"a": {"status": "active", "name": "Guard"}, "b": {"name": "Child"}}}
    assert merge(base, ours, theirs) == Merged(
        {"summary": "calm", "parts": {"a": {"status": "resting", "name": "Guard"}, "b": {"name": "Child"}}}, ()
    )


def test_a_text_changed_on_both_sides_is_a_conflict_that_keeps_theirs() -> None:
    merged = merge({"summary": "calm"}, {"summary": "tense"}, {"summary": "tired"})
    assert merged == Merged({"summary": "tired"}, (MergeConflict("/summary", "calm", "tense", "tired"),))


def test_a_value_changed_on_one_side_and_removed_on_the_other_is_a_conflict() -> None:
    merged = merge({"a": 1, "b": 1}, {"a": 2}, {"b": 2})
    assert merged.document == {"b": 2}
    assert [conflict.as_json() for conflict in merged.conflicts] == [
        {"pointer": "/a", "base": 1, "ours": 2},
        {"pointer": "/b", "base": 1, "theirs": 2},
    ]


def test_null_is_a_value_and_not_an_absence() -> None:
    merged = merge({"a": 1}, {"a": None}, {"a": 2})
    assert merged.conflicts[0].as_json() == {"pointer": "/a", "base": 1, "ours": None, "theirs": 2}


def test_the_same_member_added_on_both_sides_is_merged_where_it_is_an_object_and_conflicts_where_it_is_not() -> None:
    merged = merge({}, {"a": {"x": 1}, "t": "one"}, {"a": {"y": 2}, "t": "two"})
    assert merged.document == {"a": {"y": 2, "x": 1}, "t": "two"}
    assert [conflict.as_json() for conflict in merged.conflicts] == [{"pointer": "/t", "ours": "one", "theirs": "two"}]


@pytest.mark.parametrize(("one", "other"), [(1, 1.0), (1, True), (0, False), (0.0, -0.0)])
def test_numbers_and_booleans_that_python_calls_equal_are_different_changes(one: Json, other: Json) -> None:
    assert len(merge({"a": "x"}, {"a": one}, {"a": other}).conflicts) == 1
    assert same(merge({"a": one}, {"a": other}, {"a": one}).document, {"a": other})
    assert same(merge({"a": [one]}, {"a": [one, other]}, {"a": [one]}).document, {"a": [one, other]})


def test_entries_with_an_id_are_the_same_entry_wherever_they_stand() -> None:
    base = {"goals": [{"id": 1, "text": "rest", "done": False}, {"id": 2, "text": "walk", "done": False}]}
    ours = {"goals": [{"id": 2, "text": "walk far", "done": False}, {"id": 1, "text": "rest", "done": False}]}
    theirs = {"goals": [{"id": 1, "text": "rest", "done": True}, {"id": 2, "text": "walk", "done": True}]}
    assert merge(base, ours, theirs) == Merged(
        {"goals": [{"id": 2, "text": "walk far", "done": True}, {"id": 1, "text": "rest", "done": True}]}, ()
    )


def test_an_entry_removed_by_one_side_and_changed_by_the_other_is_a_conflict_at_its_place_in_base() -> None:
    base = {"goals": [{"id": 1, "text": "rest"}, {"id": 2, "text": "walk"}]}
    ours = {"goals": [{"id": 1, "text": "rest"}, {"id": 2, "text": "run"}]}
    theirs = {"goals": [{"id": 1, "text": "rest"}]}
    merged = merge(base, ours, theirs)
    assert merged.document == theirs
    assert [conflict.as_json() for conflict in merged.conflicts] == [
        {"pointer": "/goals/1", "base": {"id": 2, "text": "walk"}, "ours": {"id": 2, "text": "run"}}
    ]


def test_an_entry_that_both_sides_added_under_one_id_conflicts_past_the_end_of_the_list() -> None:
    merged = merge({"goals": []}, {"goals": [{"id": 7, "t": "a", "x": 1}]}, {"goals": [{"id": 7, "t": "b"}]})
    assert merged.document == {"goals": [{"id": 7, "t": "b", "x": 1}]}
    assert [conflict.pointer for conflict in merged.conflicts] == ["/goals/-/t"]


def test_an_id_that_two_entries_share_tells_nothing_apart_and_no_entry_is_lost() -> None:
    base = {"goals": [{"id": 1, "t": "a"}, {"id": 1, "t": "b"}]}
    merged = merge(base, {"goals": [*base["goals"], {"id": 1, "t": "c"}]}, {"goals": base["goals"][1:]})
    assert merged == Merged({"goals": [{"id": 1, "t": "b"}, {"id": 1, "t": "c"}]}, ())


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "merged"),
    [
        ("a", "ao", "at", "ato"),
        ("a", "oa", "ta", "toa"),
        ("ab", "axb", "ayb", "ayxb"),
        ("ab", "aoOb", "abt", "aoObt"),
        ("abc", "ab", "bc", "b"),
        ("", "ox", "tx", "tox"),
        ("abc", "cba", "abct", "ctba"),
        ("abc", "bac", "cab", "cab"),
        ("aa", "a", "aa", "a"),
        ("a", "aa", "aab", "aab"),
        ("aa", "a", "aaa", "aa"),
    ],
)
def test_additions_follow_the_entry_that_they_were_put_behind(base: str, ours: str, theirs: str, merged: str) -> None:
    result = merge({"list": list(base)}, {"list": list(ours)}, {"list": list(theirs)})
    assert "".join(result.document["list"]) == merged
    assert result.conflicts == ()


def test_twenty_writers_who_each_add_one_fact_to_the_same_version_leave_twenty_facts() -> None:
    base: Document = {"facts": []}
    head = base
    for number in range(20):
        head = merge(base, {"facts": [f"fact {number}"]}, head).document
    assert head == {"facts": [f"fact {number}" for number in range(20)]}


def test_a_pointer_escapes_the_names_that_lead_to_a_conflict() -> None:
    merged = merge({"a/b": {"c~d": 1}}, {"a/b": {"c~d": 2}}, {"a/b": {"c~d": 3}})
    assert [conflict.pointer for conflict in merged.conflicts] == ["/a~1b/c~0d"]


NOTHING = object()


def one_sided(base: Any, ours: Any, theirs: Any, place: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """List what exactly one side changed, as deep as all three are objects: the place and the value it must have."""
    if isinstance(base, dict) and isinstance(ours, dict) and isinstance(theirs, dict):
        return [
            change
            for name in base.keys() | ours.keys() | theirs.keys()
            for change in one_sided(
                base.get(name, NOTHING), ours.get(name, NOTHING), theirs.get(name, NOTHING), (*place, name)
            )
        ]
    if same(base, theirs):
        return [(place, ours)]
    return [(place, theirs)] if same(base, ours) else []


def at(value: Any, place: tuple[str, ...]) -> Any:
    for name in place:
        value = value.get(name, NOTHING)
    return value


def spoil(value: Json) -> None:
    """Change every object and list inside `value`."""
    if isinstance(value, dict | list):
        for inner in list(value.values() if isinstance(value, dict) else value):
            spoil(inner)
        value.clear()
