"""Difference: the small JSON Patch that turns one document into another."""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from operator import eq, itemgetter

import jsonpatch
import orjson

from storage.equality import alike, comparable, comparables, same
from storage.errors import PatchDoesNotApply
from storage.json_types import Document, Json, Patch, PatchOperation
from storage.limits import PATCH_LIMIT
from storage.patch import SHIFT_LIMIT, apply_in_place, copied
from storage.pointer import escape

_ALIGN_LIMIT = 400
"""Pairs of array entries that are compared at the most to find out which became which; beyond it, order decides."""

_JOIN_LIMIT = 5_000
"""Operations that are looked at, in one patch, to find out which removed values may be moved to where they reappear."""

_JOIN_TRIES = 4
"""Equal removed values that are tried for one added value at the most."""

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
        self.removed: list[tuple[int, Json]] = []  # the places of those that remove, and what they remove
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
        matching = _Matching(old, new) if old and new else None
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

    def rearrange(self, path: str, head: int, matching: "_Matching") -> None:
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
        self.removed.append((len(self.operations), value))
        self.operations.append({"op": "remove", "path": path})

    def replace(self, path: str, value: Json) -> None:
        self.operations.append({"op": "replace", "path": path, "value": value})

    def move(self, source: str, path: str) -> None:
        if source != path:
            self.operations.append({"op": "move", "from": source, "path": path})

    def redo(self, start: int, patch: Patch) -> None:
        """Put `patch`, which removes nothing, in the place of the operations from the one at `start` on."""
        self.operations[start:] = patch
        while self.removed and self.removed[-1][0] >= start:
            self.removed.pop()

    def join(self, start: int) -> None:
        """Move what is removed in one place and added in another, where that is safe, from the operation `start` on."""
        first = bisect_left(self.removed, start, key=itemgetter(0))
        removals: dict[bytes, list[int]] = {}
        for place, value in self.removed[first:]:
            removals.setdefault(comparable(value), []).append(place - start)
        if not removals:
            return
        edits: list[PatchOperation | None] = [*self.operations[start:]]
        looks = _JOIN_LIMIT
        for addition, operation in enumerate(self.operations[start:]):
            free = removals.get(comparable(operation["value"]), []) if operation["op"] == "add" else []
            for removal in free[:_JOIN_TRIES]:
                looks -= abs(addition - removal)
                if looks > 0 and _may_join(edits, removal, addition):
                    source = self.operations[start + removal]["path"]
                    edits[addition] = {"op": "move", "from": source, "path": operation["path"]}
                    edits[removal] = None
                    free.remove(removal)
                    break
        values = dict(self.removed[first:])
        del self.operations[start:], self.removed[first:]
        for place, edit in enumerate(edits, start):
            if edit and place in values:
                self.removed.append((len(self.operations), values[place]))
            if edit:
                self.operations.append(edit)


class _Matching:
    """Which entry of one array becomes which entry of another. The two neither begin nor end with the same entry."""

    def __init__(self, old: list[Json], new: list[Json]) -> None:
        self.old = old
        self.new = new
        self.target = [-1] * len(old)  # the new place of each old entry, -1 where it is removed
        self.stays: list[int] = []  # the old places of entries that nothing moves, in order
        self.edited: list[tuple[int, int]] = []  # the old and new places of entries that differ
        if self.match_by_place():
            return
        self.match_by_value()
        if -1 in self.target:
            self.match_by_id()
        self.stays = _longest_rising(self.target)
        if -1 in self.target:
            self.match_what_lies_between()

    def gaps(self) -> Iterator[tuple[int, range, range]]:
        """Yield what lies between the entries that stay: how many of them are in front, the old and the new places."""
        first_old = first_new = 0
        for passed, old in enumerate([*self.stays, len(self.old)]):
            new = self.target[old] if passed < len(self.stays) else len(self.new)
            if old > first_old or new > first_new:
                yield passed, range(first_old, old), range(first_new, new)
            first_old, first_new = old + 1, new + 1

    def shifts(self) -> int:
        """Return how many times an entry is put into the array or taken out of it."""
        kept = len(self.old) - self.target.count(-1)
        return len(self.old) - kept + len(self.new) - kept + 2 * (kept - len(self.stays))

    def differing_scalars(self) -> list[int]:
        """Return the places that differ, if the new array is as long as the old and all of it scalars."""
        if len(self.old) != len(self.new) or any(isinstance(entry, (dict, list)) for entry in self.new):
            return []
        return [i for i, entry in enumerate(self.new) if not same(self.old[i], entry)]

    def match_by_place(self) -> bool:
        """Match arrays in which most entries are where they were and none has moved; tell whether they are such."""
        old, new, places = self.old, self.new, range(len(self.old))
        if len(old) != len(new):
            return False
        differing = [i for i in places if old[i] is not new[i] and old[i] != new[i]]
        if 2 * len(differing) > max(2, len(old)):
            return False
        equal = sorted(set(places).difference(differing))
        if not alike([old[i] for i in equal], [new[i] for i in equal]):
            return False
        left, right = [old[i] for i in differing], [new[i] for i in differing]
        if not set(comparables(left)).isdisjoint(comparables(right)):
            return False
        if any(_identity(one) != _identity(other) for one, other in zip(left, right, strict=True)):
            return False
        self.target = self.stays = list(places)
        self.edited = [(i, i) for i in differing]
        return True

    def match_by_value(self) -> None:
        old, new = comparables(self.old), comparables(self.new)
        place = {value: j for j, value in enumerate(new)}
        if len(place) == len(new) and len(set(old)) == len(old):
            self.target = [place.get(value, -1) for value in old]
            return
        places: dict[bytes, list[int]] = {}
        for j in range(len(new) - 1, -1, -1):
            places.setdefault(new[j], []).append(j)
        for i, value in enumerate(old):
            if free := places.get(value):
                self.target[i] = free.pop()

    def match_by_id(self) -> None:
        taken = set(self.target)
        places = {_identity(entry): j for j, entry in enumerate(self.new) if j not in taken}
        places.pop(None, None)
        if places:
            for i, entry in enumerate(self.old):
                if self.target[i] < 0 and (identity := _identity(entry)) in places:
                    self.match_edited(i, places.pop(identity))

    def match_what_lies_between(self) -> None:
        """Match what is left between one entry that stays and the next: there, the old became the new."""
        taken = set(self.target)
        found = []
        for _, olds, news in self.gaps():
            if olds and news:
                left = [i for i in olds if self.target[i] < 0], [j for j in news if j not in taken]
                found += self.aligned(*left)
        for i, j in found:
            self.match_edited(i, j)
        self.stays = sorted([*self.stays, *(i for i, _ in found)])

    def match_edited(self, i: int, j: int) -> None:
        self.target[i] = j
        self.edited.append((i, j))

    def aligned(self, old: list[int], new: list[int]) -> list[tuple[int, int]]:
        """Return which of the `old` places became which of the `new`, in order, so that they have most in common."""
        if len(old) == len(new) or len(old) * len(new) > _ALIGN_LIMIT:
            return list(zip(old, new, strict=False))
        common = [[_in_common(self.old[i], self.new[j]) for j in new] for i in old]
        best = [[0] * (len(new) + 1) for _ in range(len(old) + 1)]  # from these two on
        for a in range(len(old) - 1, -1, -1):
            for b in range(len(new) - 1, -1, -1):
                best[a][b] = max(best[a + 1][b], best[a][b + 1], common[a][b] + best[a + 1][b + 1])
        pairs = []
        a = b = 0
        while best[a][b]:
            if best[a][b] == common[a][b] + best[a + 1][b + 1]:
                pairs.append((old[a], new[b]))
                a, b = a + 1, b + 1
            elif best[a][b] == best[a + 1][b]:
                a += 1
            else:
                b += 1
        return pairs


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


def _identity(entry: Json) -> tuple[type, Json] | None:
    identity = entry.get("id") if isinstance(entry, dict) else None
    return (type(identity), identity) if isinstance(identity, (str, int)) else None


def _in_common(old: Json, new: Json) -> int:
    """Return how well `new` may be an edited `old`: 1 at the least, more by roughly the bytes that they share."""
    if isinstance(old, dict) and isinstance(new, dict):
        shared = [name for name in old if new.get(name, _ABSENT) == old[name]]
        return 2 + sum(len(name) + _length(old[name]) for name in shared)
    if isinstance(old, list) and isinstance(new, list):
        return 2 + sum(_length(one) for one, other in zip(old, new, strict=False) if one == other)
    return 1


def _length(value: Json) -> int:
    return len(value) if isinstance(value, str) else 4


def _longest_rising(target: list[int]) -> list[int]:
    """Return the places of a longest subsequence of `target` that rises, leaving out negative ones."""
    lowest: list[int] = []  # by length, the lowest value that ends a rising subsequence so far
    ends: list[int] = []  # and its place
    previous = [-1] * len(target)
    for i, j in enumerate(target):
        if j < 0:
            continue
        if not ends or lowest[-1] < j:
            previous[i] = ends[-1] if ends else -1
            lowest.append(j)
            ends.append(i)
            continue
        length = bisect_left(lowest, j)
        previous[i] = ends[length - 1] if length else -1
        lowest[length], ends[length] = j, i
    rising = []
    i = ends[-1] if ends else -1
    while i >= 0:
        rising.append(i)
        i = previous[i]
    return rising[::-1]


def _may_join(edits: list[PatchOperation | None], removal: int, addition: int) -> bool:
    """Tell whether the operation `addition` may move the value here, instead of `removal` removing it.

    It may when nothing in between depends on whether the value is still there, or changes where it is. A token of
    digits may be an index, and then depends on its neighbours.
    """
    [source], [target] = _paths(edits[removal]), _paths(edits[addition])
    around = source.rpartition("/")[0] + "/"
    shifting = around if source[len(around) :].isdigit() else source + "/"
    for edit in edits[removal + 1 : addition] or edits[addition:removal]:
        for path in _paths(edit):
            if path == source or path.startswith(shifting) or source.startswith(path + "/"):
                return False
            parent, _, token = path.rpartition("/")
            if token.isdigit() and source.startswith(parent + "/"):
                return False
    return not target.startswith(source + "/")


def _paths(edit: PatchOperation | None) -> list[str]:
    return [edit[member] for member in ("from", "path") if member in edit] if edit else []
