"""What an operation answered, as JSON and as the text that a model reads."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_tools.answer import ANSWER_LIMIT, as_json, as_text
from memory_tools.memory import Memory, UserMemory
from memory_tools.visible import visible, visible_value
from storage.configuration import MemoryConfiguration
from storage.provenance import by_agent

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | TEXT,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=12,
)

ADA = {"summary": "Ada.", "safety_notes": "No nuts."}


@pytest.fixture
def ada() -> UserMemory:
    person = Memory.open("sqlite://").of(user="ada")
    person.items.set("prefs", "tone", "warm")
    person.document.append(ADA)
    return person


@pytest.mark.parametrize(
    ("ask", "members"),
    [
        (
            lambda ada: ada.items.get("prefs", "tone"),
            {"namespace", "key", "value", "version", "created_at", "updated_at"},
        ),
        (lambda ada: ada.items.in_namespace("prefs"), {"entries", "next"}),
        (
            lambda ada: ada.document.append({"summary": "B", "safety_notes": "No nuts."}),
            {"status", "version", "patch", "merged"},
        ),
        (lambda ada: ada.document.append(ADA), {"status", "version"}),
        (
            lambda ada: ada.document.append({"summary": "C"}, provenance=by_agent("x")),
            {"status", "version", "pending_id", "objections", "patch"},
        ),
        (lambda ada: ada.document.history(), {"entries", "next"}),
        (lambda ada: MemoryConfiguration(), {*MemoryConfiguration().model_dump(by_alias=True)}),
    ],
)
def test_every_kind_of_answer_is_json(ada: UserMemory, ask: Callable[[UserMemory], Any], members: set[str]) -> None:
    answer = ask(ada)
    assert as_json(answer).keys() == members
    assert json.loads(as_text(answer)) == as_json(answer)


@given(JSON)
def test_json_itself_stays_as_it_is_but_for_what_nobody_can_see(value: Any) -> None:
    assert as_json(value) == value
    text = as_text(value)
    assert visible(text) == text
    # Of two names that look the same once nobody sees what tells them apart, the order decides.
    in_order = json.loads(json.dumps(value, sort_keys=True))
    assert json.loads(text) == ({"done": True} if value is None else visible_value(in_order))


def test_a_long_answer_is_cut_with_a_word_on_how_to_go_on() -> None:
    text = as_text(["x" * ANSWER_LIMIT])
    assert text.startswith('["xxx')
    assert text.endswith("(cut: 20,004 characters; ask for a part, or for a smaller page)")


def test_what_is_no_answer_is_a_fault() -> None:
    with pytest.raises(TypeError):
        as_text(object())
