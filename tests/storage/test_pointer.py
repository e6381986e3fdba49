import sys
from collections.abc import Callable

import pytest

from storage.canonical import canonical, parse
from storage.errors import InvalidPatch, NotFound, PatchDoesNotApply, UserMemoryError
from storage.patch import apply
from storage.pointer import escape, pointer, resolve, shown, tokens

EXAMPLE = {
    "foo": ["bar", "baz"],
    "": 0,
    "a/b": 1,
    "c%d": 2,
    "e^f": 3,
    "g|h": 4,
    "i\\j": 5,
    'k"l': 6,
    " ": 7,
    "m~n": 8,
}
"""The document of RFC 6901, section 5."""


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("", EXAMPLE),
        ("/foo", ["bar", "baz"]),
        ("/foo/0", "bar"),
        ("/", 0),
        ("/a~1b", 1),
        ("/c%d", 2),
        ("/e^f", 3),
        ("/g|h", 4),
        ("/i\\j", 5),
        ('/k"l', 6),
        ("/ ", 7),
        ("/m~0n", 8),
    ],
)
def test_the_examples_of_the_standard_resolve(place: str, value: object) -> None:
    assert resolve(EXAMPLE, place) == value


@pytest.mark.parametrize("names", [[], [""], ["~"], ["/"], ["~1"], ["~01"], ["a/b", "", "0"], ["ключ", "~/~"]])
def test_tokens_come_back_from_their_pointer(names: list[str]) -> None:
    assert tokens(pointer(names)) == names


def test_a_pointer_is_made_of_names_and_indexes() -> None:
    assert pointer(["parts", 0, "a/b"]) == "/parts/0/a~1b"
    assert escape("~/") == "~0~1"


def test_a_tilde_and_a_one_are_no_slash() -> None:
    assert tokens("/~01") == ["~1"]


@pytest.mark.parametrize("malformed", ["a", "a/b", " /a", "/~", "/~2", "/a~", "/a/~~0", "#/a"])
def test_a_malformed_pointer_is_refused(malformed: str) -> None:
    with pytest.raises(InvalidPatch, match="pointer"):
        tokens(malformed)


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("/missing", "no member"),
        ("/foo/2", "past the end"),
        ("/foo/-", "not the index"),
        ("/foo/-1", "not the index"),
        ("/foo/01", "not the index"),
        ("/foo/00", "not the index"),
        ("/foo/1.0", "not the index"),
        ("/foo/1e0", "not the index"),
        ("/foo/+1", "not the index"),
        ("/foo/", "not the index"),
        ("/foo/ 1", "not the index"),
        ("/foo/١", "not the index"),
        ("/foo/²", "not the index"),
        ("/foo/1_0", "not the index"),
        ("/foo/length", "not the index"),
        ("/foo/99999999999999999999", "past the end"),
        ("/foo/0/0", "a string has no"),
        ("/a~1b/x", "a number has no"),
    ],
)
def test_a_pointer_that_leads_nowhere_is_named_with_the_reason(place: str, reason: str) -> None:
    with pytest.raises(NotFound, match=reason) as missing:
        resolve(EXAMPLE, place)
    assert place in str(missing.value)


def test_an_index_of_very_many_digits_is_past_the_end() -> None:
    with pytest.raises(NotFound, match="past the end"):
        resolve([1], "/" + "9" * 100_000)


def test_a_very_long_pointer_is_shortened_in_the_message() -> None:
    with pytest.raises(NotFound) as missing:
        resolve({}, "/" + "x" * 100_000)
    assert len(str(missing.value)) < 1_000


def test_members_may_look_like_indexes() -> None:
    assert resolve({"0": "a", "01": "b", "-": "c"}, "/01") == "b"
    assert resolve({"0": "a", "01": "b", "-": "c"}, "/-") == "c"


UNSEEN = "\x1b[2J \x00\x07\r\n\x7f\x9b \u202e\u2066\u200b \u2028 \ud800"
"""Clears a terminal, rings, starts a line, turns the text around, and half of a surrogate pair."""


def test_what_cannot_be_seen_is_escaped_in_a_message() -> None:
    assert shown(UNSEEN) == (
        r'"\u001b[2J \u0000\u0007\r\n\u007f\u009b \u202e\u2066\u200b \u2028 \ud800"'  # as JSON writes them
    )


def test_no_character_is_shown_that_moves_a_terminal() -> None:
    for start in range(0, sys.maxunicode + 1, 100):
        text = "".join(map(chr, range(start, min(start + 100, sys.maxunicode + 1))))
        assert shown(text).isprintable()


def test_what_can_be_seen_is_shown_as_it_is() -> None:
    assert shown("/ключ/名/😀/a~1b/ ") == '"/ключ/名/😀/a~1b/ "'


@pytest.mark.parametrize(
    "refused",
    [
        pytest.param(lambda: resolve({}, "/a\x1b[2Jb"), id="no such member"),
        pytest.param(lambda: resolve([], "/a\x1b[2Jb"), id="no index"),
        pytest.param(lambda: resolve([], "a\x1b[2Jb"), id="no pointer"),
        pytest.param(lambda: resolve([], "/~a\x1b[2Jb"), id="bad escape"),
        pytest.param(lambda: canonical({"a\x1b[2Jb": float("nan")}), id="an object at the gate"),
        pytest.param(lambda: parse('{"a\\u001b[2Jb": 1e400}'), id="a text at the gate"),
        pytest.param(lambda: apply({}, [{"op": "remove", "path": "/a\x1b[2Jb"}]), id="a patch"),
        pytest.param(lambda: apply({}, [{"op": "move", "from": "/a\x1b[2Jb", "path": "/b"}]), id="a move"),
        pytest.param(lambda: apply({}, [{"op": "add", "path": "/~a\x1b[2Jb", "value": 1}]), id="an ill-formed patch"),
    ],
)
def test_a_key_that_holds_escape_reaches_no_message_raw(refused: Callable[[], object]) -> None:
    with pytest.raises(UserMemoryError) as error:
        refused()
    assert r"a\u001b[2Jb" in str(error.value)
    assert str(error.value).isprintable()


def test_a_very_long_name_that_cannot_be_seen_is_shortened_too() -> None:
    with pytest.raises(PatchDoesNotApply) as failed:
        apply({}, [{"op": "remove", "path": "/" + "\x1b" * 100_000}])
    assert len(str(failed.value)) < 5_000
