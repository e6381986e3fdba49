import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonpatch
import jsonpointer
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.equality import same
from storage.errors import InvalidPatch, PatchDoesNotApply, TooLarge, UserMemoryError
from storage.json_types import Json, Patch
from storage.limits import DEPTH_LIMIT, NODE_LIMIT, PATCH_LIMIT
from storage.patch import apply, apply_in_place, check_patch, replay

CASES = Path(__file__).parents[3] / "shared" / "data" / "json-patch-tests"
"""The public RFC 6902 cases, kept beside the project."""


def copy_of(value: Json) -> Json:
    return json.loads(json.dumps(value))


# --------------------------------------------------------------------------- the public cases


def public_cases() -> list[Any]:
    if not CASES.is_dir():
        return []
    return [
        pytest.param(case, id=f"{name}-{number}")
        for name in ("tests", "spec_tests")
        for number, case in enumerate(json.loads((CASES / f"{name}.json").read_text(encoding="utf-8")))
        if not case.get("disabled") and "patch" in case
    ]


def test_the_public_cases_are_there() -> None:
    if not CASES.is_dir() and not os.environ.get("CI"):
        pytest.skip("the public RFC 6902 cases are not beside the project")
    assert len(public_cases()) == 108


@pytest.mark.parametrize("case", public_cases())
def test_a_public_case_ends_as_it_should(case: dict[str, Json]) -> None:
    before = copy_of(case["doc"])
    if "error" in case:
        with pytest.raises((InvalidPatch, PatchDoesNotApply)):
            apply(before, case["patch"])
    else:
        after = apply(before, case["patch"])
        assert same(after, case.get("expected", case["doc"]))
        assert same(apply_in_place(copy_of(before), case["patch"]), after)
    assert same(before, case["doc"])


# --------------------------------------------------------------------------- shape


@pytest.mark.parametrize(
    ("patch", "complaint"),
    [
        ({}, "list of operations"),
        (None, "list of operations"),
        ("[]", "list of operations"),
        ([[]], "Operation 0 .* not an array"),
        ([None], "Operation 0 .* not null"),
        ([{"path": "/a"}], "Operation 0 .* op"),
        ([{"op": "spam", "path": "/a"}], "Operation 0 .* op"),
        ([{"op": ["add"], "path": "/a"}], "Operation 0 .* op"),
        ([{"op": "Add", "path": "/a", "value": 1}], "Operation 0 .* op"),
        ([{"op": "test", "path": "", "value": {}}, {"op": "add", "path": "/a"}], "Operation 1 .* value"),
        ([{"op": "add", "value": 1}], "Operation 0 .* path"),
        ([{"op": "move", "path": "/a"}], "Operation 0 .* from"),
        ([{"op": "copy", "path": "/a", "from": 5}], "Operation 0 .* from is a number"),
        ([{"op": "remove", "path": None}], "Operation 0 .* path is null"),
        ([{"op": "remove", "path": "a"}], "Operation 0 .* slash"),
        ([{"op": "remove", "path": "/~3"}], "Operation 0 .* ~"),
        ([{"op": "move", "from": "/a", "path": "/a/b"}], "Operation 0 .* inside itself"),
        ([{"op": "move", "from": "", "path": "/a"}], "Operation 0 .* inside itself"),
    ],
)
def test_an_ill_formed_patch_is_refused_with_its_place(patch: object, complaint: str) -> None:
    with pytest.raises(InvalidPatch, match=complaint):
        check_patch(patch)
    with pytest.raises(InvalidPatch, match=complaint):
        apply({"a": {}}, patch)


def test_a_member_that_an_operation_does_not_know_is_left_out() -> None:
    patch = [{"op": "add", "path": "/a", "value": None, "from": "junk", "note": "x" * 100}]
    assert check_patch(patch) == [{"op": "add", "path": "/a", "value": None}]
    assert len(patch[0]) == 5


def test_a_patch_of_jsonpatch_is_accepted() -> None:
    patch = jsonpatch.JsonPatch([{"op": "add", "path": jsonpointer.JsonPointer("/a~1b"), "value": [1]}])
    assert check_patch(patch) == [{"op": "add", "path": "/a~1b", "value": [1]}]
    assert apply({}, patch) == {"a/b": [1]}


def test_a_sibling_whose_name_begins_alike_is_not_inside() -> None:
    assert apply({"a": 1}, [{"op": "move", "from": "/a", "path": "/ab"}]) == {"ab": 1}


# --------------------------------------------------------------------------- application

MISSES = [
    ({"a": 1}, {"op": "remove", "path": "/b"}),
    ({"a": 1}, {"op": "replace", "path": "/b", "value": 1}),
    ({"a": 1}, {"op": "add", "path": "/b/c", "value": 1}),
    ({"a": 1}, {"op": "add", "path": "/a/0", "value": 1}),
    ({"a": "text"}, {"op": "test", "path": "/a/0", "value": "t"}),
    ({"a": "text"}, {"op": "copy", "from": "/a/0", "path": "/b"}),
    ({"a": None}, {"op": "remove", "path": "/a/b"}),
    ({"a": []}, {"op": "remove", "path": "/a/0"}),
    ({"a": [1]}, {"op": "add", "path": "/a/2", "value": 1}),
    ({"a": [1]}, {"op": "add", "path": "/a/01", "value": 1}),
    ({"a": [1]}, {"op": "add", "path": "/a/-1", "value": 1}),
    ({"a": [1]}, {"op": "remove", "path": "/a/-"}),
    ({"a": [1]}, {"op": "replace", "path": "/a/-", "value": 1}),
    ({"a": [1]}, {"op": "test", "path": "/a/-", "value": 1}),
    ({"a": [1]}, {"op": "move", "from": "/a/-", "path": "/b"}),
    ({"a": [1]}, {"op": "copy", "from": "/a/00", "path": "/b"}),
    ({"a": [1]}, {"op": "move", "from": "/b", "path": "/b"}),
    ({"a": [1]}, {"op": "remove", "path": ""}),
    ({"a": [1]}, {"op": "test", "path": "/a", "value": [2]}),
    (7, {"op": "add", "path": "/a", "value": 1}),
]


@pytest.mark.parametrize(("document", "operation"), MISSES)
def test_a_patch_that_does_not_fit_names_the_operation_and_its_path(document: Json, operation: Json) -> None:
    place = operation.get("from", operation["path"])
    with pytest.raises(PatchDoesNotApply) as why:
        apply(document, [{"op": "test", "path": "", "value": document}, operation])
    assert "Operation 1 " in str(why.value)
    assert f'"{place}"' in str(why.value)


@pytest.mark.parametrize(("document", "operation"), MISSES)
def test_all_of_a_patch_applies_or_nothing(document: Json, operation: Json) -> None:
    before = copy_of(document)
    harmless = [{"op": "replace", "path": "", "value": document}]
    with pytest.raises(PatchDoesNotApply):
        apply(document, [*harmless, operation])
    assert same(document, before)


def test_the_input_is_never_changed_and_never_shared() -> None:
    document = {"a": [{"x": 1}], "b": {"y": [2]}}
    patch = [
        {"op": "add", "path": "/c", "value": {"z": []}},
        {"op": "add", "path": "/c/z/-", "value": [3]},
        {"op": "copy", "from": "/c", "path": "/d"},
        {"op": "move", "from": "/a/0", "path": "/e"},
    ]
    texts = json.dumps([document, patch])
    after = apply(document, patch)
    after["b"]["y"].append(4)
    after["c"]["z"][0].append(5)
    assert after["d"] == {"z": [[3]]}
    assert json.dumps([document, patch]) == texts


def test_replaying_leaves_the_patches_as_they_were() -> None:
    patches: list[Patch] = [
        [{"op": "add", "path": "/a", "value": {"n": []}}],
        [{"op": "add", "path": "/a/n/-", "value": 1}, {"op": "copy", "from": "/a", "path": "/b"}],
        [{"op": "add", "path": "/b/n/-", "value": 2}],
        [{"op": "replace", "path": "", "value": {"c": []}}, {"op": "add", "path": "/c/0", "value": 3}],
    ]
    text = json.dumps(patches)
    assert replay({}, patches[:3]) == {"a": {"n": [1]}, "b": {"n": [1, 2]}}
    assert replay({}, patches) == {"c": [3]}
    assert json.dumps(patches) == text


def test_replaying_in_place_changes_the_document_itself() -> None:
    document: Json = {"a": 1}
    assert apply_in_place(document, [{"op": "add", "path": "/b", "value": 2}]) is document
    with pytest.raises(PatchDoesNotApply, match="Operation 0"):
        replay(document, [[], [{"op": "remove", "path": "/c"}]])


def test_moving_a_value_to_where_it_is_changes_nothing() -> None:
    for document, place in (({"a": [1, 2]}, "/a/1"), ({"a": 1}, "/a"), ([1], "")):
        assert apply(document, [{"op": "move", "from": place, "path": place}]) == document


# --------------------------------------------------------------------------- equality of the test operation


@pytest.mark.parametrize(
    ("value", "expected", "passes"),
    [
        (1, 1.0, True),
        (0.0, -0.0, True),
        (1, True, False),
        (0, False, False),
        ([1], [True], False),
        ({"a": [1.0]}, {"a": [1]}, True),
        ({"a": {"b": 0}}, {"a": {"b": False}}, False),
        ({"a": 1, "b": True}, {"b": True, "a": 1.0}, True),
        ("1", 1, False),
        (None, False, False),
        ([], {}, False),
        ([1, 2], [2, 1], False),
        (2**53 + 1, float(2**53), False),
        ("é", "e\u0301", False),
    ],
)
def test_the_test_operation_compares_as_the_standard_says(value: Json, expected: Json, passes: bool) -> None:
    patch = [{"op": "test", "path": "/v", "value": expected}]
    if passes:
        assert same(apply({"v": value}, patch), {"v": value})
    else:
        with pytest.raises(PatchDoesNotApply, match="not the expected"):
            apply({"v": value}, patch)


# --------------------------------------------------------------------------- hostile patches

MANY = [0] * (NODE_LIMIT - 10)


def nested(levels: int) -> Json:
    value: Json = 1
    for _ in range(levels):
        value = [value]
    return value


HOSTILE: dict[str, tuple[Json, Any, type[UserMemoryError]]] = {
    "copies that double an object": (
        {"a": "x" * 10},
        [{"op": "copy", "from": "", "path": f"/k{n}"} for n in range(20)],
        InvalidPatch,
    ),
    "copies that double an array": ([0], [{"op": "copy", "from": "", "path": "/-"}] * 20, InvalidPatch),
    "copies of one long text": ({"s": "x" * 200_000}, [{"op": "copy", "from": "/s", "path": "/t"}] * 2, InvalidPatch),
    "copies of long names": (
        {"o": {"n" * 200_000: 1}},
        [{"op": "copy", "from": "/o", "path": "/p"}] * 2,
        InvalidPatch,
    ),
    "moves through a long array": (MANY, [{"op": "move", "from": "/0", "path": "/99989"}] * 10_000, InvalidPatch),
    "additions in front of a long array": (MANY, [{"op": "add", "path": "/0", "value": 1}] * 10_000, InvalidPatch),
    "removals in front of a long array": (MANY, [{"op": "remove", "path": "/0"}] * 10_000, InvalidPatch),
    "a large value that goes down and up": (
        {"a": MANY[:90_000], "b": {}},
        [{"op": "move", "from": "/a", "path": "/b/a"}, {"op": "move", "from": "/b/a", "path": "/a"}] * 5_000,
        InvalidPatch,
    ),
    "large values to compare": (MANY, [{"op": "test", "path": "", "value": MANY}] * 10_000, InvalidPatch),
    "long pointers": (nested(63), [{"op": "replace", "path": "/0" * 63, "value": 1}] * 10_000, InvalidPatch),
    "very many operations": ({}, [{"op": "test", "path": "", "value": {}}] * (PATCH_LIMIT + 1), InvalidPatch),
    "an index of many digits": ([1], [{"op": "remove", "path": "/" + "9" * 200_000}], PatchDoesNotApply),
    "a value that nests": ({}, [{"op": "add", "path": "/a", "value": nested(DEPTH_LIMIT)}], InvalidPatch),
    "a value to compare that nests": ({}, [{"op": "test", "path": "", "value": nested(100_000)}], InvalidPatch),
    "additions that nest": (
        {},
        [{"op": "add", "path": "/a" * levels, "value": {}} for levels in range(1, 100)],
        InvalidPatch,
    ),
    "copies that nest": ([1], [{"op": "copy", "from": "", "path": "/0"}] * 70, InvalidPatch),
    "moves that nest": (
        {"a": nested(60), "b": {"c": {"d": {"e": {}}}}},
        [{"op": "move", "from": "/a", "path": "/b/c/d/e/f"}],
        InvalidPatch,
    ),
}


SOON = 0.5
"""Seconds of CPU: it takes about 0.1 on a free machine, and what is not refused takes minutes and all memory."""


def seconds(act: Callable[[], object]) -> float:
    """Return the CPU that the best of three takes: a busy machine slows one of them, what is really slow is all."""

    def once() -> float:
        start = time.process_time()
        act()
        return time.process_time() - start

    return min(once() for _ in range(3))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_patch_is_refused_soon(name: str) -> None:
    document, patch, error = HOSTILE[name]
    size = len(document)

    def refused() -> None:
        with pytest.raises(error, match=r"[Oo]peration"):
            apply(document, patch)

    assert seconds(refused) < SOON
    assert len(document) == size


HARMLESS: dict[str, tuple[Json, Patch]] = {
    "a thousand moves in a list of a thousand": (
        list(range(1_000)),
        [{"op": "move", "from": "/0", "path": "/999"}] * 1_000,
    ),
    "a large value that takes other names": (
        {"a": MANY},
        [{"op": "move", "from": "/a", "path": "/b"}, {"op": "move", "from": "/b", "path": "/a"}] * 5_000,
    ),
    "a value as deep as may be": ({}, [{"op": "add", "path": "/a", "value": nested(DEPTH_LIMIT - 1)}]),
    "a copy as deep as may be": (
        {"a": nested(DEPTH_LIMIT - 2), "b": {}},
        [{"op": "copy", "from": "/a", "path": "/b/a"}],
    ),
    "a move as deep as may be": (
        {"a": nested(DEPTH_LIMIT - 2), "b": {}},
        [{"op": "move", "from": "/a", "path": "/b/a"}],
    ),
    "a long text copied once": ({"s": "x" * 200_000}, [{"op": "copy", "from": "/s", "path": "/t"}]),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_a_demanding_patch_within_the_limits_applies(name: str) -> None:
    document, patch = HARMLESS[name]
    assert seconds(lambda: apply(document, patch)) < SOON
    assert same(apply(document, patch), apply_in_place(copy_of(document), patch))


def test_a_document_that_nests_too_deep_is_refused() -> None:
    with pytest.raises(TooLarge, match="64 levels"):
        apply(nested(DEPTH_LIMIT + 1), [])


def test_a_message_does_not_repeat_a_very_long_path() -> None:
    with pytest.raises(PatchDoesNotApply) as why:
        apply({}, [{"op": "remove", "path": "/" + "x" * 100_000}])
    assert len(str(why.value)) < 1_000


# --------------------------------------------------------------------------- against jsonpatch

NAMES = st.sampled_from(["", "a", "b", "~", "/", "~1", "0", "1", "01", "-", "é"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.sampled_from([0, 1, 1.0, -0.0, 2**63 - 1, 1.5, "", "a", "0"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


def places(value: Json, place: str = "") -> Iterator[str]:
    """Yield every pointer into `value`, and some that lead just beside."""
    yield place
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in below:
        yield from places(inner, f"{place}/{str(name).replace('~', '~0').replace('/', '~1')}")
    if isinstance(value, list):
        yield from (f"{place}/{token}" for token in ("-", str(len(value)), str(len(value) + 1), "00"))
    else:
        yield f"{place}/b"


@st.composite
def documents_with_patches(draw: st.DrawFn) -> tuple[Json, Patch]:
    document = draw(VALUES)
    some_place = st.sampled_from(sorted({*places(document)}))
    patch: Patch = []
    for name in draw(st.lists(st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]), max_size=5)):
        operation: dict[str, Json] = {"op": name, "path": draw(some_place)}
        if name in ("add", "replace", "test"):
            operation["value"] = draw(VALUES)
        if name in ("move", "copy"):
            operation["from"] = draw(some_place)
        patch.append(operation)
    return document, patch


def outcome_by_jsonpatch(document: Json, patch: Patch) -> tuple[bool, Json]:
    try:
        return True, jsonpatch.apply_patch(document, patch)
    except (jsonpatch.JsonPatchException, jsonpointer.JsonPointerException):
        return False, None


def outcome(document: Json, patch: Patch) -> tuple[bool, Json]:
    try:
        return True, apply(document, patch)
    except (InvalidPatch, PatchDoesNotApply):
        return False, None


@settings(deadline=None)
@given(documents_with_patches())
def test_every_patch_ends_as_with_jsonpatch(pair: tuple[Json, Patch]) -> None:
    document, patch = pair
    before = copy_of(document)
    applied, after = outcome(document, patch)
    expected_to_apply, expected = outcome_by_jsonpatch(document, patch)
    assert applied == expected_to_apply
    assert same(after, expected)
    assert same(document, before)
