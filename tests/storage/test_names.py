"""Names: what can be one, and what is refused because two of it would look alike."""

import enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import InvalidName
from storage.names import check_beginning, check_name, following

ORDINARY = [
    "a",
    "ada",
    "prefs",
    "user-42",
    "ada lovelace",
    "*",
    "%",
    "_",
    ".",
    "..",
    "/",
    "../../etc/passwd",
    "a/b.c:d",
    "%00",
    "\\0",
    "\\u0000",
    "'; DROP TABLE owners; --",
    "$where",
    "{}",
    "null",
    "auth0|5f7c8ec7c33c6c004bbafe82",
    "ada@example.com",
    "José",
    "Łódź",
    "山田　太郎",
    "Ольга",
    "नमस्ते",
    "क्‍ष",  # virama and joiner: spelt differently on purpose
    "می‌خواهم",  # Persian, with a non-joiner inside
    "👩‍💻",
    "❤️‍🔥",
    "👍🏽",
    "x" * 256,
    "é" * 256,
    "语" * 256,  # 768 bytes
    "𝄞" * 256,  # 1,024 bytes
]

HOSTILE = [
    ("", "is empty"),
    ("x" * 257, "257 characters"),
    ("x" * 1_000_000, "1,000,000 characters"),
    ("语" * 257, "257 characters"),
    ("\0", "control character (U+0000)"),
    ("ada\0", "control character (U+0000)"),
    ("a\0da", "control character (U+0000)"),
    ("a\tb", "control character (U+0009)"),
    ("a\nb", "control character (U+000A)"),
    ("a\rb", "control character (U+000D)"),
    ("\x1b[2Jada", "control character (U+001B)"),
    ("ada\x7f", "control character (U+007F)"),
    ("a\x80b", "control character (U+0080)"),
    ("a\x85b", "control character (U+0085)"),
    ("a\x9fb", "control character (U+009F)"),
    (" ada", "white space"),
    ("ada ", "white space"),
    (" ", "white space"),
    ("   ", "white space"),
    ("é ", "white space"),
    (" é", "white space"),
    ("\u3000山", "white space"),
    ("山\u3000", "white space"),
    ("ada\n", "control character (U+000A)"),
    ("\xa0ada", "unusual space (U+00A0)"),
    ("ada\xa0lovelace", "unusual space (U+00A0)"),
    ("ada\u2003lovelace", "unusual space (U+2003)"),
    ("ada\u202flovelace", "unusual space (U+202F)"),
    ("ada\u1680lovelace", "unusual space (U+1680)"),
    ("a\u2028b", "line separator (U+2028)"),
    ("a\u2029b", "paragraph separator (U+2029)"),
    ("ad\u200ba", "invisible format character (U+200B)"),
    ("\u200bada", "invisible format character (U+200B)"),
    ("ada\u200e", "invisible format character (U+200E)"),
    ("ada\u200f", "invisible format character (U+200F)"),
    ("\u202aada\u202c", "invisible format character (U+202A)"),
    ("ada\u202egpj.exe", "invisible format character (U+202E)"),
    ("\u2066ada\u2069", "invisible format character (U+2066)"),
    ("ad\u2060a", "invisible format character (U+2060)"),
    ("ad\u2061a", "invisible format character (U+2061)"),
    ("ad\xada", "invisible format character (U+00AD)"),
    ("\ufeffada", "invisible format character (U+FEFF)"),
    ("ad\ufeffa", "invisible format character (U+FEFF)"),
    ("ad\u061ca", "invisible format character (U+061C)"),
    ("ad\u180ea", "invisible format character (U+180E)"),
    ("ad\ufff9a", "invisible format character (U+FFF9)"),
    ("ada\U000e0041", "invisible format character (U+E0041)"),
    ("ad\u200da", "invisible format character (U+200D)"),
    ("ad\u200ca", "invisible format character (U+200C)"),
    ("\u200d", "invisible format character (U+200D)"),
    ("ب\u200c", "invisible format character (U+200C)"),
    ("\u200cب", "invisible format character (U+200C)"),
    ("ب\u200c\u200cب", "invisible format character (U+200C)"),
    ("李\u200d明", "invisible format character (U+200D)"),
    ("é\u200dé", "invisible format character (U+200D)"),
    ("ad\u034fa", "blank character (U+034F)"),
    ("\u3164", "blank character (U+3164)"),
    ("ada\u115f", "blank character (U+115F)"),
    ("ada\uffa0", "blank character (U+FFA0)"),
    ("a\u2800b", "blank character (U+2800)"),
    ("\ud800", "half of a surrogate pair (U+D800)"),
    ("ada\udfff", "half of a surrogate pair (U+DFFF)"),
    ("\udcff", "half of a surrogate pair (U+DCFF)"),
    ("Jose\u0301", "NFC"),
    ("\u1100\u1161", "NFC"),
    ("\u212b", "NFC"),  # the Ångström sign, which NFC turns into a letter
    ("\u2126", "NFC"),
    ("𝄞" * 255 + "é" * 2, "257 characters"),
]


@pytest.mark.parametrize("name", ORDINARY, ids=ascii)
def test_an_ordinary_string_is_a_name_and_comes_back_as_it_is(name: str) -> None:
    assert check_name(name, "key") is name


@pytest.mark.parametrize(("name", "fault"), HOSTILE, ids=lambda text: ascii(text)[:40])
def test_a_hostile_string_is_no_name_and_the_message_says_what_is_wrong(name: str, fault: str) -> None:
    with pytest.raises(InvalidName) as refused:
        check_name(name, "user id")
    assert fault in str(refused.value)
    assert str(refused.value).startswith("The user id ")


class Colour(enum.StrEnum):
    RED = "red"


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize("value", [None, 0, 1, True, 1.5, b"ada", ["ada"], {"ada": 1}, object(), Colour.RED, Text("a")])
def test_what_is_not_exactly_a_string_is_no_name(value: object) -> None:
    with pytest.raises(InvalidName, match="must be a string"):
        check_name(value, "namespace")  # type: ignore[arg-type]


def test_the_message_does_not_repeat_the_name() -> None:
    with pytest.raises(InvalidName) as refused:
        check_name("ada@example.com\0", "user id")
    assert "ada" not in str(refused.value)


@given(st.text(max_size=300))
def test_every_accepted_name_can_be_printed_and_stored(text: str) -> None:
    try:
        name = check_name(text, "key")
    except InvalidName as refused:
        str(refused).encode()
        return
    assert 1 <= len(name) <= 256
    assert len(name.encode()) <= 1_024
    assert name == name.strip()
    assert "\0" not in name


@pytest.mark.parametrize("beginning", ["", "a", "a ", "%", "_", "山田　", "x" * 255])
def test_a_beginning_is_what_a_name_can_begin_with(beginning: str) -> None:
    assert check_beginning(beginning) == beginning


@pytest.mark.parametrize("beginning", [" a", "\0", "a\n", "e\u0301", "\ud800", "\u200b", "x" * 257])
def test_what_no_name_can_begin_with_is_no_beginning(beginning: str) -> None:
    with pytest.raises(InvalidName, match="The beginning of a name "):
        check_beginning(beginning)


@pytest.mark.parametrize(
    ("beginning", "behind"),
    [
        ("a", "b"),
        ("az", "a{"),
        ("\ud7ff", "\ue000"),
        ("a\U0010ffff", "b"),
        ("a\U0010ffff\U0010ffff", "b"),
        ("\U0010ffff", None),
        ("", None),
    ],
)
def test_what_follows_a_beginning_is_behind_all_that_begin_so(beginning: str, behind: str | None) -> None:
    assert following(beginning) == behind


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


@given(texts, texts)
def test_what_begins_so_is_between_the_beginning_and_what_follows(beginning: str, text: str) -> None:
    behind = following(beginning)
    inside = beginning <= text and (behind is None or text < behind)
    assert inside == text.startswith(beginning)
