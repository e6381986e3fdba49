"""Refusals: what is not kept as JSON, because it would not come back as it went in, and how its place is named."""

from math import isfinite
from typing import Never, TypeAlias

from storage.errors import InvalidJson, TooLarge
from storage.limits import DEPTH_LIMIT, NODE_LIMIT
from storage.pointer import pointer, shown

INTEGER_LIMIT = 2**63
"""No integer is as far from zero as this: SQLite, PostgreSQL and most languages hold 64 bits with a sign."""

Place: TypeAlias = "tuple[Place, str | int] | None"
"""Where a value stands: its container's place and its name or index there. A pointer is only made of it in an error."""


def refuse(what: str, place: Place, error: type[InvalidJson] | type[TooLarge] = InvalidJson) -> Never:
    """Raise `error`, which says `what` is wrong at `place` and holds the pointer of it."""
    tokens: list[str | int] = []
    while place is not None:
        place, token = place
        tokens.append(token)
    where = pointer(reversed(tokens))
    raise error(f"At {shown(where)}: {what}." if where else f"At the top level: {what}.", pointer=where)


def refuse_integer(place: Place) -> Never:
    """Raise InvalidJson for an integer as far from zero as INTEGER_LIMIT, or farther."""
    refuse("the integer does not fit into 64 bits: it must be between -2^63 and 2^63", place)


def refuse_size(size: str, limit: int) -> Never:
    """Raise TooLarge for a value of `size` bytes, where `limit` is the most."""
    refuse(f"the value is {size} bytes of canonical JSON, and the limit is {limit:,}", None, TooLarge)


def check_string(text: str, what: str, place: Place) -> None:
    """Raise InvalidJson if `text`, which the message calls `what`, holds NUL or a lone surrogate."""
    if "\0" in text:
        refuse(f"{what} holds NUL (U+0000), which PostgreSQL cannot keep", place)
    if not is_unicode(text):
        refuse(f"{what} holds half of a surrogate pair, which is no character", place)


def checked_name(name: object, place: Place) -> int:
    """Return the length of a member's name; InvalidJson if it is no string, or as `check_string`.

    `place` is that of its object: a bad name makes no pointer.
    """
    if type(name) is not str:
        refuse(f"{foreign(name)} is the name of a member, and names are strings", place)
    check_string(name, "the name of a member", place)
    return len(name)


def check_number(number: int | float, place: Place) -> None:
    """Raise InvalidJson for NaN, infinities and integers that do not fit into 64 bits."""
    if is_kept(number):
        return
    if type(number) is int:
        refuse_integer(place)
    refuse("NaN is no JSON number" if number != number else "infinity is no JSON number", place)


def check_bounds(nodes: int, depth: int, place: Place) -> None:
    """Raise InvalidJson for more than DEPTH_LIMIT objects and arrays inside one another, TooLarge over NODE_LIMIT."""
    if depth > DEPTH_LIMIT:
        refuse(f"objects and arrays are nested more than {DEPTH_LIMIT} deep", place)
    if nodes > NODE_LIMIT:
        refuse(f"there are more than {NODE_LIMIT:,} values up to here", place, TooLarge)


def is_kept(number: int | float) -> bool:
    """Tell whether `number` is finite and, as an integer, fits into 64 bits."""
    return -INTEGER_LIMIT < number < INTEGER_LIMIT if type(number) is int else isfinite(number)


def is_unicode(text: str) -> bool:
    """Tell whether `text` can be written as UTF-8: it holds no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def foreign(value: object) -> str:
    """Return how a message calls a value whose type is none of JSON's."""
    return f"a Python object of type {type(value).__name__}"
