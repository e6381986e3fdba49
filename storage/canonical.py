"""Canonical JSON: the one text in which values are kept, and the gate that refuses what would not survive there.

Canonical text is what Python's `json` writes with sorted keys, no spaces, and no escape that is not needed
(docs/decisions/0003-canonical-json.md). Both ways in, `canonical` for objects and `parse` for text, try orjson first;
whatever it might drop, change or write differently is done again with care, which finds the same text or says
what is wrong and where.
"""

import json
import re
from math import isfinite
from typing import Never, TypeAlias

import orjson

from storage.errors import InvalidJson, TooLarge
from storage.json_types import Json
from storage.limits import DEPTH_LIMIT, DOCUMENT_LIMIT, NODE_LIMIT
from storage.pointer import pointer, shown

INTEGER_LIMIT = 2**63
"""No integer is as far from zero as this: SQLite, PostgreSQL and most languages hold 64 bits with a sign."""

RAW_FACTOR = 8
"""How many times its limit anything is looked at: in a text, an escape takes six for one, white space the rest."""

_FEW_NODES = 512
"""Up to here it does not matter how much longer than the strings in memory a text gets that repeats them."""

_PLAIN_FLOATS = (1e-4, 1e16)
"""Between these Python writes a float without exponent, as orjson does; outside, the two may differ (1e-05)."""

_KINDS = frozenset({dict, list, str, int, float, bool, type(None)})

_write_exactly = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")).encode
"""Canonical text by definition, from a value that can be kept."""

_read_one = json.JSONDecoder().raw_decode

_Place: TypeAlias = "tuple[_Place, str | int] | None"
"""Where a value stands: its container's place and its name or index there. A pointer is only made of it in an error."""


def canonical(value: Json, *, limit: int = DOCUMENT_LIMIT) -> str:
    """Return the canonical text of `value`, at most `limit` bytes of UTF-8.

    Raises InvalidJson, with the JSON pointer of the first such place, for what would not come back as it went in: NaN
    and infinities, integers of 2^63 and beyond, NUL, lone surrogates, members whose name is not a string, more than
    DEPTH_LIMIT levels, and every type that is not exactly one of JSON's: a tuple would come back as a list, an enum
    as its value. Raises TooLarge for more than NODE_LIMIT values, or more than `limit` bytes.
    """
    text = _quick(value, limit)
    return _careful(value, limit) if text is None else text


def parse(text: str | bytes, *, limit: int = DOCUMENT_LIMIT) -> Json:
    """Return the value that JSON text from outside stands for. Its canonical form has at most `limit` bytes.

    Raises InvalidJson for malformed JSON (RFC 8259), for text that is not UTF-8 or starts with a byte order mark, for
    a name given twice in one object, for numbers beyond 64-bit integers and doubles (`1e400`, and `1e-400`, which
    would be 0), and for all that `canonical` refuses; TooLarge as there. Both name the JSON pointer of the place.
    """
    source = _decoded(text, limit)
    try:
        value = orjson.loads(source)
    except orjson.JSONDecodeError:
        return _parse_carefully(source, limit)
    written = _quick(value, limit)
    if written is None or not _says_the_same(source, written):
        return _parse_carefully(source, limit)
    return value


def loads(text: str) -> Json:
    """Return the value of canonical text that was stored. It passed the gate once and is not checked again."""
    return orjson.loads(text)


def dumps(value: Json) -> str:
    """Return the canonical text of a value that came from `loads` or passed the gate. It is not checked again."""
    text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return _write_exactly(value) if _has_exponent(text) else text.decode()


# The quick way: gives None wherever it is in doubt, never a refusal.


def _quick(value: Json, limit: int) -> str | None:
    """Return the canonical text of `value`; None if it may have to be refused, or written with more care."""
    containers: list[Json] = []
    level: list[Json] = [[value]]
    nodes = depth = 0
    unusual: list[int | float] = []
    low, high = _PLAIN_FLOATS
    while level:
        deeper: list[Json] = []
        for container in level:
            nodes += len(container)
            if nodes > NODE_LIMIT or depth > DEPTH_LIMIT:
                return None
            for child in container.values() if type(container) is dict else container:
                kind = type(child)
                if kind is str:  # most of what there is
                    continue
                if kind is dict or kind is list:
                    deeper.append(child)
                elif kind is int or kind is float:
                    if not (low <= child < high or -high < child <= -low or child == 0):
                        unusual.append(child)
                elif kind not in _KINDS:
                    return None
        containers += level
        level = deeper
        depth += 1
    if not all(map(_is_kept, unusual)) or (nodes > _FEW_NODES and _least_size(containers) > limit):
        return None
    try:
        text = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:  # a lone surrogate, or a name that is not a string
        return None
    if b"\\" in text and b"\\u0000" in text:
        return None
    if any(type(x) is float for x in unusual):
        text = _write_exactly(value).encode()
    return text.decode() if len(text) <= limit else None


def _is_kept(number: int | float) -> bool:
    return -INTEGER_LIMIT < number < INTEGER_LIMIT if type(number) is int else isfinite(number)


def _least_size(containers: list[Json]) -> int:
    """Return bytes that the text has at the least: one string that stands in many places is written many times."""
    strings = [x for each in containers for x in (each.values() if type(each) is dict else each) if type(x) is str]
    names = [name for each in containers if type(each) is dict for name in each if type(name) is str]
    return sum(map(len, strings)) + sum(map(len, names))


_DIGITS_TO_ZERO = bytes.maketrans(b"123456789", b"000000000")
_EXPONENT = re.compile(rb"[\[:,]-?(?:[0-9.]+e|0\.0000)")


def _has_exponent(text: bytes) -> bool:
    """Tell whether there may be a number that Python writes with an exponent. A string can look like one."""
    # Two quick searches first: the expression alone takes three times as long.
    return (b"0.0000" in text or b"0e" in text.translate(_DIGITS_TO_ZERO)) and _EXPONENT.search(b":" + text) is not None


_SMALL_EXPONENT = re.compile(r"[eE]-0*[1-9][0-9]{2}")
_MANY_ZEROS = "0" * 100


def _says_the_same(source: str, written: str) -> bool:
    """Tell whether `written`, the canonical text of what orjson read in `source`, certainly lost nothing of it.

    Every member has a colon, and no string loses one on the way, so that a member given twice shows in their number.
    orjson reads an integer over 64 bits as a float, which is then written with an exponent, and 1e-400 as 0.0.
    """
    return (
        source.count(":") == written.count(":")
        and not ("\\" in source and "\\u003" in source)
        and not ("+" in written and "e+" in written)
        and not ("0.0" in written and (_MANY_ZEROS in source or _SMALL_EXPONENT.search(source)))
    )


# The careful way: goes place by place in the order of the document, and knows where it is.


def _refuse(what: str, place: _Place, error: type[InvalidJson] | type[TooLarge] = InvalidJson) -> Never:
    tokens: list[str | int] = []
    while place is not None:
        place, token = place
        tokens.append(token)
    where = pointer(reversed(tokens))
    raise error(f"At {shown(where)}: {what}." if where else f"At the top level: {what}.", pointer=where)


def _careful(value: Json, limit: int) -> str:
    """Return the canonical text of `value`, or raise for the first place that cannot be kept."""
    nodes, characters = 1, 0
    waiting: list[tuple[Json, _Place, int]] = [(value, None, 0)]
    while waiting:
        each, place, depth = waiting.pop()
        kind = type(each)
        if kind is str:
            _check_string(each, "the string", place)
            characters += len(each)
        elif kind is int or kind is float:
            _check_number(each, place)
        elif kind is dict or kind is list:
            nodes += len(each)
            _check_bounds(nodes, depth + 1, place)
            if kind is dict:
                characters += sum([_checked_name(name, place) for name in each])
            members = each.items() if kind is dict else enumerate(each)
            waiting += reversed([(child, (place, token), depth + 1) for token, child in members])
        elif kind not in _KINDS:
            _refuse(f"{_foreign(each)} is not JSON", place)
        if characters > limit * RAW_FACTOR:  # one string may stand in many places: never write them all to count them
            _refuse_size(f"at least {characters:,}", limit)
    text = _write_exactly(value)
    if (size := len(text.encode())) > limit:
        _refuse_size(f"{size:,}", limit)
    return text


def _check_string(text: str, what: str, place: _Place) -> None:
    if "\0" in text:
        _refuse(f"{what} holds NUL (U+0000), which PostgreSQL cannot keep", place)
    if not _is_unicode(text):
        _refuse(f"{what} holds half of a surrogate pair, which is no character", place)


def _checked_name(name: object, place: _Place) -> int:
    """Return the length of a member's name. A bad one is reported where its object stands: it makes no pointer."""
    if type(name) is not str:
        _refuse(f"{_foreign(name)} is the name of a member, and names are strings", place)
    _check_string(name, "the name of a member", place)
    return len(name)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_number(number: int | float, place: _Place) -> None:
    if _is_kept(number):
        return
    if type(number) is int:
        _refuse_integer(place)
    _refuse("NaN is no JSON number" if number != number else "infinity is no JSON number", place)


def _refuse_integer(place: _Place) -> Never:
    _refuse("the integer does not fit into 64 bits: it must be between -2^63 and 2^63", place)


def _check_bounds(nodes: int, depth: int, place: _Place) -> None:
    if depth > DEPTH_LIMIT:
        _refuse(f"objects and arrays are nested more than {DEPTH_LIMIT} deep", place)
    if nodes > NODE_LIMIT:
        _refuse(f"there are more than {NODE_LIMIT:,} values up to here", place, TooLarge)


def _refuse_size(size: str, limit: int) -> Never:
    _refuse(f"the value is {size} bytes of canonical JSON, and the limit is {limit:,}", None, TooLarge)


def _foreign(value: object) -> str:
    return f"a Python object of type {type(value).__name__}"


def _decoded(text: str | bytes, limit: int) -> str:
    """Return `text` as a string, in which bytes that are not UTF-8 stand as lone surrogates; refuse what is no text."""
    if not isinstance(text, str | bytes):
        _refuse(f"{_foreign(text)} is not JSON text", None)
    if len(text) > limit * RAW_FACTOR:
        what = f"the text is {len(text):,} long; JSON of at most {limit:,} bytes is read from {limit * RAW_FACTOR:,}"
        _refuse(what, None, TooLarge)
    if isinstance(text, bytes):
        if (encoding := json.detect_encoding(text)).startswith(("utf-16", "utf-32")):
            _refuse(f"the text is not UTF-8; it looks like {encoding.upper()}", None)
        text = text.decode("utf-8", "surrogateescape")
    if text.startswith("\ufeff"):
        _refuse("the text starts with a byte order mark", None)
    return text


def _parse_carefully(source: str, limit: int) -> Json:
    value = _Reader(source).read()
    _careful(value, limit)
    return value


_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORD = re.compile(r"-?[A-Za-z]+")
_WORDS = {"true": True, "false": False, "null": None}
_NOT_NUMBERS = {"NaN", "Infinity", "-Infinity"}
_INTEGER_LENGTH = 20
"""Characters of an integer of 64 bits at the most."""


class _Reader:
    """Reads JSON text to the letter (RFC 8259) and refuses what a parser would drop or change without a word.

    Much slower than orjson, so only used where that is in doubt.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._nodes = 1

    def read(self) -> Json:
        """Return the value of the whole text, or raise InvalidJson or TooLarge for the first fault in it."""
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
        if self._next() != mark:
            return False
        self._at += 1
        return True

    def _malformed(self, place: _Place, expected: str) -> Never:
        found = ascii(self._text[self._at]) if self._at < len(self._text) else "the end of the text"
        if found.startswith("'\\udc"):
            _refuse(f"the text is not UTF-8 at character {self._at:,}", place)
        _refuse(f"malformed JSON: expected {expected}, found {found} at character {self._at:,}", place)

    def _value(self, place: _Place, depth: int) -> Json:
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

    def _object(self, place: _Place, depth: int) -> Json:
        _check_bounds(self._nodes, depth, place)
        members: dict[str, Json] = {}
        self._at += 1
        if self._takes("}"):
            return members
        while True:
            if self._next() != '"':
                self._malformed(place, "the name of a member in double quotes")
            name = self._string(place)
            _checked_name(name, place)
            here = (place, name)
            if name in members:
                _refuse("the name of this member is given twice", here)
            if not self._takes(":"):
                self._malformed(here, "a colon")
            self._count(place, depth)
            members[name] = self._value(here, depth)
            if self._takes("}"):
                return members
            if not self._takes(","):
                self._malformed(place, "a comma or the end of the object")

    def _array(self, place: _Place, depth: int) -> Json:
        _check_bounds(self._nodes, depth, place)
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

    def _count(self, place: _Place, depth: int) -> None:
        self._nodes += 1
        _check_bounds(self._nodes, depth, place)

    def _string(self, place: _Place) -> str:
        try:
            value, end = _read_one(self._text, self._at)
        except json.JSONDecodeError as error:
            fault = error.msg[0].lower() + error.msg[1:].rstrip(": ").removesuffix(" at")
            _refuse(f"malformed JSON: {fault} at character {error.pos:,}", place)
        if not _is_unicode(self._text[self._at : end]):
            _refuse(f"the string at character {self._at:,} is not UTF-8", place)
        self._at = end
        return str(value)

    def _word(self, place: _Place) -> bool | None:
        word = _WORD.match(self._text, self._at)
        if word and word[0] in _NOT_NUMBERS:
            _refuse(f"{word[0]} is no JSON number", place)
        if not word or word[0] not in _WORDS:
            self._malformed(place, "a value")
        self._at = word.end()
        return _WORDS[word[0]]


def _number(token: re.Match[str], place: _Place) -> int | float:
    """Return the number that `token` spells, if it is one that 64 bits hold."""
    fraction, exponent = token.groups()
    if fraction is None and exponent is None:
        if len(token[0]) > _INTEGER_LENGTH:
            _refuse_integer(place)
        return int(token[0])
    number = float(token[0])
    digits = token[0][: token.start(2) - token.start()] if exponent else token[0]
    if not isfinite(number) or (number == 0 and digits.strip("-0.")):
        _refuse("the number is out of the range of a double", place)
    return number
