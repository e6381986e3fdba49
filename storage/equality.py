"""Equality: when two JSON values are the same as stored, and when they are equal for RFC 6902."""

import json
from math import copysign

import orjson

from storage.json_types import Json


def same(a: Json, b: Json) -> bool:
    """Tell whether `a` and `b` are the same JSON value as it is stored.

    `1`, `1.0` and `true` are three values, and so are `0.0` and `-0.0`; the order of members does not matter.
    """
    return a is b or (bool(a == b) and alike(a, b))


def equal(a: Json, b: Json) -> bool:
    """Tell whether `a` and `b` are equal as the `test` operation asks (RFC 6902, section 4.6).

    Numbers are equal when their values are: `1` and `1.0`, `0.0` and `-0.0`. `true` is no number.
    """
    return a is b or (bool(a == b) and (alike(a, b) or _booleans_match(a, b)))


def alike(a: Json, b: Json) -> bool:
    """Tell whether two values that `==` calls equal are the same as stored too: it mixes up 1, 1.0 and True."""
    kind = type(a)
    if kind is str:
        return True
    if a is None or kind is int or kind is bool:
        return kind is type(b)
    if kind is float:
        return type(b) is float and (a != 0 or copysign(1, a) == copysign(1, b))
    try:
        # Mostly the members come in the same order, and sorting them takes half as long again.
        return orjson.dumps(a) == orjson.dumps(b) or comparable(a) == comparable(b)
    except TypeError:
        return comparable(a) == comparable(b)


def comparable(value: Json) -> bytes:
    """Return JSON that is equal for two values exactly when they are the same. For comparing only, never stored."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # an integer over 64 bits, a lone surrogate, or nesting over 254 levels
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def comparables(values: list[Json]) -> list[bytes]:
    """Return the `comparable` of each value."""
    try:
        return [orjson.dumps(value, option=orjson.OPT_SORT_KEYS) for value in values]
    except TypeError:
        return [comparable(value) for value in values]


def _booleans_match(a: Json, b: Json) -> bool:
    """Tell whether two values that `==` calls equal have their booleans in the same places."""
    pairs = [(a, b)]
    for one, other in pairs:
        if isinstance(one, bool) is not isinstance(other, bool):
            return False
        if isinstance(one, dict):
            pairs.extend((value, other[name]) for name, value in one.items())
        elif isinstance(one, list):
            pairs.extend(zip(one, other, strict=True))
    return True
