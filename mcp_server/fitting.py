"""Fitting: as much of a JSON value as a budget of tokens allows, and what was left out, with the place to ask for."""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Final, NamedTuple

import orjson

from storage.json_types import Json
from storage.pointer import escape

ANSWER_TOKENS: Final = 2_000
"""Tokens of an answer where nobody asks for another number."""

MOST_TOKENS: Final = 8_000
"""Tokens of an answer at the most."""

LEAST_TOKENS: Final = 200
"""Tokens of an answer at the least: enough for what was left out to be named."""

OMISSIONS: Final = 8
"""Places that were left out which are named."""

_LEAST_ROOM: Final = 24
"""Tokens that are worth a part of a value, with its name."""

_PIECE: Final = 512
"""Characters of a text that are counted at once where its end is looked for."""

_LONGEST: Final = 7
"""Characters of the longest token: six letters, and the space before them. One space may stand behind the last."""

_ORDINARY: Final = (
    "\x80-\u06ff\u0900-\u0e7f\u1000-\u10ff\u1780-\u17ff\u1e00-\u206f"
    "\u2190-\u21ff\u3000-\u9fff\uac00-\ud7ff\uff00-\uffef"
)
"""Characters of scripts that tokenizers know well, and punctuation."""

_TOKEN = re.compile(
    "(?<=[0-9])[A-Za-z]{1,2}|(?<=[a-z])[A-Z]|(?<=[a-z]{10})[a-z]{1,2}"  # keys and digests hold no words
    "|[A-Z]?[a-z]{1,5}|[A-Z]{1,2}(?![a-z])|[0-9]{1,3}"
    r"|[ \t]{1,4}(?=[ \t0-9])|[\n\r\f\v\x1c-\x1f]"  # a single space goes with the word behind it
    r'|["\\{}\[\],:.]{1,2}'  # the signs of JSON come in pairs
    rf"|[^A-Za-z0-9\s\x80-\U0010ffff]|[{_ORDINARY}]"
)
"""What a tokenizer may make one token of."""

_RARE = re.compile(rf"[^\x00-\x7f{_ORDINARY}]")

_EAST_ASIAN = re.compile("[\u3400-\u9fff\uac00-\ud7ff]")

_COMMON: Final = ("gb2312", "shift_jis", "euc_kr")
"""Encodings of the Chinese characters, Japanese characters and Korean syllables that are in use: one token each."""

_UNCOMMON_TOKENS: Final = 3
"""Tokens of the others."""


def tokens(text: str, enough: int | None = None) -> int:
    """Return how many tokens a model may take for `text`, reckoned high.

    Where it is more than `enough`, the answer may be any number above that: a long text need not be counted for it.
    There are as many tokenizers as models: `benchmarks/over_mcp` compares it with one of them (o200k_base).
    """
    if enough is not None and len(text) > max(enough, 0) * _LONGEST + 1:
        return max(enough, 0) + 1
    count = len(_TOKEN.findall(text))
    if text.isascii():
        return count
    east_asian = Counter(_EAST_ASIAN.findall(text))
    count += sum((_UNCOMMON_TOKENS - 1) * often for each, often in east_asian.items() if not _is_common(each))
    return count + sum(2 if "\U0001f000" <= rare < "\U0001fb00" else len(rare.encode()) for rare in _RARE.findall(text))


@cache
def _is_common(character: str) -> bool:
    # euc_kr spells syllables that it does not have with eight bytes.
    return any(0 < len(character.encode(each, "ignore")) <= 2 for each in _COMMON)


def size(value: Json, enough: int | None = None) -> int:
    """Return how many tokens the compact JSON of `value` may take; any number above `enough` if it is more."""
    return tokens(compact(value), enough)


def fits(text: str, room: int) -> bool:
    """Tell whether `text` takes at most `room` tokens; no text has more tokens than bytes."""
    return len(text) * 4 <= room or (len(text) <= room and len(text.encode()) <= room) or tokens(text, room) <= room


def compact(value: Json) -> str:
    """Return `value` as JSON without spaces."""
    return orjson.dumps(value).decode()


class Omission(NamedTuple):
    """Something that was left out."""

    place: str
    """The JSON pointer of what is not shown, or not all of it."""

    part: str = ""
    """How much of it is not, such as `entries 3 to 39`; empty for all of it."""

    entry: str | None = None
    """The JSON pointer of the first entry that is not shown, where it is a list."""

    def __str__(self) -> str:
        """Return it for a note: `/parts/7`, or `/parts: entries 3 to 39`."""
        return ": ".join(filter(None, (self.place, self.part)))


@dataclass(slots=True)
class Fitted:
    """What is shown of a value, and what is not."""

    value: Json
    omitted: list[Omission] = field(default_factory=list)

    @property
    def is_nothing(self) -> bool:
        """Whether so much was left out that nothing is there to be shown: it would look like an empty value."""
        return bool(self.omitted) and self.value in ({}, [], "…")


def fitted(value: Json, room: int, place: str = "") -> Fitted:
    """Return as much of `value` as takes about `room` tokens; its places begin with `place`.

    An object shows its members, each cut to its share; a list its first entries; a text its beginning. A member or an
    entry of which nothing is left is not shown at all; only the value itself may become empty (`is_nothing`).
    """
    return Fitted(value) if fits(compact(value), room) else _cut(value, room, place)


def _cut(value: Json, room: int, place: str) -> Fitted:
    """Return as much as fits of a value that is known to be too large."""
    if isinstance(value, dict):
        return _members(value, room, place)
    if isinstance(value, list):
        return _entries(value, room, place)
    return _beginning(value, room, place) if isinstance(value, str) else Fitted(value)


def _members(value: dict[str, Json], room: int, place: str) -> Fitted:
    """All members have the same right to the room, and what a small one leaves is for the others."""
    left = room
    parts: dict[str, Fitted] = {}
    # The bytes tell which are small, too, and need no counting.
    for done, name in enumerate(sorted(value, key=lambda name: len(orjson.dumps({name: value[name]})))):
        share = min(left, max(left // (len(value) - done), _LEAST_ROOM))
        taken = size({name: value[name]}, share)
        part: Fitted | None = Fitted(value[name])
        if taken > share:
            part = _member(value[name], share - size({name: None}, share), _inside(place, name))
            taken = 0 if part is None else size({name: part.value})
        if part is not None:
            parts[name] = part
            left -= taken
        elif left < _LEAST_ROOM:  # the others are no smaller
            break
    shown: dict[str, Json] = {name: parts[name].value for name in value if name in parts}
    omitted: list[Omission] = []
    for name in value:
        omitted += parts[name].omitted if name in parts else [Omission(_inside(place, name))]
    return Fitted(shown, omitted)


def _member(value: Json, room: int, place: str) -> Fitted | None:
    """Return as much of a member as fits, None where that is nothing."""
    if room < _LEAST_ROOM // 2 or not isinstance(value, dict | list | str):
        return None
    part = _cut(value, room, place)
    return None if part.is_nothing else part


def _inside(place: str, name: str) -> str:
    return f"{place}/{escape(name)}"


def _entries(value: list[Json], room: int, place: str) -> Fitted:
    kept: list[Json] = []
    left = room
    for entry in value:
        taken = size(entry, left) + 1
        if taken > left:
            break
        kept.append(entry)
        left -= taken
    if not kept and left > _LEAST_ROOM and isinstance(value[0], dict | list | str):
        first = _cut(value[0], left - 1, f"{place}/0")
        if not first.is_nothing:
            return Fitted([first.value], [*first.omitted, *_rest(len(value), 1, place)])
    return Fitted(kept, list(_rest(len(value), len(kept), place)))


def _rest(count: int, shown: int, place: str) -> Iterator[Omission]:
    if shown < count:
        yield Omission(place, f"entries {shown} to {count - 1}", f"{place}/{shown}")


def _beginning(text: str, room: int, place: str) -> Fitted:
    end, left = 0, room - 2
    while end + _PIECE < len(text) and (taken := size(text[end : end + _PIECE], left)) <= left:
        end, left = end + _PIECE, left - taken
    if end:
        left = room - 2 - size(text[:end])  # as a whole it takes less than its pieces
    lengths = range(1, min(len(text) - end, (max(left, 0) + 1) * _LONGEST))
    end += bisect_right(lengths, left, key=lambda length: size(text[end : end + length], left))
    return Fitted(text[:end] + "…", [Omission(place, f"{len(text) - end} of {len(text)} characters")])
