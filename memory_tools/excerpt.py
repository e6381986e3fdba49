"""Excerpts: the members of a document as lines of JSON, cut where there is not room for all of them."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from memory_tools.visible import visible_line
from storage.json_types import Json
from storage.pointer import escape

Member: TypeAlias = tuple[str, Json]
"""The name of a member and its value, of visible characters only."""

LEAST_TEXT = 20
"""Characters of a text that are worth showing, when it is cut."""

LEAST_LINE = 120
"""Characters for a line that is cut, as long as there are any: a few lines say more than the beginnings of many."""

NOTE = "…"
"""The name under which a line says what is not shown."""

_SEPARATOR = 2
"""Characters between two entries: a comma and a space."""


def excerpt(members: Sequence[Member], room: int, *, whole: str = "") -> list[str]:
    """Return a line for each member as far as `room` characters go, and a last line that counts those left out.

    All have the same right to the room, and what a short one leaves is for the others; only the member called `whole`
    comes before them. Each line takes one character more than it has.
    """
    lines = [visible_line({name: value}) for name, value in members]
    sizes = [len(line) + 1 for line in lines]
    if sum(sizes) <= room:
        return lines
    left = room - len(_left_out(len(members))) - 1
    if left < 0:
        return []
    first = [size for (name, _), size in zip(members, sizes, strict=True) if name == whole]
    level = _level([size for (name, _), size in zip(members, sizes, strict=True) if name != whole], left - sum(first))
    shown: list[str] = []
    spare = 0
    for (name, value), line, size in zip(members, lines, sizes, strict=True):
        allowed = left if name == whole else min(left, max(level, LEAST_LINE) + spare)
        found = line if size <= allowed else _cut(name, value, allowed - 1)
        used = len(found) + 1 if found else 0
        if name != whole:
            spare = max(0, spare + min(size, level) - used)
        left -= used
        if found:
            shown.append(found)
    missing = len(members) - len(shown)
    return [*shown, _left_out(missing)] if missing else shown


def cut_text(text: str, room: int, line: Callable[[str], str]) -> str | None:
    """Return the `line` of as much of `text` as fits in `room` characters; None where too little does."""
    if len(text) <= room and len(written := line(text)) <= room:
        return written
    longest = bisect_right(range(1, min(len(text), max(0, room)) + 1), room, key=lambda end: len(line(text[:end])))
    return line(shortened(text, longest)) if longest >= LEAST_TEXT else None


def shortened(text: str, limit: int) -> str:
    """Return `text` cut to `limit` characters, after a word where there is one to end with."""
    if len(text) <= limit:
        return text
    cut = text[: limit - 1]
    head, space, _ = cut.rpartition(" ")
    return (head if space and len(head) > limit // 2 else cut).rstrip() + "…"


def _cut(name: str, value: Json, room: int) -> str | None:
    """Return the line of what fits of a text, a list or an object; None for anything else, and where too little fits.

    The newest entries of a list are its last ones; of an object those with the highest `recency_score`.
    """
    if isinstance(value, str):
        return cut_text(value, room, lambda text: visible_line({name: text}))
    if isinstance(value, list):
        sizes = ((place, len(visible_line(entry))) for place, entry in reversed(list(enumerate(value))))
        kept = _fitting(sizes, room - len(_some(name, [], len(value))))
        chosen: Json = [entry for place, entry in enumerate(value) if place in kept]
    elif isinstance(value, dict):
        newest = sorted(value, key=lambda key: _recency(value[key]), reverse=True)
        kept = _fitting(
            ((key, len(visible_line({key: value[key]}))) for key in newest), room - len(_some(name, {}, len(value)))
        )
        chosen = {key: member for key, member in value.items() if key in kept}
    else:
        return None
    line = _some(name, chosen, len(value) - len(chosen))
    return line if len(line) <= room else None


def _fitting(sizes: Iterable[tuple[int | str, int]], room: int) -> set[int | str]:
    """Return the first entries that fit; one so long that it would take half of the room or more may be passed over."""
    kept: set[int | str] = set()
    left = room
    for entry, size in sizes:
        taken = size + _SEPARATOR
        if taken <= left:
            kept.add(entry)
            left -= taken
        elif left <= _SEPARATOR or taken * 2 < room:
            break
    return kept


def _recency(member: Json) -> float:
    score = member.get("recency_score") if isinstance(member, dict) else None
    return float(score) if isinstance(score, int | float) else -1.0


def _some(name: str, value: Json, missing: int) -> str:
    return visible_line({name: value, NOTE: f"{missing} more; ask get_user_memory for /{escape(name)}"})


def _left_out(count: int) -> str:
    return visible_line({NOTE: f"{count} more; ask get_user_memory"})


def _level(sizes: Sequence[int], room: int) -> int:
    """Return how much each may have, when those that need less leave the rest to the others."""
    waiting = len(sizes)
    for size in sorted(sizes):
        if size * waiting > room:
            return max(0, room // waiting)
        room -= size
        waiting -= 1
    return max(sizes, default=0)
