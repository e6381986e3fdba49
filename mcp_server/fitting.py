"""Fitting: as much of a JSON value as a budget of tokens allows, and what was left out, with the place to ask for."""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import orjson

from storage.json_types import Json
from storage.pointer import escape

ANSWER_TOKENS: Final = 2_000
"""Tokens of an answer where nobody asks for another number."""

MOST_TOKENS: Final = 8_000
"""Tokens of an answer at the most."""

LEAST_TOKENS: Final = 100
"""Tokens of an answer at the least: enough for what is there to be named."""

OMISSIONS: Final = 8
"""Places that were left out which are named."""

_LEAST_ROOM: Final = 24
"""Tokens that are worth a part of a value."""

_PIECE = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|[0-9]{1,3}|[^\x00-\x7f]|[ \t]+|[^A-Za-z0-9\s\x80-\U0010ffff]{1,2}|\s")
"""What a tokenizer takes together: a word, three digits, two signs; of any other script a character at a time."""

_LONGEST: Final = 5
"""Letters that make one token, reckoned low: long words of some languages are cut that often."""


def tokens(text: str) -> int:
    """Return how many tokens a model may take for `text`, reckoned high.

    There are as many tokenizers as models: `benchmarks/mcp.py` compares it with one of them (o200k_base).
    """
    count = 0
    for piece in _PIECE.findall(text):
        if piece.isascii():
            count += 0 if piece[0] in " \t" else -(-len(piece) // _LONGEST)
        else:
            count += 1 if len(piece.encode()) < 4 else 2
    return count


def size(value: Json) -> int:
    """Return how many tokens the compact JSON of `value` may take."""
    return tokens(compact(value))


def fits(text: str, room: int) -> bool:
    """Tell whether `text` takes at most `room` tokens; no text has more tokens than bytes."""
    return len(text) * 4 <= room or len(text.encode()) <= room or tokens(text) <= room


def compact(value: Json) -> str:
    """Return `value` as JSON without spaces."""
    return orjson.dumps(value).decode()


@dataclass
class Fitted:
    """What is shown of a value, and what is not."""

    value: Json
    omitted: list[str] = field(default_factory=list)
    """Places and what was left out there, such as `/parts: 3 of 40 members`."""


def fitted(value: Json, room: int, place: str = "") -> Fitted:
    """Return as much of `value` as takes about `room` tokens; its places begin with `place`.

    An object shows its members, each cut to its share; a list its first entries; a text its beginning.
    """
    if fits(compact(value), room):
        return Fitted(value)
    if isinstance(value, dict):
        return _members(value, room, place)
    if isinstance(value, list):
        return _entries(value, room, place)
    return _beginning(value, room, place) if isinstance(value, str) else Fitted(value)


def _members(value: dict[str, Json], room: int, place: str) -> Fitted:
    """All members have the same right to the room, and what a small one leaves is for the others."""
    sizes = {name: size({name: member}) for name, member in value.items()}
    shown = Fitted({})
    waiting, left = len(sizes), room
    kept: dict[str, Json] = {}
    for name in sorted(sizes, key=lambda each: sizes[each]):
        share = left // waiting
        waiting -= 1
        if sizes[name] <= share:
            kept[name] = value[name]
            left -= sizes[name]
        elif share >= _LEAST_ROOM:
            part = fitted(value[name], share - tokens(name) - 3, f"{place}/{escape(name)}")
            kept[name] = part.value
            shown.omitted += part.omitted
            left -= size({name: part.value})
    shown.value = {name: kept[name] for name in value if name in kept}
    if len(kept) < len(value):
        shown.omitted.append(f"{place or '/'}: {len(value) - len(kept)} of {len(value)} members")
    return shown


def _entries(value: list[Json], room: int, place: str) -> Fitted:
    kept: list[Json] = []
    for entry in value:
        room -= size(entry) + 1
        if room < 0:
            break
        kept.append(entry)
    if not kept and isinstance(value[0], dict | list | str) and room + size(value[0]) >= _LEAST_ROOM:
        first = fitted(value[0], room + size(value[0]), f"{place}/0")
        return Fitted([first.value], [*first.omitted, *_rest(len(value), 1, place)])
    return Fitted(kept, list(_rest(len(value), len(kept), place)))


def _rest(count: int, shown: int, place: str) -> Iterator[str]:
    if shown < count:
        yield f"{place or '/'}: entries {shown} to {count - 1}"


def _beginning(text: str, room: int, place: str) -> Fitted:
    end = bisect_right(range(1, len(text)), room - 2, key=lambda length: size(text[:length]))
    return Fitted(text[:end] + "…", [f"{place or '/'}: {len(text) - end} of {len(text)} characters"])
