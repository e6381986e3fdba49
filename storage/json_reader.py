"""JSON reader: reads JSON text to the letter, and says where in the document it is wrong."""

import json
import re
from math import isfinite
from typing import Never

from storage.json_types import Json
from storage.refusals import Place, check_bounds, checked_name, is_unicode, refuse, refuse_integer

_read_one = json.JSONDecoder().raw_decode

_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORD = re.compile(r"-?[A-Za-z]+")
_WORDS = {"true": True, "false": False, "null": None}
_NOT_NUMBERS = {"NaN", "Infinity", "-Infinity"}
_INTEGER_LENGTH = 20
"""Characters of an integer of 64 bits at the most."""


def read_json(text: str) -> Json:
    """Return the value of `text`, in which bytes that are not UTF-8 stand as lone surrogates (`surrogateescape`).

    Refuses what a parser drops or changes without a word: a name given twice, `1e-400`. Much slower than orjson, so
    only used where that is in doubt. Raises InvalidJson or TooLarge, with the JSON pointer of the first fault: where
    the text breaks RFC 8259 or a limit, or holds a number or a name that cannot be kept. Other strings are not checked.
    """
    return _Reader(text).read()


class _Reader:
    """A text, and how far it has been read."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._nodes = 1

    def read(self) -> Json:
        """Return the value of the whole text."""
        value = self._value(None, 0)
        if self._next():
            self._malformed(None, "the end of the text")
        return value

    def _next(self) -> str:
        """Return the next character that is not white space, without taking it; "" at the end."""
        space = _SPACE.match(self._text, self._at)
        self._at = space.end() if space else self._at
        return self._text[self._at : self._at + 1]

    def _takes(self, mark: str) -> bool:
        """Take `mark` if it is next, and tell whether it was."""
        if self._next() != mark:
            return False
        self._at += 1
        return True

    def _malformed(self, place: Place, expected: str) -> Never:
        found = ascii(self._text[self._at]) if self._at < len(self._text) else "the end of the text"
        if found.startswith("'\\udc"):
            refuse(f"the text is not UTF-8 at character {self._at:,}", place)
        refuse(f"malformed JSON: expected {expected}, found {found} at character {self._at:,}", place)

    def _value(self, place: Place, depth: int) -> Json:
        start = self._next()
        if start == "{":
            return self._object(place, depth + 1)
        if start == "[":
            return self._array(place, depth + 1)
        if start == '"':
            return self._string(place)
        if number := _NUMBER.match(self._text, self._at):
            self._at = number.end()
            return _number(number, place)
        return self._word(place)

    def _object(self, place: Place, depth: int) -> Json:
        check_bounds(self._nodes, depth, place)
        members: dict[str, Json] = {}
        self._at += 1
        if self._takes("}"):
            return members
        while True:
            if self._next() != '"':
                self._malformed(place, "the name of a member in double quotes")
            name = self._string(place)
            checked_name(name, place)
            here = (place, name)
            if name in members:
                refuse("the name of this member is given twice", here)
            if not self._takes(":"):
                self._malformed(here, "a colon")
            self._count(place, depth)
            members[name] = self._value(here, depth)
            if self._takes("}"):
                return members
            if not self._takes(","):
                self._malformed(place, "a comma or the end of the object")

    def _array(self, place: Place, depth: int) -> Json:
        check_bounds(self._nodes, depth, place)
        entries: list[Json] = []
        self._at += 1
        if self._takes("]"):
            return entries
        while True:
            self._count(place, depth)
            entries.append(self._value((place, len(entries)), depth))
            if self._takes("]"):
                return entries
            if not self._takes(","):
                self._malformed(place, "a comma or the end of the array")

    def _count(self, place: Place, depth: int) -> None:
        """Count one more value, `depth` objects and arrays deep."""
        self._nodes += 1
        check_bounds(self._nodes, depth, place)

    def _string(self, place: Place) -> str:
        try:
            value, end = _read_one(self._text, self._at)
        except json.JSONDecodeError as error:
            fault = error.msg[0].lower() + error.msg[1:].rstrip(": ").removesuffix(" at")
            refuse(f"malformed JSON: {fault} at character {error.pos:,}", place)
        if not is_unicode(self._text[self._at : end]):
            refuse(f"the string at character {self._at:,} is not UTF-8", place)
        self._at = end
        return str(value)

    def _word(self, place: Place) -> bool | None:
        word = _WORD.match(self._text, self._at)
        if word and word[0] in _NOT_NUMBERS:
            refuse(f"{word[0]} is no JSON number", place)
        if not word or word[0] not in _WORDS:
            self._malformed(place, "a value")
        self._at = word.end()
        return _WORDS[word[0]]


def _number(token: re.Match[str], place: Place) -> int | float:
    """Return the number that `token` spells, if it is one that 64 bits hold."""
    fraction, exponent = token.groups()
    if fraction is None and exponent is None:
        if len(token[0]) > _INTEGER_LENGTH:
            refuse_integer(place)
        return int(token[0])
    number = float(token[0])
    digits = token[0][: token.start(2) - token.start()] if exponent else token[0]
    if not isfinite(number) or (number == 0 and digits.strip("-0.")):
        refuse("the number is out of the range of a double", place)
    return number
