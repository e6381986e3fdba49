"""Patches as people read them."""

import json

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.canonical import canonical
from storage.difference import difference
from storage.json_types import Document, Patch
from usermemory.commands.changes import brief, changes, in_full
from usermemory.commands.edits import edited, gist
from usermemory.commands.layout import laid_out
from usermemory.commands.visible import visible

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
documents = st.dictionaries(
    texts,
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | texts,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
        max_leaves=12,
    ),
    max_size=4,
)


def shown(before: Document, patch: Patch) -> list[str]:
    return [click.unstyle(line) for change in changes(before, patch) for line in in_full(change)]


@pytest.mark.parametrize(
    ("operation", "line"),
    [
        ({"op": "add", "path": "/b", "value": 2}, "  + /b  2"),
        ({"op": "add", "path": "/a", "value": 2}, "  ~ /a  1 → 2"),
        ({"op": "add", "path": "/list/-", "value": 2}, "  + /list/1  2"),
        ({"op": "copy", "from": "/a", "path": "/b"}, "  + /b  1"),
        ({"op": "move", "from": "/a", "path": "/b"}, "  > /b  from /a"),
        ({"op": "remove", "path": "/a"}, "  - /a  1"),
        ({"op": "replace", "path": "/a", "value": "x"}, '  ~ /a  1 → "x"'),
    ],
)
def test_each_operation_is_a_change_with_its_place(operation: dict[str, object], line: str) -> None:
    assert shown({"a": 1, "list": [1]}, [operation]) == [line]


def test_a_test_changes_nothing() -> None:
    assert shown({"a": 1}, [{"op": "test", "path": "/a", "value": 1}]) == []


def test_a_whole_document_is_shown_by_its_members() -> None:
    patch = [{"op": "replace", "path": "", "value": {"b": 1, "c": 2}}]
    assert shown({"a": 1, "b": 1}, patch) == ["  - /a  1", "  + /c  2"]


def test_what_does_not_fit_into_a_line_stands_below_its_place() -> None:
    lines = shown({}, [{"op": "add", "path": "/a", "value": {"x": "x" * 60, "y": "y" * 60}}])
    assert lines[0] == "  + /a"
    assert len(lines) == 5


@given(documents, documents)
def test_every_patch_can_be_shown_and_nothing_is_changed_by_it(before: Document, after: Document) -> None:
    patch = difference(before, after)
    kept = canonical(before), canonical(patch)
    for change in changes(before, patch):
        assert all(visible(line) == line for line in map(click.unstyle, [brief(change), *in_full(change)]))
    assert (canonical(before), canonical(patch)) == kept


@given(documents)
def test_a_layout_is_the_same_json(document: Document) -> None:
    assert json.loads("\n".join(map(click.unstyle, laid_out(document)))) == document


def test_an_edit_shows_the_words_that_changed_and_a_little_around_them() -> None:
    old = "Ada is a nurse in Hamburg, and she likes tea more than anything else in the whole wide world. She has cats."
    new = old.replace("tea", "coffee") + " She moved."
    text = click.unstyle(edited(old, new) or "")
    assert "[- tea-]{+ coffee+}" in text
    assert text.endswith("She has cats.{+ She moved.+}")
    assert "…" in text
    assert gist(old, new) == "[- tea-]{+ coffee+} … {+ She moved.+}"


def test_another_text_is_no_edit() -> None:
    assert edited("Ada likes tea.", "Bob was in Rome.") is None
    assert edited("a " * 3_000, "a " * 3_000 + "b") is None


def test_what_cannot_be_seen_is_escaped_and_what_is_needed_in_words_is_not() -> None:
    assert visible("a\x1b[0m\u202e\u2028\x9b\U000e0041") == "a\\u001b[0m\\u202e\\u2028\\u009b\\udb40\\udc41"
    assert visible("می\u200cخواهم 👩\u200d🚀 é") == "می\u200cخواهم 👩\u200d🚀 é"
