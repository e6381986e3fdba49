"""Matching: which entry of one array became which entry of another."""

from bisect import bisect_left
from collections.abc import Iterator

from storage.equality import alike, comparables, same
from storage.json_types import Json

_ALIGN_LIMIT = 400
"""Pairs of array entries that are compared at the most to find out which became which; beyond it, order decides."""


class Matching:
    """Which entry of one array becomes which entry of another: by value, then by `id`, then by place.

    The two neither begin nor end with the same entry. None of them is changed.
    """

    def __init__(self, old: list[Json], new: list[Json]) -> None:
        self.old = old
        self.new = new

        self.target = [-1] * len(old)
        """The new place of each old entry, -1 where it is removed."""

        self.stays: list[int] = []
        """The old places of entries that nothing moves, in order."""

        self.edited: list[tuple[int, int]] = []
        """The old and new places of entries that become others: they differ."""

        if self._match_by_place():
            return
        self._match_by_value()
        if -1 in self.target:
            self._match_by_id()
        self.stays = _longest_rising(self.target)
        if -1 in self.target:
            self._match_what_lies_between()

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

    def _match_by_place(self) -> bool:
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

    def _match_by_value(self) -> None:
        """Match entries that are the same; of several, the first with the first."""
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

    def _match_by_id(self) -> None:
        """Match objects, among what is left, that have the same `id`: the old was edited."""
        taken = set(self.target)
        places = {_identity(entry): j for j, entry in enumerate(self.new) if j not in taken}
        places.pop(None, None)
        if places:
            for i, entry in enumerate(self.old):
                if self.target[i] < 0 and (identity := _identity(entry)) in places:
                    self._match_edited(i, places.pop(identity))

    def _match_what_lies_between(self) -> None:
        """Match what is left between one entry that stays and the next: there, the old became the new."""
        taken = set(self.target)
        found = []
        for _, olds, news in self.gaps():
            if olds and news:
                left = [i for i in olds if self.target[i] < 0], [j for j in news if j not in taken]
                found += self._aligned(*left)
        for i, j in found:
            self._match_edited(i, j)
        self.stays = sorted([*self.stays, *(i for i, _ in found)])

    def _match_edited(self, i: int, j: int) -> None:
        self.target[i] = j
        self.edited.append((i, j))

    def _aligned(self, old: list[int], new: list[int]) -> list[tuple[int, int]]:
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


def _identity(entry: Json) -> tuple[type, Json] | None:
    """Return the `id` of an object, and its type, which tells 1 and true apart; None where there is no such `id`."""
    identity = entry.get("id") if isinstance(entry, dict) else None
    return (type(identity), identity) if isinstance(identity, (str, int)) else None


def _in_common(old: Json, new: Json) -> int:
    """Return how well `new` may be an edited `old`: 1 at the least, more by roughly the bytes that they share."""
    if isinstance(old, dict) and isinstance(new, dict):
        shared = [name for name in old if name in new and old[name] == new[name]]
        return 2 + sum(len(name) + _length(old[name]) for name in shared)
    if isinstance(old, list) and isinstance(new, list):
        return 2 + sum(_length(one) for one, other in zip(old, new, strict=False) if one == other)
    return 1


def _length(value: Json) -> int:
    """Return roughly how many bytes `value` takes; what is inside an object or array does not count."""
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
