"""Names: the opaque strings by which namespaces, keys, users and organizations are found again.

A name is compared byte by byte and never read as a pattern: `*`, `%`, `_`, `.` and `/` are ordinary characters. What
could make two names look alike while they differ is refused. Letters of different scripts that look alike (Latin `a`,
Cyrillic `а`) are not: no rule can tell a mistake from a language.
"""

import re
from typing import Final
from unicodedata import category, is_normalized

from storage.errors import InvalidName
from storage.limits import NAME_BYTES_LIMIT, NAME_LIMIT

_INVISIBLE_CATEGORIES: Final = {
    "Cc": "a control character",
    "Cf": "an invisible format character",  # bidi controls, zero width space, soft hyphen, byte order mark, tags
    "Cs": "half of a surrogate pair",
    "Zl": "a line separator",
    "Zp": "a paragraph separator",
    "Zs": "an unusual space",  # a no-break space cannot be told from a space
}

_SPACES: Final = " \u3000"
"""Spaces that a name may hold between other characters: the plain one and the wide one of Chinese and Japanese."""

_JOINABLE: Final = "[\u0600-\u1cff\u2190-\u2bff\ufe0f\U0001f000-\U0001faff]"
_JOINER: Final = re.compile(f"(?<={_JOINABLE})[\u200c\u200d](?={_JOINABLE})")
"""A zero width (non-)joiner where spelling needs one: from Arabic to the scripts of India and South East Asia, and in
emoji. Anywhere else it would only be invisible."""

_BLANKS: Final = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
"""Characters whose category is a letter, mark or symbol, but which show nothing: Hangul fillers and their like."""


def check_name(value: str, what: str) -> str:
    """Return `value` if it can be a name: 1 to 256 characters, at most 1,024 bytes of UTF-8, NFC, nothing invisible.

    `what` is what the message calls it ("user id"). The message never repeats the value, which may be personal.
    Raises InvalidName for anything else, also for an instance of a subclass of str, which drivers may write otherwise.
    """
    if type(value) is not str:
        raise InvalidName(f"The {what} must be a string, not {type(value).__name__}.")
    if not value:
        raise InvalidName(f"The {what} is empty.")
    if len(value) > NAME_LIMIT:
        raise InvalidName(f"The {what} has {len(value):,} characters; the limit is {NAME_LIMIT}.")
    if not (value.isascii() and value.isprintable()):
        _check_characters(value, what)
    if value[0].isspace() or value[-1].isspace():
        raise InvalidName(f"The {what} starts or ends with white space.")
    return value


def check_beginning(value: str) -> str:
    """Return `value` if a name can begin with it. Raises InvalidName."""
    check_name(value if value and not value[-1].isspace() else f"{value}x", "beginning of a name")
    return value


def following(beginning: str) -> str | None:
    """Return the first text behind all that begin so, by code points; None where there is none."""
    rest = beginning.rstrip("\U0010ffff")
    if not rest:
        return None
    code = ord(rest[-1]) + 1
    return rest[:-1] + chr(0xE000 if code == 0xD800 else code)


def _check_characters(value: str, what: str) -> None:
    for character in _JOINER.sub("", value):
        if fault := _fault(character):
            raise InvalidName(f"The {what} holds {fault} (U+{ord(character):04X}).")
    if not is_normalized("NFC", value):
        raise InvalidName(f"The {what} is not in Unicode normalization form NFC.")
    if (size := len(value.encode())) > NAME_BYTES_LIMIT:
        raise InvalidName(f"The {what} has {size:,} bytes of UTF-8; the limit is {NAME_BYTES_LIMIT:,}.")


def _fault(character: str) -> str | None:
    """Return what is wrong with `character` wherever it stands; None for nothing."""
    if character in _SPACES:
        return None
    if character in _BLANKS:
        return "a blank character"
    return _INVISIBLE_CATEGORIES.get(category(character))
