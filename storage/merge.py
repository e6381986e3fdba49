"""Three-way merge: two people's changes to one document, both kept where they do not touch the same place."""

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from storage.equality import comparable, same
from storage.json_types import Document, Json
from storage.pointer import pointer

ENTRY_ID = "id"
"""The member that tells the entries of a list apart, where they have it."""


class Absence(Enum):
    """The state of a place that has no value, which `null` is."""

    ABSENT = "absent"


ABSENT: Final = Absence.ABSENT

EntryKey: TypeAlias = tuple[Hashable, ...]
"""What makes two list entries one and the same: their id, or their value and the how-manieth of its kind it is."""


@dataclass(frozen=True, slots=True)
class MergeConflict:
    """One place that both sides changed to different ends; ABSENT where a side has no value there."""

    pointer: str
    """The JSON pointer of the place in base. `-` stands for a list entry that base does not have (RFC 6901)."""

    base: Json
    ours: Json
    theirs: Json

    def as_json(self) -> dict[str, Json]:
        """Return this conflict as a JSON object; the member of a side that has no value there is left out."""
        sides = {"base": self.base, "ours": self.ours, "theirs": self.theirs}
        return {"pointer": self.pointer} | {side: value for side, value in sides.items() if value is not ABSENT}


@dataclass(frozen=True, slots=True)
class Merged:
    """What a merge gave: the document, and the places where it could only keep theirs."""

    document: Document
    conflicts: tuple[MergeConflict, ...]
    """In the order of their pointers."""


def merge(base: Document, ours: Document, theirs: Document) -> Merged:
    """Return `theirs` (the head, saved by somebody else) with what `ours` (being saved) changed since `base`.

    Objects are merged by key, lists by the entries' `id` where they have one, else by value: additions of both sides
    stay, and what one side removed is gone if the other left it alone. A text or scalar that both sides changed to
    different values is a conflict, and so is one that one side changed and the other removed: the document then has
    theirs. `1`, `1.0` and `true` are three values. The result shares nothing with what was given.
    """
    merging = _Merge()
    document = merging.objects((), base, ours, theirs)
    return Merged(_copy(document), tuple(sorted(merging.conflicts, key=lambda conflict: conflict.pointer)))


_Place: TypeAlias = tuple[str | int, ...]
"""The tokens of a JSON pointer into base."""


class _Merge:
    """One merge under way: it gathers the conflicts while it walks the three documents side by side."""

    def __init__(self) -> None:
        self.conflicts: list[MergeConflict] = []

    def values(self, place: _Place, base: Json, ours: Json, theirs: Json) -> Json:
        """Return the merged value of one place; each side, and the result, may be ABSENT."""
        if same(ours, theirs) or same(base, ours):
            return theirs
        if same(base, theirs):
            return ours
        if isinstance(ours, dict) and isinstance(theirs, dict):
            return self.objects(place, base if isinstance(base, dict) else {}, ours, theirs)
        if isinstance(ours, list) and isinstance(theirs, list):
            return self.lists(place, base if isinstance(base, list) else [], ours, theirs)
        self.conflicts.append(MergeConflict(pointer(place), _copy(base), _copy(ours), _copy(theirs)))
        return theirs

    def objects(self, place: _Place, base: Document, ours: Document, theirs: Document) -> Document:
        """Return the merged object: the members of theirs in their order, then those that only ours has."""
        merged = {}
        for name in theirs | ours:
            value = self.values(
                (*place, name), base.get(name, ABSENT), ours.get(name, ABSENT), theirs.get(name, ABSENT)
            )
            if value is not ABSENT:
                merged[name] = value
        return merged

    def lists(self, place: _Place, base: list[Json], ours: list[Json], theirs: list[Json]) -> list[Json]:
        """Return the merged list, in the order of the side that reordered it, else of theirs."""
        ambiguous = _repeated_ids(base) | _repeated_ids(ours) | _repeated_ids(theirs)
        old, mine, head = (_keyed(entries, ambiguous) for entries in (base, ours, theirs))
        indexes = {key: index for index, key in enumerate(old)}
        merged = {}
        for key in head | mine:
            value = self.values(
                (*place, indexes.get(key, "-")), old.get(key, ABSENT), mine.get(key, ABSENT), head.get(key, ABSENT)
            )
            if value is not ABSENT:
                merged[key] = value
        return [merged[key] for key in _merged_order(list(old), list(mine), list(head)) if key in merged]


def _repeated_ids(entries: list[Json]) -> set[bytes]:
    """Return the ids that more than one entry has: they tell nothing apart."""
    counts = Counter(identifier for entry in entries if (identifier := _identifier(entry)) is not None)
    return {identifier for identifier, count in counts.items() if count > 1}


def _identifier(entry: Json) -> bytes | None:
    """Return the id of `entry` for comparing, or None where it has no text or whole number as its id."""
    if isinstance(entry, dict) and type(identifier := entry.get(ENTRY_ID)) in (str, int):
        return comparable(identifier)
    return None


def _keyed(entries: list[Json], ambiguous: set[bytes]) -> dict[EntryKey, Json]:
    """Return the entries under their keys: equal values are counted, so that the second of two stays another one."""
    keyed: dict[EntryKey, Json] = {}
    seen: Counter[bytes] = Counter()
    for entry in entries:
        identifier = _identifier(entry)
        if identifier is not None and identifier not in ambiguous:
            keyed["id", identifier] = entry
        else:
            value = comparable(entry)
            seen[value] += 1
            keyed["value", value, seen[value]] = entry
    return keyed


def _merged_order(base: list[EntryKey], ours: list[EntryKey], theirs: list[EntryKey]) -> list[EntryKey]:
    """Return all keys of `ours` and `theirs` in one order.

    One side leads: theirs, unless only ours moved entries of base. What the other side alone has comes after the
    entry that it follows there, behind what the leading side added at the same point.
    """
    lead, other = (ours, theirs) if _moved(base, ours) and not _moved(base, theirs) else (theirs, ours)
    leading, known = set(lead), {*base, *other}
    followers: dict[EntryKey | None, list[EntryKey]] = {}
    anchor: EntryKey | None = None
    for key in other:
        if key in leading:
            anchor = key
        else:
            followers.setdefault(anchor, []).append(key)
    order: list[EntryKey] = []
    waiting = followers.get(None, [])
    for key in lead:
        if key in known:
            order += waiting
            waiting = []
        order.append(key)
        waiting = waiting + followers.get(key, [])
    return order + waiting


def _moved(base: Iterable[EntryKey], side: Iterable[EntryKey]) -> bool:
    """Tell whether `side` has the entries that it shares with `base` in another order."""
    base, side = list(base), list(side)
    in_base, in_side = set(base), set(side)
    return [key for key in base if key in in_side] != [key for key in side if key in in_base]


def _copy(value: Json) -> Json:
    """Return a copy that shares no object or list with `value`."""
    if isinstance(value, dict):
        return {name: _copy(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_copy(entry) for entry in value]
    return value
