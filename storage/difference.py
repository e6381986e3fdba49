"""Difference: the small JSON Patch that turns one document into another."""

from bisect import bisect_left
from collections.abc import Iterator

import jsonpatch
import orjson

from storage.equality import alike, comparable, comparables, same
from storage.errors import PatchDoesNotApply
from storage.json_types import Json, Patch, PatchOperation
from storage.limits import PATCH_LIMIT
from storage.patch import SHIFT_LIMIT, apply_in_place, copied
from storage.pointer import escape

_ALIGN_LIMIT = 400
"""Pairs of array entries that are compared at the most to find out which became which; beyond it, order decides."""

_JOIN_LIMIT = 5_000
"""Operations that are looked at, in one patch, to find out which removed values may be moved to where they reappear."""

_ABSENT = object()


def difference(before: Json, after: Json) -> Patch:
    """Return the RFC 6902 patch that turns `before` into `after`; empty when they are the same as stored.

    Only add, remove, replace and move. Entries of an array are recognised by value, then by their `id`, then by place.
    Where replacing an object or array as a whole is shorter than editing it, it is replaced.
    Changes neither argument; the patch shares values with `after`, which is safe to apply: applying copies them.
    Both are JSON as the gate lets it through: finite numbers, nothing deeper than DEPTH_LIMIT. Not proved: see `prove`.
    """
    if same(before, after):
        return []
    differ = _Differ()
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

    def __init__(self) -> None:
        self.operations: Patch = []
        self.removed: list[Json] = []  # beside each operation the value that it removes, if it does
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
            most = _bytes(whole)
            if _bytes(self.operations[start:]) > most:
                self.join(start)
                if _bytes(self.operations[start:]) > most:
                    self.redo(start, whole)

    def change_object(self, path: str, before: dict[str, Json], after: dict[str, Json]) -> int:
        """Turn one object into the other and return how many members differ."""
        touched = removed = 0
        for name, old in before.items():
            new = after.get(name, _ABSENT)
            if new is _ABSENT:
                removed += 1
                self.remove(f"{path}/{escape(name)}", old)
            elif old is not new and (old != new or not alike(old, new)):
                touched += 1
                self.change(f"{path}/{escape(name)}", old, new)
        added = len(after) - len(before) + removed
        if added:
            for name, new in after.items():
                if name not in before:
                    self.add(f"{path}/{escape(name)}", new)
        return touched + removed + added

    def change_array(self, path: str, before: list[Json], after: list[Json]) -> int:
        """Turn one array into the other and return how many entries differ, come, go or move."""
        head = _common(before, after)
        tail = _common(before[head:][::-1], after[head:][::-1])
        old, new = before[head : len(before) - tail], after[head : len(after) - tail]
        if len(old) == len(new) == 1:
            self.change(f"{path}/{head}", old[0], new[0])
            return 1
        matching = _Matching(old, new)
        shifts = matching.shifts()
        self.shifts -= shifts * max(len(before), len(after))
        if self.shifts < 0:
            self.replace(path, after)
            return 1
        start = len(self.operations)
        if shifts:
            self.rearrange(path, head, matching)
        for i, j in matching.edited:
            self.change(f"{path}/{head + j}", matching.old[i], matching.new[j])
        if shifts and (places := matching.differing_scalars()):
            by_place = [{"op": "replace", "path": f"{path}/{head + j}", "value": matching.new[j]} for j in places]
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
        waiting = sorted({i for i, j in enumerate(target) if j >= 0}.difference(stays))
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
        self.removed.append(_ABSENT)

    def remove(self, path: str, value: Json) -> None:
        self.operations.append({"op": "remove", "path": path})
        self.removed.append(value)

    def replace(self, path: str, value: Json) -> None:
        self.operations.append({"op": "replace", "path": path, "value": value})
        self.removed.append(_ABSENT)

    def move(self, source: str, path: str) -> None:
        if source != path:
            self.operations.append({"op": "move", "from": source, "path": path})
            self.removed.append(_ABSENT)

    def redo(self, start: int, patch: Patch) -> None:
        """Put `patch`, which removes nothing, in the place of the operations from the one at `start` on."""
        self.operations[start:] = patch
        self.removed[start:] = [_ABSENT] * len(patch)

    def join(self, start: int) -> None:
        """Move what is removed in one place and added in another, where that is safe, from the operation `start` on."""
        edits: list[PatchOperation | None] = [*self.operations[start:]]
        removals: dict[bytes, list[int]] = {}
        for place, value in enumerate(self.removed[start:]):
            if value is not _ABSENT:
                removals.setdefault(comparable(value), []).append(place)
        if not removals:
            return
        looks = _JOIN_LIMIT
        for place, operation in enumerate(self.operations[start:]):
            free = removals.get(comparable(operation["value"]), []) if operation["op"] == "add" else []
            for removal in free:
                looks -= abs(place - removal)
                if looks > 0 and _may_join(edits, removal, place):
                    source = self.operations[start + removal]["path"]
                    edits[place] = {"op": "move", "from": source, "path": operation["path"]}
                    edits[removal] = None
                    free.remove(removal)
                    break
        self.removed[start:] = [value for value, edit in zip(self.removed[start:], edits, strict=True) if edit]
        self.operations[start:] = filter(None, edits)


class _Matching:
    """Which entry of one array becomes which entry of another. The two neither begin nor end with the same entry."""

    def __init__(self, old: list[Json], new: list[Json]) -> None:
        self.old = old
        self.new = new
        self.target = [-1] * len(old)  # the new place of each old entry, -1 where it is removed
        self.stays: list[int] = []  # the old places of entries that nothing moves, in order
        self.edited: list[tuple[int, int]] = []  # the old and new places of entries that differ
        if not old or not new or self.match_by_place():
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
        """Return the places that differ in two arrays of one length, if there are only scalars at them in the new."""
        if len(self.old) != len(self.new):
            return []
        differing = []
        for i, entry in enumerate(self.new):
            if not same(self.old[i], entry):
                if isinstance(entry, (dict, list)):
                    return []
                differing.append(i)
        return differing

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
        place = dict(zip(new, range(len(new)), strict=True))
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


def _common(one: list[Json], other: list[Json]) -> int:
    """Return how many entries the same both arrays begin with."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a is not b and a != b:
            break
        count += 1
    if not count or alike(one[:count], other[:count]):  # all at once: nearly always they are
        return count
    return next(i for i in range(count) if not same(one[i], other[i]))


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
        length = len(lowest) if not lowest or lowest[-1] < j else bisect_left(lowest, j)
        previous[i] = ends[length - 1] if length else -1
        lowest[length : length + 1] = [j]
        ends[length : length + 1] = [i]
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
