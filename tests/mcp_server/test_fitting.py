"""Fitting: how much of a value is shown within a budget of tokens."""

import json
import random
import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_server import fitting
from mcp_server.fitting import Fitted, Omission, compact, fits, fitted, size, tokens
from storage.json_types import Json

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.text('ab \\"\x01😀日', max_size=400)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=12) | st.dictionaries(texts, inner, max_size=12),
    max_leaves=60,
)

SEED = random.Random(7)

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
    assert all(each.place.startswith("/here") for each in part.omitted)


def cut_to_nothing(shown: Json, whole: Json) -> bool:
    """Tell whether anything within `shown` looks empty that is not."""
    if isinstance(whole, dict):
        return any(_nothing_of(shown[name], whole[name]) for name in shown)
    return isinstance(whole, list) and any(map(_nothing_of, shown, whole))


def _nothing_of(shown: Json, whole: Json) -> bool:
    return (shown in ({}, [], "…") and shown != whole) or cut_to_nothing(shown, whole)


@given(value=values, room=st.integers(0, 300))
def test_nothing_of_which_nothing_is_left_is_shown(value: Json, room: int) -> None:
    part = fitted(value, room)
    assert not cut_to_nothing(part.value, value)
    assert part.is_nothing == (part.value in ({}, [], "…") and part.value != value)


def test_what_is_cut_to_nothing_is_named_as_a_whole() -> None:
    part = fitted({"goals": [{"n" * 400: 1}], "tea": True}, 60)
    assert part == Fitted({"tea": True}, [Omission("/goals")])


@given(value=values)
def test_what_fits_is_shown_as_it_is(value: Json) -> None:
    assert fitted(value, size(value)) == Fitted(value)


@given(texts)
def test_no_text_has_more_tokens_than_bytes(text: str) -> None:
    assert tokens(text) <= len(text.encode())
    assert fits(text, len(text.encode()))


anything = texts | st.text("aB7 \t\n\x1c\x85\u1680-", max_size=200)


@given(anything, st.integers(-10, 200))
def test_a_text_is_known_to_be_too_long_without_being_counted(text: str, enough: int) -> None:
    assert (tokens(text, enough) > enough) == (tokens(text) > enough)
    assert tokens(text, enough) in (tokens(text), max(enough, 0) + 1)


@pytest.mark.parametrize("text", ["Abcdef Ghijkl " * 40_000, "日本語の文字" * 40_000, '{"a":[1,2]}' * 20_000])
def test_a_large_value_costs_little_more_than_what_is_shown_of_it(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    pattern = fitting._TOKEN

    class Counting:
        def findall(self, text: str) -> list[str]:
            counted.append(len(text))
            return pattern.findall(text)

    monkeypatch.setattr(fitting, "_TOKEN", Counting())
    for value in (text, [text] * 3, {"a": {"b": [text]}, "c": text}):
        counted.clear()
        fitted(value, 2_000)
        assert 0 < sum(counted) < 60_000


def test_of_a_long_text_no_less_is_shown_than_fits() -> None:
    text = "".join(
        SEED.choice(["tea ", "2026-11-20 ", "日本 ", '"', "QXZ", "\n", "😀 ", "    "]) for _ in range(20_000)
    )
    for room in (40, 200, 2_000, 8_000):
        shown = fitted(text, room).value
        assert room - 12 <= size(shown) <= room


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
    assert [each.place for each in part.omitted] == ["/long"]


def test_of_many_small_members_the_first_are_shown_and_the_others_named() -> None:
    document = {f"name-{number:04}": number for number in range(1_000)}
    part = fitted(document, 300)
    assert isinstance(part.value, dict)
    count = len(part.value)
    assert 20 < count < 100
    assert list(part.value) == list(document)[:count]
    assert part.omitted == [Omission(f"/{name}") for name in list(document)[count:]]


def test_of_a_list_the_first_entries_are_shown() -> None:
    part = fitted({"all": list(range(1_000))}, 60)
    assert isinstance(part.value, dict)
    count = len(part.value["all"])
    assert part.value == {"all": list(range(count))}
    assert part.omitted == [Omission("/all", f"entries {count} to 999", f"/all/{count}")]
    assert str(part.omitted[0]) == f"/all: entries {count} to 999"


def test_of_a_list_that_begins_with_something_long_its_beginning_is_shown() -> None:
    part = fitted([{"text": "word " * 500}, 1], 60)
    assert part.value[0]["text"].endswith("…")
    assert str(part.omitted[0]).startswith("/0/text: ")
    assert str(part.omitted[-1]) == "entries 1 to 1"


def test_places_are_pointers() -> None:
    assert fitted({"a/b~c": "word " * 500}, 60).omitted[0].place == "/a~1b~0c"


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
        ("㐀㐅龘靐齉麤䨻䲜" * 10, 200),
        ("뷁쀍쮊똠햏" * 10, 130),
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


def test_characters_that_are_in_use_are_one_token_and_others_three() -> None:
    assert tokens("汉字漢字かな한글") == 8
    assert tokens("龘") == 3
    assert tokens("뷁") == 3
