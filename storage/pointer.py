"""JSON pointers (RFC 6901): how one place inside a JSON value is named."""

import json
import re
from collections.abc import Callable, Iterable

from storage.errors import InvalidPatch, NotFound
from storage.json_types import Json

_BAD_ESCAPE = re.compile(r"~(?![01])")

_INDEX_DIGITS = 18
"""Digits of an array index at the most: more than any list has entries."""

_SHOWN = 200
"""Characters of a pointer that an error message repeats at the most."""


def escape(token: str) -> str:
    """Return `token` as it is written between two slashes of a pointer."""
    if "~" in token or "/" in token:
        return token.replace("~", "~0").replace("/", "~1")
    return token


def pointer(tokens: Iterable[str | int]) -> str:
    """Return the pointer that leads through `tokens`: member names and array indexes."""
    return "".join(["/" + escape(str(token)) for token in tokens])


def tokens(pointer: str) -> list[str]:
    """Return the unescaped tokens of `pointer`; none for the whole value.

    Raises InvalidPatch if the pointer is neither empty nor starts with a slash, or has a `~` that is not `~0` or `~1`.
    """
    if not pointer:
        return []
    if pointer[0] != "/":
        raise InvalidPatch(f"The pointer {shown(pointer)} does not start with a slash.")
    parts = pointer[1:].split("/")
    if "~" not in pointer:
        return parts
    if _BAD_ESCAPE.search(pointer):
        raise InvalidPatch(f"The pointer {shown(pointer)} has a ~ that is neither ~0 nor ~1.")
    return [part.replace("~1", "/").replace("~0", "~") for part in parts]


def resolve(document: Json, pointer: str) -> Json:
    """Return the value that `pointer` names inside `document`, not a copy.

    Raises NotFound naming the pointer if it leads nowhere, InvalidPatch if it is malformed.
    """
    return follow(document, pointer, step)


def follow(document: Json, pointer: str, inside: Callable[[Json, str], Json]) -> Json:
    """Return the value to which `inside`, a rule such as `step`, leads from token to token; errors as of `resolve`."""
    value = document
    try:
        for token in tokens(pointer):
            value = inside(value, token)
    except LookupError as missing:
        raise NotFound(f"There is nothing at {shown(pointer)}: {missing.args[0]}.") from None
    return value


def step(container: Json, token: str) -> Json:
    """Return the member or entry that `token` names in `container`; LookupError says why there is none."""
    if isinstance(container, dict):
        if token in container:
            return container[token]
        raise LookupError(f"there is no member {shown(token)}")
    if isinstance(container, list):
        return container[index(token, len(container))]
    raise LookupError(f"{kind(container)} has no members and no entries")


def index(token: str, length: int) -> int:
    """Return the array index that `token` spells; LookupError unless it is one of the first `length`.

    Digits only, and no leading zero (RFC 6901, section 4).
    """
    if not (token.isascii() and token.isdigit()) or (token[0] == "0" and token != "0"):
        raise LookupError(f"{shown(token)} is not the index of an entry")
    place = int(token) if len(token) <= _INDEX_DIGITS else length
    if place >= length:
        raise LookupError(f"index {shown(token)} is past the end")
    return place


def kind(value: Json) -> str:
    """Return how a message calls a value of this JSON type."""
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, bool):
        return "a boolean"
    return "a number" if isinstance(value, (int, float)) else f"a {type(value).__name__}"


def shown(text: str) -> str:
    r"""Return `text` quoted for a message, with escapes such as `\u001b` for what cannot be seen, and not very long.

    It may come from a stranger, and the message reach a terminal or a log: no control character (ESC, line ends), no
    bidirectional override and no half of a surrogate pair is in it as it is.
    """
    shortened = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
    return f'"{shortened}"' if shortened.isprintable() else f'"{"".join(map(_seen, shortened))}"'


def _seen(character: str) -> str:
    """Return `character`, or its escape in JSON if it cannot be seen."""
    return character if character.isprintable() else json.dumps(character)[1:-1]
