import json
import random
from itertools import pairwise, product
from typing import Any

import jsonpatch
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.difference import difference, prove, proven_difference
from storage.equality import comparable, equal, same
from storage.errors import PatchDoesNotApply
from storage.json_types import Json, Patch
from storage.limits import PATCH_LIMIT
from storage.patch import apply, check_patch, replay

NUMBERS = [0, -0.0, 0.0, False, 1, 1.0, True, -1, 2**53, float(2**53), 2**63 - 1, 2**64, float(2**64), 1e300]
"""Values of which `==` calls several equal that are not the same."""

NAMES = st.sampled_from(["", "a", "b", "c", "~", "/", "a/b", "~1", "~01", "0", "1", "01", "-", "id", "é", "ключ"])
SCALARS = (
    st.none()
    | st.sampled_from(NUMBERS)
    | st.text(max_size=4)
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=25,
)
FEW = st.sampled_from([1, 1.0, True, "a", "b", [1], [True], {"a": 1}, {"a": 1.0}, {"id": "x", "n": 1}, {"id": "x"}])
"""So few values that two arrays of them share most of their entries."""


WORDS = [f"a sentence that is worth moving, number {n}" for n in range(40)]


def copy_of(value: Json) -> Json:
    return json.loads(json.dumps(value))


def size(patch: Patch) -> int:
    return len(json.dumps(patch, separators=(",", ":")))


def leads(before: Json, after: Json) -> Patch:
    """Return the difference, having seen that it leads from one to the other, in our hands and in jsonpatch's."""
    texts = comparable(before), comparable(after)
    patch = difference(before, after)
    prove(before, patch, after)
    assert same(apply(before, patch), after)
    assert same(jsonpatch.apply_patch(copy_of(before), patch), after)
    assert (comparable(before), comparable(after)) == texts
    return patch


# --------------------------------------------------------------------------- equality


def test_values_are_the_same_only_when_their_json_is() -> None:
    for a, b in product(NUMBERS, NUMBERS):
        expected = json.dumps(a) == json.dumps(b)
        assert same(a, b) == expected
        assert same([a], [b]) == expected
        assert same({"x": [a]}, {"x": [b]}) == expected


def test_values_are_equal_when_their_numbers_are() -> None:
    for a, b in product(NUMBERS, NUMBERS):
        expected = a == b and isinstance(a, bool) == isinstance(b, bool)
        assert equal(a, b) == expected
        assert equal([[a]], [[b]]) == expected
        assert equal({"x": {"y": a}}, {"x": {"y": b}}) == expected


@pytest.mark.parametrize(
    ("a", "b"),
    [((1,), [1]), ([], {}), ("", None), ("1", 1), (None, False), ([1, 2], [2, 1]), ("é", "e\u0301"), ({}, None)],
)
def test_values_of_other_kinds_or_order_are_neither_the_same_nor_equal(a: Json, b: Json) -> None:
    assert not same(a, b)
    assert not equal(a, b)


def test_the_order_of_members_does_not_matter() -> None:
    a, b = {"x": 1, "y": {"p": [1], "q": 2}}, {"y": {"q": 2, "p": [1]}, "x": 1}
    assert same(a, b)
    assert equal(a, b)
    assert difference(a, b) == []


def test_what_no_fast_writer_takes_is_compared_too() -> None:
    for value in (2**64, -(2**70), "\ud800", [["deep"] * 3]):
        assert same([value, 1], [value, 1])
        assert not same([value, 1], [value, 1.0])
        assert equal([value, 1], [value, 1.0])
        assert not equal([value, 1], [value, True])


# --------------------------------------------------------------------------- any two values


@settings(deadline=None)
@given(VALUES, VALUES)
def test_a_difference_leads_from_any_value_to_any_other(before: Json, after: Json) -> None:
    patch = leads(before, after)
    assert bool(patch) != same(before, after)
    assert check_patch(patch) == patch


@settings(deadline=None)
@given(st.lists(FEW, max_size=9), st.lists(FEW, max_size=9))
def test_a_difference_leads_from_any_array_to_any_other(before: list[Json], after: list[Json]) -> None:
    leads({"list": before}, {"list": after})
    leads([before, 1], [0, after, 1])


@settings(deadline=None)
@given(st.lists(VALUES, max_size=12), st.data())
def test_a_difference_leads_to_any_order(before: list[Json], data: st.DataObject) -> None:
    leads(before, data.draw(st.permutations(before)))


@settings(deadline=None)
@given(st.dictionaries(NAMES, VALUES, max_size=5), st.data())
def test_a_difference_leads_to_values_in_other_places(before: dict[str, Json], data: st.DataObject) -> None:
    names = data.draw(st.lists(NAMES, min_size=len(before), max_size=len(before), unique=True))
    after: dict[str, Json] = dict(zip(names, before.values(), strict=True))
    leads(before, after)
    leads({"x": before, "y": [], "z": {}}, {"x": {}, "y": list(before.values()), "z": {"0": after}})


@settings(deadline=None)
@given(VALUES, VALUES)
def test_a_proven_difference_leads_there_too(before: Json, after: Json) -> None:
    assert same(apply(before, proven_difference(before, after)), after)


@settings(deadline=None)
@given(st.lists(VALUES, min_size=2, max_size=6))
def test_a_chain_of_differences_replays(versions: list[Json]) -> None:
    texts = [comparable(version) for version in versions]
    patches = [difference(one, other) for one, other in pairwise(versions)]
    replayed = replay(copy_of(versions[0]), patches)
    assert same(replayed, versions[-1])
    assert [comparable(version) for version in versions] == texts


def shelves(chance: random.Random, height: int) -> Json:
    """Return arrays and objects inside one another, with a few long values in them that are easily found again."""
    if height == 0 or chance.random() < 0.35:
        return chance.choice(WORDS[:6])
    if chance.random() < 0.5:
        return [shelves(chance, height - 1) for _ in range(chance.randrange(5))]
    return {name: shelves(chance, height - 1) for name in chance.sample("ab01", chance.randrange(4))}


def containers(value: Json) -> list[Json]:
    if not isinstance(value, (dict, list)):
        return []
    inside = value.values() if isinstance(value, dict) else value
    return [value, *(container for inner in inside for container in containers(inner))]


def carry(chance: random.Random, document: Json) -> None:
    """Take one value, large or small, from its array or object, and put it into another, or back."""
    source = chance.choice([container for container in containers(document) if container])
    value = source.pop(chance.choice([*source] if isinstance(source, dict) else range(len(source))))
    target = chance.choice(containers(document))
    if isinstance(target, dict):
        target[chance.choice("ab01")] = value
    else:
        target.insert(chance.randint(0, len(target)), value)


def test_a_difference_leads_there_when_values_were_carried_elsewhere() -> None:
    chance, moves = random.Random(6902), 0
    for _ in range(3_000):
        before = [shelves(chance, 4) for _ in range(3)]
        after = copy_of(before)
        for _ in range(chance.randrange(1, 4)):
            carry(chance, after)
        patch = difference(before, after)
        prove(before, patch, after)
        assert check_patch(patch) == patch
        moves += any(operation["op"] == "move" for operation in patch)
    assert moves > 1_000


# --------------------------------------------------------------------------- what a patch looks like


@pytest.mark.parametrize(
    ("before", "after", "patch"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 1.0}, [{"op": "replace", "path": "/a", "value": 1.0}]),
        ({"a": [0.0]}, {"a": [-0.0]}, [{"op": "replace", "path": "/a/0", "value": -0.0}]),
        ({"a": {"b": 1}}, {"a": {"b": True}}, [{"op": "replace", "path": "/a/b", "value": True}]),
        ({"a": 1}, {"a": 1, "b": 2}, [{"op": "add", "path": "/b", "value": 2}]),
        ({"a": 1, "b~/": 2}, {"a": 1}, [{"op": "remove", "path": "/b~0~1"}]),
        ({"a": [1]}, {"a": {"0": 1}}, [{"op": "replace", "path": "/a", "value": {"0": 1}}]),
        ([1, 2, 3], [0, 1, 2, 3], [{"op": "add", "path": "/0", "value": 0}]),
        ([1, 2, 3], [1, 3], [{"op": "remove", "path": "/1"}]),
        ([1, 2, 3], [1, 2, 3, 4], [{"op": "add", "path": "/3", "value": 4}]),
        ("a", "b", [{"op": "replace", "path": "", "value": "b"}]),
        ({}, [], [{"op": "replace", "path": "", "value": []}]),
    ],
)
def test_a_small_change_is_one_operation(before: Json, after: Json, patch: Patch) -> None:
    assert same(leads(before, after), patch)


def test_an_entry_that_went_elsewhere_is_moved() -> None:
    after = [*WORDS[1:30], WORDS[0], *WORDS[30:]]
    assert leads(WORDS, after) == [{"op": "move", "from": "/0", "path": "/29"}]


def test_a_removed_value_moves_only_when_nothing_in_between_depends_on_it() -> None:
    apart = [f"another sentence, just as long, number {n}" for n in range(3)]
    before = {"a": [WORDS[0], {"n": [WORDS[1]]}, *apart], "b": [], "c": {"d": {"e": WORDS[2]}}}
    after = {"a": [{"n": [WORDS[0]]}, apart[0], apart[2]], "b": [WORDS[1], WORDS[2]], "c": {"d": {}}}
    leads(before, after)
    leads(after, before)


def test_only_those_that_are_out_of_order_move() -> None:
    after = WORDS.copy()
    after[3], after[30] = after[30], after[3]
    assert [operation["op"] for operation in leads(WORDS, after)] == ["move", "move"]


def test_a_member_with_another_name_is_moved() -> None:
    before, after = {"old": {"goal": WORDS[0]}, "x": 1}, {"new": {"goal": WORDS[0]}, "x": 1}
    assert leads(before, after) == [{"op": "move", "from": "/old", "path": "/new"}]


def test_an_entry_that_went_to_another_list_is_moved() -> None:
    goal = {"goal": WORDS[0], "since": 2024}
    before = {"open": [{"goal": "x"}, goal, {"goal": "y"}], "reached": [{"goal": "z"}]}
    after = {"open": [{"goal": "x"}, {"goal": "y"}], "reached": [{"goal": "z"}, goal]}
    there, back = leads(before, after), leads(after, before)
    assert there == [{"op": "move", "from": "/open/1", "path": "/reached/1"}]
    assert back == [{"op": "move", "from": "/reached/1", "path": "/open/1"}]


def test_an_entry_is_recognised_by_its_id_when_it_moved_and_changed() -> None:
    before = [{"id": n, "text": WORDS[n], "score": 1} for n in range(9)]
    after = [*before[1:], {**before[0], "score": 2}]
    assert leads(before, after) == [
        {"op": "move", "from": "/0", "path": "/8"},
        {"op": "replace", "path": "/8/score", "value": 2},
    ]


def test_an_edited_entry_is_recognised_beside_a_new_one() -> None:
    before = [{"trigger": WORDS[n], "outcome": "calm"} for n in range(5)]
    after = [*before[:2], {"trigger": "new", "outcome": "new"}, {**before[2], "outcome": "brave"}, *before[3:]]
    assert [operation["path"] for operation in leads(before, after)] == ["/2", "/3/outcome"]


def test_a_value_that_changed_all_over_is_replaced_as_a_whole() -> None:
    before: Json = {"k": {str(n): n for n in range(20)}}
    after: Json = {"k": {str(n): n + 1 for n in range(20)}}
    assert leads(before, after) == [{"op": "replace", "path": "/k", "value": after["k"]}]


def test_a_shuffled_list_takes_far_fewer_bytes_than_with_jsonpatch() -> None:
    ours = theirs = 0
    for seed in range(20):
        entries = [{"trigger": word, "outcome": word[::-1], "parts": [n]} for n, word in enumerate(WORDS)]
        after = random.Random(seed).sample(entries, len(entries))
        ours += size(leads(entries, after))
        theirs += size(jsonpatch.make_patch(entries, after).patch)
    assert ours <= 0.6 * theirs


def test_a_patch_is_never_much_longer_than_the_document() -> None:
    chance = random.Random(1)
    for _ in range(200):
        before = [chance.randrange(9) for _ in range(chance.randrange(60))]
        after = [chance.randrange(9) for _ in range(chance.randrange(60))]
        assert size(leads(before, after)) <= size([{"op": "replace", "path": "", "value": after}])


# --------------------------------------------------------------------------- large and awkward


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(
            [f"{n} {'x' * 99}" for n in range(9_000)], [f"{n} {'x' * 99}" for n in range(9_000)][::-1], id="9k"
        ),
        pytest.param(list(range(100_000)), list(range(0, 100_000, 2)), id="every second of 100,000"),
        pytest.param([n % 7 for n in range(20_000)], [n % 5 for n in range(20_000)], id="repetitions"),
        pytest.param({f"a{n}": 1 for n in range(20_000)}, {f"b{n}": 1 for n in range(20_000)}, id="20,000 new names"),
    ],
)
def test_large_changes_give_patches_that_can_be_applied(before: Any, after: Any) -> None:
    patch = difference(before, after)
    assert len(patch) <= PATCH_LIMIT
    assert same(apply(before, patch), after)


def test_a_patch_that_leads_elsewhere_is_not_proved() -> None:
    prove({"a": 1}, [], {"a": 1})
    for patch in ([], [{"op": "replace", "path": "/a", "value": 2.0}], [{"op": "remove", "path": "/b"}]):
        with pytest.raises(PatchDoesNotApply):
            prove({"a": 1}, patch, {"a": 2})


def test_a_proven_difference_falls_back_when_ours_does_not_hold() -> None:
    before, after = [float("inf"), "x"], ["new", None, "x"]  # no JSON: both inf and None are written as null
    with pytest.raises(PatchDoesNotApply):
        prove(before, difference(before, after), after)
    prove(before, proven_difference(before, after), after)


def test_applying_a_difference_does_not_tie_the_result_to_the_new_document() -> None:
    after = {"a": {"b": [1]}}
    patch = difference({}, after)
    replay({}, [patch, [{"op": "add", "path": "/a/b/-", "value": 2}]])
    assert after == {"a": {"b": [1]}}
    assert patch == [{"op": "add", "path": "/a", "value": {"b": [1]}}]
