"""Difference: the small JSON Patch that turns one document into another."""

from bisect import bisect_left
from collections.abc import Callable
from operator import eq, itemgetter

import jsonpatch
import orjson

from storage.equality import alike, comparable, same
from storage.errors import PatchDoesNotApply
from storage.joining import Removal, joined
from storage.json_types import Document, Json, Patch
from storage.limits import PATCH_LIMIT
from storage.matching import Matching
from storage.patch import apply_in_place, copied
from storage.patch_budget import SHIFT_LIMIT
from storage.pointer import escape

_DOCUMENT_WORTH = 3
"""How many times longer than the whole document its edits may be: a reader of the history learns from them alone."""

_ABSENT = object()


def difference(before: Json, after: Json) -> Patch:
    """Return the RFC 6902 patch that turns `before` into `after`; empty when they are the same as stored.

    Only add, remove, replace and move. Entries of an array are recognised by value, then by their `id`, then by place.
    Where replacing an object or array as a whole is shorter than editing it, it is replaced, the document
    only where it is shorter by far.
    Changes neither argument; the patch shares values with `after`, which is safe to apply: applying copies them.
    Both are JSON as the gate lets it through: finite numbers, nothing deeper than DEPTH_LIMIT. Not proved: see `prove`.
    """
    if same(before, after):
        return []
    differ = _Differ()
    differ.change("", before, after)
    differ.join(0)
    return differ.operations if len(differ.operations) <= PATCH_LIMIT else _replacement(after)


def rough_difference(before: Document, after: Document) -> Patch:
    """Return the patch of `difference`, in half the time, where `==` is trusted: it takes 1, 1.0 and true for the same.

    Only for a caller who proves it, by comparing the bytes that it gives.
    """
    differ = _Differ(rough=True)
    differ.change("", before, after)
    differ.join(0)
    return differ.operations if len(differ.operations) <= PATCH_LIMIT else _replacement(after)


def proven_difference(before: Json, after: Json) -> Patch:
    """Return a patch that was seen to turn `before` into `after`; empty when they are the same.

    Ours; if it does not hold, that of `jsonpatch`; if that does not either, one that replaces the whole document.
    Raises PatchDoesNotApply if none holds: then one of the two is no JSON.
    """
    for candidate in (difference, _difference_by_jsonpatch):
        patch = candidate(before, after)
        try:
            prove(before, patch, after)
        except PatchDoesNotApply:
            continue
        return patch
    patch = _replacement(after)
    prove(before, patch, after)
    return patch


def prove(before: Json, patch: Patch, after: Json) -> None:
    """Raise PatchDoesNotApply unless `patch` turns `before` into `after`, the same as stored. Changes none of them."""
    if not same(apply_in_place(copied(before), patch), after):
        raise PatchDoesNotApply("The patch applies, but does not give the expected document.")


def _difference_by_jsonpatch(before: Json, after: Json) -> Patch:
    patch: Patch = jsonpatch.make_patch(before, after).patch
    return patch


def _replacement(after: Json) -> Patch:
    return [{"op": "replace", "path": "", "value": after}]


class _Differ:
    """The operations found so far, in the order in which they apply."""

    def __init__(self, *, rough: bool = False) -> None:
        self.rough = rough
        self.operations: Patch = []
        self.removals: list[Removal] = []
        self.shifts = SHIFT_LIMIT

    def change(self, path: str, before: Json, after: Json) -> None:
        """Turn the value at `path` into `after`, from which it differs: by edits, or as a whole if that is shorter."""
        start = len(self.operations)
        if isinstance(before, dict) and isinstance(after, dict):
            touched = self.change_object(path, before, after)
        elif isinstance(before, list) and isinstance(after, list):
            touched = self.change_array(path, before, after)
        else:
            self.replace(path, after)
            return
        if touched > 1:  # what edits only one thing inside was weighed there
            whole = [{"op": "replace", "path": path, "value": after}]
            most = _bytes(whole) * (1 if path or isinstance(before, list) else _DOCUMENT_WORTH)
            if _bytes(self.operations[start:]) > most:
                self.join(start)
                if _bytes(self.operations[start:]) > most:
                    self.redo(start, whole)

    def change_object(self, path: str, before: dict[str, Json], after: dict[str, Json]) -> int:
        """Turn one object into the other and return how many members differ."""
        touched = 0
        gone, equal_old, equal_new = [], [], []
        for name, old in before.items():
            new = after.get(name, _ABSENT)
            if new is _ABSENT:
                gone.append(name)
            elif old != new:
                touched += 1
                self.change(f"{path}/{escape(name)}", old, new)
            elif not self.rough and type(old) is not str:
                equal_old.append(old)
                equal_new.append(new)
        if equal_old and not alike(equal_old, equal_new):  # all at once: that `==` mixes up 1, 1.0 and true is rare
            for name, old in before.items():
                new = after.get(name, _ABSENT)
                if old == new and not same(old, new):
                    touched += 1
                    self.change(f"{path}/{escape(name)}", old, new)
        if not gone and len(before) == len(after):
            return touched
        come = [name for name in after if name not in before]
        renamed = _renamed(before, gone, after, come) if gone and come else {}
        for name in gone:
            if name in renamed:
                self.move(f"{path}/{escape(name)}", f"{path}/{escape(renamed[name])}")
            else:
                self.remove(f"{path}/{escape(name)}", before[name])
        arrived = set(renamed.values())
        for name in come:
            if name not in arrived:
                self.add(f"{path}/{escape(name)}", after[name])
        return touched + len(gone) + len(come)

    def change_array(self, path: str, before: list[Json], after: list[Json]) -> int:
        """Turn one array into the other and return how many entries differ, come, go or move."""
        head, tail = _ends(before, after)
        old, new = before[head : len(before) - tail], after[head : len(after) - tail]
        if len(old) == len(new) == 1:
            self.change(f"{path}/{head}", old[0], new[0])
            return 1
        matching = Matching(old, new) if old and new else None
        shifts = matching.shifts() if matching else len(old) + len(new)
        self.shifts -= shifts * max(len(before), len(after))
        if self.shifts < 0:
            self.replace(path, after)
            return 1
        if not matching:
            for place in range(head + len(old) - 1, head - 1, -1):
                self.remove(f"{path}/{place}", before[place])
            for place in range(head, head + len(new)):
                self.add(f"{path}/{place}", after[place])
            return shifts
        start = len(self.operations)
        if shifts:
            self.rearrange(path, head, matching)
        for i, j in matching.edited:
            self.change(f"{path}/{head + j}", old[i], new[j])
        if shifts and (places := matching.differing_scalars()):
            by_place = [{"op": "replace", "path": f"{path}/{head + j}", "value": new[j]} for j in places]
            if _bytes(self.operations[start:]) > _bytes(by_place):
                self.redo(start, by_place)
        return shifts + len(matching.edited)

    def rearrange(self, path: str, head: int, matching: Matching) -> None:
        """Remove, move and add entries, of which the first has the index `head`, until every one is in its place.

        Entries are removed from the back, so that their indexes hold. Then the new order grows from the front. Entries
        that stay are never touched; those that move wait where they are until their turn comes. So an index is the
        number of entries that are settled in front of it, and of those that still wait in front of it.
        """
        target, stays = matching.target, matching.stays
        for i in range(len(target) - 1, -1, -1):
            if target[i] < 0:
                self.remove(f"{path}/{head + i}", matching.old[i])
        staying = set(stays)
        waiting = [i for i, j in enumerate(target) if j >= 0 and i not in staying]
        source = {target[i]: i for i in waiting}
        for passed, olds, news in matching.gaps():
            for j in news:
                i = source.get(j, -1)
                if i < 0:
                    self.add(f"{path}/{head + j + bisect_left(waiting, olds.start)}", matching.new[j])
                    continue
                ahead = bisect_left(stays, i)
                settled = target[stays[ahead]] if ahead < passed else j + ahead - passed
                turn = bisect_left(waiting, i)
                del waiting[turn]
                self.move(f"{path}/{head + settled + turn}", f"{path}/{head + j + bisect_left(waiting, olds.start)}")

    def add(self, path: str, value: Json) -> None:
        self.operations.append({"op": "add", "path": path, "value": value})

    def remove(self, path: str, value: Json) -> None:
        self.removals.append((len(self.operations), value))
        self.operations.append({"op": "remove", "path": path})

    def replace(self, path: str, value: Json) -> None:
        self.operations.append({"op": "replace", "path": path, "value": value})

    def move(self, source: str, path: str) -> None:
        if source != path:
            self.operations.append({"op": "move", "from": source, "path": path})

    def redo(self, start: int, patch: Patch) -> None:
        """Put `patch`, which removes nothing, in the place of the operations from the one at `start` on."""
        self.operations[start:] = patch
        while self.removals and self.removals[-1][0] >= start:
            self.removals.pop()

    def join(self, start: int) -> None:
        """Move what is removed in one place and added in another, where that is safe, from the operation `start` on."""
        first = bisect_left(self.removals, start, key=itemgetter(0))
        removals = [(place - start, value) for place, value in self.removals[first:]]
        if removals:
            self.operations[start:], left = joined(self.operations[start:], removals)
            self.removals[first:] = [(place + start, value) for place, value in left]


def _ends(before: list[Json], after: list[Json]) -> tuple[int, int]:
    """Return how many entries both arrays begin with, and how many more they end with, that are the same."""
    head, tail = _matching_ends(before, after, eq)
    first, last = before[:head] + before[len(before) - tail :], after[:head] + after[len(after) - tail :]
    if not first or alike(first, last):  # nearly always: `==` mixes up 1, 1.0 and true
        return head, tail
    return _matching_ends(before, after, same)


def _matching_ends(before: list[Json], after: list[Json], agree: Callable[[Json, Json], bool]) -> tuple[int, int]:
    shorter = min(len(before), len(after))
    head = tail = 0
    while head < shorter and agree(before[head], after[head]):
        head += 1
    shorter -= head
    while tail < shorter and agree(before[-1 - tail], after[-1 - tail]):
        tail += 1
    return head, tail


def _renamed(before: dict[str, Json], gone: list[str], after: dict[str, Json], come: list[str]) -> dict[str, str]:
    """Return the new names, by the old, of members that kept their value but not their name."""
    names: dict[bytes, list[str]] = {}
    for name in reversed(come):
        names.setdefault(comparable(after[name]), []).append(name)
    renamed = {}
    for name in gone:
        if free := names.get(comparable(before[name])):
            renamed[name] = free.pop()
    return renamed


def _bytes(value: Json) -> int:
    """Return how many bytes of JSON `value` takes."""
    try:
        return len(orjson.dumps(value))
    except TypeError:
        return len(comparable(value))
