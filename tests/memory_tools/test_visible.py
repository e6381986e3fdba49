import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_tools.visible import is_visible, visible, visible_line, visible_value

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


def test_what_scripts_and_emoji_need_is_kept() -> None:
    for text in ("می‌خواهم", "👩‍⚕️", "क्‍ष", "tab\tand\nline"):
        assert visible(text) == text


def test_a_joiner_that_joins_nothing_is_dropped() -> None:
    assert visible("a\u200db\u200d\u200c\u200dc\u200c") == "abc"


@pytest.mark.parametrize(
    "hidden", "\x00\x1b\r\x7f\x85\u00ad\u034f\u200b\u202e\u2067\u2028\ufeff\ud800\U000e0041\U000e0100"
)
def test_what_is_not_seen_is_dropped(hidden: str) -> None:
    assert visible(f"a{hidden}b") == "ab"


@given(st.text())
def test_what_is_visible_stays_as_it_is(text: str) -> None:
    assert visible(visible(text)) == visible(text)


def test_texts_and_names_at_any_depth_are_made_visible() -> None:
    hidden = {"n\u200bame": ["a\u202eb", {"c": "d\x00"}], "count": 1, "none": None}
    assert visible_value(hidden) == {"name": ["ab", {"c": "d"}], "count": 1, "none": None}


@pytest.mark.parametrize("names", [("notes", "notes\u200b"), ("notes\u200b", "notes"), ("\u200bnotes", "notes")])
def test_a_name_with_something_hidden_in_it_does_not_take_the_place_of_the_real_one(names: tuple[str, str]) -> None:
    value = {name: "real" if name == "notes" else "false" for name in names}
    assert visible_value(value) == {"notes": "real"}


@given(JSON)
def test_a_line_is_one_line_of_json(value: object) -> None:
    line = visible_line(value)
    assert len(line.splitlines()) == 1
    assert json.loads(line) == visible_value(value)
    assert visible(line) == line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\u2764\ufe0f", "\u2764\ufe0f"),
        ("1\ufe0f\u20e3", "1\ufe0f\u20e3"),
        ("a\ufe0fb\ufe0e", "ab"),
        ("\u2764\ufe0f\ufe0e\ufe0f", "\u2764\ufe0f"),
        ("x" + "".join(map(chr, range(0xFE00, 0xFE10))) + "\u180b\u180f", "x"),
        ("\ufe0fa", "a"),
    ],
)
def test_selectors_choose_the_look_of_an_emoji_and_spell_out_nothing(text: str, shown: str) -> None:
    assert visible(text) == shown
    assert is_visible(json.dumps(shown, ensure_ascii=False))
