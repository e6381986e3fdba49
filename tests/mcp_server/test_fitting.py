"""Fitting: how much of a value is shown within a budget of tokens."""

import json
import random
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server.fitting import Fitted, compact, fits, fitted, size, tokens
from storage.json_types import Json

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.text('ab \\"\x01😀日', max_size=400)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(texts, inner, max_size=12),
    max_leaves=60,
)

SLACK = 24
"""Tokens that a value may take more than it should: a number is never cut."""


def is_part(shown: Json, whole: Json) -> bool:
    """Tell whether `shown` is `whole` with members, last entries or ends of texts left out."""
    if isinstance(whole, dict):
        return isinstance(shown, dict) and all(name in whole and is_part(shown[name], whole[name]) for name in shown)
    if isinstance(whole, list):
        return isinstance(shown, list) and len(shown) <= len(whole) and all(map(is_part, shown, whole))
    if isinstance(whole, str):
        return isinstance(shown, str) and (shown == whole or (shown[-1] == "…" and whole.startswith(shown[:-1])))
    return compact(shown) == compact(whole)


@given(value=values, room=st.integers(-10, 600))
def test_what_is_shown_is_a_part_that_fits_and_what_is_not_is_named(value: Json, room: int) -> None:
    part = fitted(value, room, "/here")
    assert is_part(part.value, value)
    assert size(part.value) <= max(room, 0) + SLACK
    assert json.loads(compact(part.value)) == part.value
    assert bool(part.omitted) == (compact(part.value) != compact(value))
    assert all(each.startswith("/here") for each in part.omitted)


@given(value=values)
def test_what_fits_is_shown_as_it_is(value: Json) -> None:
    assert fitted(value, size(value)) == Fitted(value)


@given(texts)
def test_no_text_has_more_tokens_than_bytes(text: str) -> None:
    assert tokens(text) <= len(text.encode())
    assert fits(text, len(text.encode()))


@given(texts, texts)
def test_a_longer_text_has_no_fewer_tokens_than_one_less(text: str, more: str) -> None:
    assert tokens(text + more) >= tokens(text) - 1  # where they meet, two may become one


def test_members_are_shown_whole_as_far_as_they_fit_the_small_ones_first_in_the_order_they_had() -> None:
    document = {"long": "word " * 400, "tea": True, "summary": "Ada plays chess."}
    part = fitted(document, 100)
    assert isinstance(part.value, dict)
    assert list(part.value) == ["long", "tea", "summary"]
    assert part.value["tea"] is True
    assert part.value["summary"] == "Ada plays chess."
    assert part.value["long"].startswith("word word")
    assert part.value["long"].endswith("…")
    assert [each.partition(": ")[0] for each in part.omitted] == ["/long"]


def test_of_many_small_members_the_first_are_shown_and_the_others_named() -> None:
    document = {f"name-{number:04}": number for number in range(1_000)}
    part = fitted(document, 300)
    assert isinstance(part.value, dict)
    count = len(part.value)
    assert 20 < count < 100
    assert list(part.value) == list(document)[:count]
    assert part.omitted == [f"/{name}" for name in list(document)[count:]]


def test_of_a_list_the_first_entries_are_shown() -> None:
    part = fitted({"all": list(range(1_000))}, 60)
    assert isinstance(part.value, dict)
    count = len(part.value["all"])
    assert part.value == {"all": list(range(count))}
    assert part.omitted == [f"/all: entries {count} to 999"]


def test_of_a_list_that_begins_with_something_long_its_beginning_is_shown() -> None:
    part = fitted([{"text": "word " * 500}, 1], 60)
    assert part.value[0]["text"].endswith("…")
    assert part.omitted[0].startswith("/0/text: ")
    assert part.omitted[-1] == "entries 1 to 1"


def test_places_are_pointers() -> None:
    assert fitted({"a/b~c": "word " * 500}, 60).omitted[0].startswith("/a~1b~0c: ")


SEED = random.Random(7)


def of(letters: str, count: int = 3_000) -> str:
    return "".join(SEED.choice(letters) for _ in range(count))


@pytest.mark.parametrize(
    ("text", "known"),
    [
        # As o200k_base has them, but 600 for the letters: no tokenizer can know their likes from words for certain.
        ("The quick brown fox jumps over the lazy dog. " * 20, 200),
        ("日本語のテキスト" * 20, 120),
        ("😀👩‍💻" * 40, 240),
        ("QXZJKWPVBN" * 100, 500),
        ("qxzjkwpvbn" * 100, 500),
        ("ᏣᎳᎩᎦᏬᏂᎯᏍᏗ" * 10, 252),
        ("የተጠቃሚውስምእናፍላጎት" * 10, 300),
        ("𠀋𡈽𡌛𡑮𡢽" * 10, 190),
        ("2026-11-20T17:19:27.103049+00:00", 19),
        (" " * 10_000, 79),
    ],
)
def test_tokens_are_reckoned_high(text: str, known: int) -> None:
    assert tokens(text) >= known * 0.95


@pytest.mark.parametrize("letters", [string.ascii_lowercase, string.ascii_letters, string.printable[:95]])
def test_random_letters_are_no_words(letters: str) -> None:
    assert tokens(of(letters)) >= 3_000 * 0.49


def test_english_is_not_reckoned_higher_than_half_as_much_again() -> None:
    assert tokens("The quick brown fox jumps over the lazy dog. " * 20) <= 200 * 1.5


def test_texts_are_cut_between_characters() -> None:
    part: Any = fitted("😀" * 1_000, 40).value
    assert set(part) == {"😀", "…"}
