import pytest
from hypothesis import given

from memory_tools.changes import changes_text
from memory_tools.presentation import approximate_tokens
from memory_tools.visible import visible
from storage.json_types import Document
from tests.memory_tools.blocks import ADA, ATTACKS, BUDGETS, DOCUMENTS, inside


def test_changes_name_places_and_new_values() -> None:
    before = {"summary": "Ada.", "parts": {"p1": {"status": "active", "x": 1}}, "mood": "bad", "version": 3}
    after = {"summary": "Ada sails.", "parts": {"p1": {"status": "calm"}, "p/2": {}}, "new": [1], "version": 4}
    text = changes_text(before, after, since=3)
    assert text is not None
    assert "since version 3" in text.splitlines()[0]
    assert inside(text, "changes") == [
        {"changed": "/summary", "value": "Ada sails."},
        {"changed": "/parts/p1/status", "value": "calm"},
        {"removed": "/parts/p1/x"},
        {"added": "/parts/p~12", "value": {}},
        {"removed": "/mood"},
        {"added": "/new", "value": [1]},
    ]


def test_entries_of_a_list_are_told_by_id_or_value_and_never_by_index() -> None:
    before = {"facts": [{"id": "a", "text": "1"}, {"id": "b", "text": "2"}, "tea", {"id": 3}], "same": [1]}
    after = {"facts": [{"id": "b", "text": "two"}, {"id": 3}, "milk", {"id": "c"}], "same": [1]}
    assert inside(str(changes_text(before, after, since=1)), "changes") == [
        {"removed from": "/facts", "entry": "a"},
        {"removed from": "/facts", "entry": "tea"},
        {"changed in": "/facts", "value": {"id": "b", "text": "two"}},
        {"added to": "/facts", "value": "milk"},
        {"added to": "/facts", "value": {"id": "c"}},
    ]


def test_ids_that_tell_nothing_apart_are_only_values() -> None:
    before = {"facts": [{"id": "a", "n": 1}, {"id": "a", "n": 2}, "x", "x"]}
    after = {"facts": [{"id": "a", "n": 1}, {"id": "a", "n": 3}, "x"]}
    assert inside(str(changes_text(before, after, since=1)), "changes") == [
        {"removed from": "/facts", "entry": {"id": "a", "n": 2}},
        {"removed from": "/facts", "entry": "x"},
        {"added to": "/facts", "value": {"id": "a", "n": 3}},
    ]


def test_a_list_in_a_new_order_is_shown_whole() -> None:
    lines = inside(str(changes_text({"best": ["tea", "milk"]}, {"best": ["milk", "tea"]}, since=1)), "changes")
    assert lines == [{"changed": "/best", "value": ["milk", "tea"]}]


def test_one_is_not_true() -> None:
    assert inside(str(changes_text({"x": 1, "y": [1]}, {"x": True, "y": [1.0]}, since=1)), "changes") == [
        {"changed": "/x", "value": True},
        {"removed from": "/y", "entry": 1},
        {"added to": "/y", "value": 1.0},
    ]


def test_no_change_is_an_empty_text_and_too_many_are_none() -> None:
    assert changes_text(ADA, dict(ADA), since=3) == ""
    assert changes_text(ADA, ADA | {"version": 9, "last_updated_by": "agent"}, since=3) == ""
    assert changes_text(ADA, ADA | {"summary": "word " * 500}, since=3) is None
    assert changes_text(ADA, ADA | {"summary": "word " * 500}, since=3, budget=900)


@pytest.mark.parametrize("attack", ATTACKS)
def test_hostile_text_stays_on_its_line(attack: str) -> None:
    shown = visible(attack)
    document = {"summary": attack, attack: {attack: [attack]}}
    assert inside(str(changes_text({}, document, since=1)), "changes")[0] == {"added": "/summary", "value": shown}


@given(DOCUMENTS, DOCUMENTS, BUDGETS)
def test_no_change_breaks_the_budget_or_the_fence(before: Document, after: Document, budget: int) -> None:
    text = changes_text(before, after, since=3, budget=budget)
    if text:
        assert approximate_tokens(text) <= budget
        assert inside(text, "changes")
    assert changes_text(after, after, since=3, budget=budget) == ""
