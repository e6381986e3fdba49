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
"""Tokens that are worth a part of a value, with its name."""

_ORDINARY: Final = (
    "\x80-\u06ff\u0900-\u0e7f\u1000-\u10ff\u1780-\u17ff\u1e00-\u206f"
    "\u2190-\u21ff\u3000-\u9fff\uac00-\ud7ff\uff00-\uffef"
)
"""Characters of scripts that tokenizers know well, and punctuation."""

_TOKEN = re.compile(
    "(?<=[0-9])[A-Za-z]{1,2}|(?<=[a-z])[A-Z]|(?<=[a-z]{10})[a-z]{1,2}"  # keys and digests hold no words
    "|[A-Z]?[a-z]{1,5}|[A-Z]{1,2}(?![a-z])|[0-9]{1,3}"
    r"|[ \t]{1,4}(?=[ \t0-9])|[\n\r\f\v]"  # a single space goes with the word behind it
    r'|["\\{}\[\],:.]{1,2}'  # the signs of JSON come in pairs
    rf"|[^A-Za-z0-9\s\x80-\U0010ffff]|[{_ORDINARY}]"
)
"""What a tokenizer may make one token of."""

_RARE = re.compile(rf"[^\x00-\x7f{_ORDINARY}]")


def tokens(text: str) -> int:
    """Return how many tokens a model may take for `text`, reckoned high.

    There are as many tokenizers as models: `benchmarks/mcp.py` compares it with one of them (o200k_base).
    """
    count = len(_TOKEN.findall(text))
    if text.isascii():
        return count
    return count + sum(2 if "\U0001f000" <= rare < "\U0001fb00" else len(rare.encode()) for rare in _RARE.findall(text))


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
    """Places that were left out, such as `/parts/7`, or how much of them, such as `/parts: entries 3 to 39`."""


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
    left = room
    kept: dict[str, Json] = {}
    omitted: dict[str, list[str]] = {}
    for done, name in enumerate(sorted(sizes, key=sizes.__getitem__)):
        share = min(left, max(left // (len(sizes) - done), _LEAST_ROOM))
        inside = share - size({name: None})
        here = f"{place}/{escape(name)}"
        if sizes[name] <= share:
            kept[name] = value[name]
        elif inside >= _LEAST_ROOM // 2 and isinstance(value[name], dict | list | str):
            part = fitted(value[name], inside, here)
            kept[name], omitted[name] = part.value, part.omitted
        else:
            omitted[name] = [here]
            continue
        left -= size({name: kept[name]})
    shown: dict[str, Json] = {name: kept[name] for name in value if name in kept}
    return Fitted(shown, [each for name in value for each in omitted.get(name, [])])


def _entries(value: list[Json], room: int, place: str) -> Fitted:
    kept: list[Json] = []
    for entry in value:
        room -= size(entry) + 1
        if room < 0:
            break
        kept.append(entry)
    left = room + size(value[0]) if value and not kept else 0
    if left >= _LEAST_ROOM and isinstance(value[0], dict | list | str):
        first = fitted(value[0], left, f"{place}/0")
        return Fitted([first.value], [*first.omitted, *_rest(len(value), 1, place)])
    return Fitted(kept, list(_rest(len(value), len(kept), place)))


def _rest(count: int, shown: int, place: str) -> Iterator[str]:
    if shown < count:
        yield f"{_of(place)}entries {shown} to {count - 1}"


def _beginning(text: str, room: int, place: str) -> Fitted:
    end = bisect_right(range(1, len(text)), room - 2, key=lambda length: size(text[:length]))
    return Fitted(text[:end] + "…", [f"{_of(place)}{len(text) - end} of {len(text)} characters"])


def _of(place: str) -> str:
    return f"{place}: " if place else ""
