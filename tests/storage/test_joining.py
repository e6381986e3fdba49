from typing import Any

import pytest

from storage.joining import joined
from storage.json_types import Patch
from storage.patch import apply

LONG = {"name": "Ada", "likes": ["tea", "trains"]}


def add(path: str, value: Any) -> dict[str, Any]:
    return {"op": "add", "path": path, "value": value}


def remove(path: str) -> dict[str, Any]:
    return {"op": "remove", "path": path}


def test_what_is_removed_and_added_again_is_moved() -> None:
    patch, left = joined([remove("/old"), add("/new", LONG)], [(0, LONG)])
    assert patch == [{"op": "move", "from": "/old", "path": "/new"}]
    assert left == []


def test_what_is_added_before_it_is_removed_is_moved() -> None:
    assert joined([add("/new", LONG), remove("/old")], [(1, LONG)])[0] == [
        {"op": "move", "from": "/old", "path": "/new"}
    ]


def test_what_is_not_added_again_stays_removed_and_is_named_by_its_new_place() -> None:
    patch, left = joined([remove("/a"), remove("/b"), add("/c", LONG)], [(0, LONG), (1, "gone")])
    assert patch == [remove("/b"), {"op": "move", "from": "/a", "path": "/c"}]
    assert left == [(0, "gone")]


@pytest.mark.parametrize(
    ("document", "patch", "removed"),
    [
        pytest.param(
            {"a": LONG}, [remove("/a"), add("/a", {}), add("/a/b", LONG)], LONG, id="something took its place"
        ),
        pytest.param({"a": LONG}, [add("/a/copy", LONG), remove("/a")], LONG, id="it would move into itself"),
        pytest.param([LONG, 1], [remove("/0"), remove("/0"), add("/0", LONG)], LONG, id="its neighbours move up"),
        pytest.param({"l": [{"a": 1}]}, [remove("/l/0/a"), add("/l/0", 2), add("/b", 1)], 1, id="its array shifts"),
    ],
)
def test_a_removal_on_which_something_in_between_depends_is_not_joined(
    document: Any, patch: Patch, removed: Any
) -> None:
    removals = [(place, removed) for place, operation in enumerate(patch) if operation == remove(operation["path"])]
    outcome = joined(patch, removals[:1])[0]
    assert outcome == patch
    assert apply(document, outcome) == apply(document, patch)


def test_values_that_are_stored_differently_are_not_joined() -> None:
    patch = [remove("/a"), add("/b", 1.0)]
    assert joined(patch, [(0, 1)]) == (patch, [(0, 1)])
