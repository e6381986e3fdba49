"""Canonical JSON: the one text in which values are kept, and the gate that refuses what would not survive there.

Canonical text is what Python's `json` writes with sorted keys, no spaces, and no escape that is not needed
(docs/decisions/0003-canonical-json.md). Both ways in, `canonical` for objects and `parse` for text, try orjson first;
whatever it might drop, change or write differently is done again with care, which finds the same text or says
what is wrong and where (storage/json_reader.py, storage/refusals.py).
"""

import json
import re

import orjson

from storage.errors import TooLarge
from storage.json_reader import read_json
from storage.json_types import Json
from storage.limits import DEPTH_LIMIT, DOCUMENT_LIMIT, NODE_LIMIT
from storage.refusals import (
    INTEGER_LIMIT,
    Place,
    check_bounds,
    check_number,
    check_string,
    checked_name,
    foreign,
    is_kept,
    refuse,
    refuse_size,
)

__all__ = ["INTEGER_LIMIT", "RAW_FACTOR", "canonical", "dumps", "loads", "parse"]

RAW_FACTOR = 8
"""How many times its limit anything is looked at: in a text, an escape takes six for one, white space the rest."""

_FEW_NODES = 512
"""Up to here it does not matter how much longer than the strings in memory a text gets that repeats them."""

_PLAIN_FLOATS = (1e-4, 1e16)
"""Between these Python writes a float without exponent, as orjson does; outside, the two may differ (1e-05)."""

_KINDS = frozenset({dict, list, str, int, float, bool, type(None)})
"""The types of JSON. A subclass is none of them: it would come back as its base."""

_write_exactly = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")).encode
"""Canonical text by definition, from a value that can be kept."""


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
    if not all(map(is_kept, unusual)) or (nodes > _FEW_NODES and _least_size(containers) > limit):
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


def _careful(value: Json, limit: int) -> str:
    """Return the canonical text of `value`, or raise for the first place that cannot be kept."""
    nodes, characters = 1, 0
    waiting: list[tuple[Json, Place, int]] = [(value, None, 0)]
    while waiting:
        each, place, depth = waiting.pop()
        kind = type(each)
        if kind is str:
            check_string(each, "the string", place)
            characters += len(each)
        elif kind is int or kind is float:
            check_number(each, place)
        elif kind is dict or kind is list:
            nodes += len(each)
            check_bounds(nodes, depth + 1, place)
            if kind is dict:
                characters += sum([checked_name(name, place) for name in each])
            members = each.items() if kind is dict else enumerate(each)
            waiting += reversed([(child, (place, token), depth + 1) for token, child in members])
        elif kind not in _KINDS:
            refuse(f"{foreign(each)} is not JSON", place)
        if characters > limit * RAW_FACTOR:  # one string may stand in many places: never write them all to count them
            refuse_size(f"at least {characters:,}", limit)
    text = _write_exactly(value)
    if (size := len(text.encode())) > limit:
        refuse_size(f"{size:,}", limit)
    return text


def _decoded(text: str | bytes, limit: int) -> str:
    """Return `text` as a string, in which bytes that are not UTF-8 stand as lone surrogates; refuse what is no text."""
    if not isinstance(text, str | bytes):
        refuse(f"{foreign(text)} is not JSON text", None)
    if len(text) > limit * RAW_FACTOR:
        what = f"the text is {len(text):,} long; JSON of at most {limit:,} bytes is read from {limit * RAW_FACTOR:,}"
        refuse(what, None, TooLarge)
    if isinstance(text, bytes):
        if (encoding := json.detect_encoding(text)).startswith(("utf-16", "utf-32")):
            refuse(f"the text is not UTF-8; it looks like {encoding.upper()}", None)
        text = text.decode("utf-8", "surrogateescape")
    if text.startswith("\ufeff"):
        refuse("the text starts with a byte order mark", None)
    return text


def _parse_carefully(source: str, limit: int) -> Json:
    value = read_json(source)
    _careful(value, limit)
    return value
