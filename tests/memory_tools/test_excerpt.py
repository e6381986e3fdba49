import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_tools.excerpt import LEAST_TEXT, cut_text, excerpt
from memory_tools.visible import visible_line

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("ab \n\"'é語", max_size=400),
    lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text("abc", max_size=9), inner, max_size=9),
    max_leaves=60,
)
MEMBERS = st.lists(st.tuples(st.text("abcd", min_size=1, max_size=9), VALUES), max_size=12)


def shown(*members: tuple[str, Any], room: int, whole: str = "") -> list[Any]:
    lines = excerpt(members, room, whole=whole)
    assert sum(len(line) + 1 for line in lines) <= max(0, room)
    return [json.loads(line) for line in lines]


def test_what_fits_is_shown_whole_to_the_last_character() -> None:
    members = (("summary", "Ada."), ("facts", [1, 2]))
    size = sum(len(visible_line({name: value})) + 1 for name, value in members)
    assert shown(*members, room=size) == [{"summary": "Ada."}, {"facts": [1, 2]}]
    assert shown(*members, room=size - 1) != [{"summary": "Ada."}, {"facts": [1, 2]}]


def test_a_list_keeps_its_last_entries_and_says_how_many_are_missing() -> None:
    [line] = shown(("facts", [f"fact {n}" for n in range(100)]), room=300)
    kept = len(line["facts"])
    assert 3 < kept < 100
    assert line == {
        "facts": [f"fact {n}" for n in range(100 - kept, 100)],
        "…": f"{100 - kept} more; ask get_user_memory for /facts",
    }


def test_an_entry_that_is_too_long_does_not_hide_the_others() -> None:
    [line] = shown(("facts", ["old", "x" * 500, "new"]), room=200)
    assert line == {"facts": ["old", "new"], "…": "1 more; ask get_user_memory for /facts"}


def test_an_old_entry_does_not_come_in_only_because_it_is_short() -> None:
    [line] = shown(("facts", ["old", *("x" * 30 for _ in range(20)), "new"]), room=200)
    assert line["facts"][0] == "x" * 30
    assert line["facts"][-1] == "new"


def test_an_object_keeps_its_most_recent_members_in_their_order() -> None:
    parts = {f"p{n}": {"name": "x" * 40, "recency_score": score} for n, score in enumerate((0.5, 0.1, 0.9, 0.2))}
    parts["p9"] = {"name": "x" * 40}
    [line] = shown(("parts", parts), room=300)
    assert list(line["parts"]) == ["p0", "p2"]
    assert line["…"] == "3 more; ask get_user_memory for /parts"


def test_a_long_text_ends_with_a_word() -> None:
    [line] = shown(("summary", "several words " * 50), room=200)
    assert line["summary"].endswith(("several…", "words…"))
    assert len(visible_line(line)) > 120


def test_the_pointer_of_a_name_with_a_slash_is_escaped() -> None:
    [line] = shown(("a/b", ["x" * 30] * 20), room=200)
    assert line["…"].endswith("get_user_memory for /a~1b")


def test_short_members_leave_their_room_to_long_ones() -> None:
    lines = shown(("mood", "good"), ("profile", "word " * 400), ("facts", ["x" * 30] * 40), room=2_000)
    assert lines[0] == {"mood": "good"}
    assert len(lines[1]["profile"]) > 800
    assert len(lines[2]["facts"]) > 20


def test_a_long_member_does_not_push_out_the_others() -> None:
    lines = shown(("summary", "word " * 9_000), ("parts", {"p1": {"name": "Critic"}}), ("facts", ["sails"]), room=800)
    assert lines[1:] == [{"parts": {"p1": {"name": "Critic"}}}, {"facts": ["sails"]}]


def test_one_member_comes_before_all_others_and_is_cut_only_where_it_is_too_long_alone() -> None:
    notes = "word " * 100
    lines = shown(("safety_notes", notes), ("summary", "word " * 300), room=700, whole="safety_notes")
    assert lines[0] == {"safety_notes": notes}
    [line, left_out] = shown(("safety_notes", notes), ("summary", "short"), room=300, whole="safety_notes")
    assert 150 < len(line["safety_notes"]) < 300
    assert left_out == {"…": "1 more; ask get_user_memory"}


def test_members_without_any_room_are_counted() -> None:
    lines = shown(*((f"member-{n}", "x" * 50) for n in range(200)), room=500)
    assert 5 < len(lines) < 9
    assert lines[-1] == {"…": f"{201 - len(lines)} more; ask get_user_memory"}


@pytest.mark.parametrize("room", [-5, 0, 1, 20])
def test_where_there_is_no_room_nothing_is_shown(room: int) -> None:
    assert shown(("summary", "x" * 100), room=room) == []


@given(MEMBERS, st.integers(0, 3_000))
def test_it_never_takes_more_room_than_there_is(members: list[tuple[str, Any]], room: int) -> None:
    for line in shown(*members, room=room, whole="a"):
        assert isinstance(line, dict)


@given(st.text('ab \n"é語', max_size=300), st.integers(-5, 300))
def test_a_cut_text_fits_and_is_as_long_as_can_be(text: str, room: int) -> None:
    line = cut_text(text, room, lambda part: visible_line({"text": part}))
    if line is None:
        assert len(visible_line({"text": text[:LEAST_TEXT]})) > room or len(text) < LEAST_TEXT
        assert len(visible_line({"text": text})) > room
    else:
        assert len(line) <= room
        part = json.loads(line)["text"]
        assert part == text or text.startswith(part.removesuffix("…"))
