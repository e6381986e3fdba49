"""Evidence: from what a summarizer cites to the sources of each change, with nothing it made up."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from graphs.answer import Evidence
from graphs.material import Material
from graphs.summarizer import Summary
from storage.equality import comparable, same
from storage.json_types import Document, Json
from storage.pointer import pointer
from storage.provenance import LABEL_LIMIT, Actor, ChangeSource, Provenance, TokenUsage, Trust, lowest

SOURCES_LIMIT = 200
"""Pieces of evidence that are looked at; what only later ones name counts as coming from the whole batch."""

CITED_LIMIT = 20
"""Messages kept for one place, the newest of those cited."""

BATCH_LIMIT = 1_000
"""Messages named as the source of a whole batch, the newest of them."""

_ABSENT: Final = object()


@dataclass(frozen=True, slots=True)
class Place:
    """One place that differs between two documents; of a list, one entry by what it can be called."""

    pointer: str
    names: frozenset[str] = frozenset()

    def is_under(self, evidence: Evidence) -> bool:
        """Tell whether `evidence` is about this place, or about something that it is a part of."""
        if self.pointer == evidence.pointer:
            return evidence.entry is None or evidence.entry in self.names
        return evidence.entry is None and self.pointer.startswith(evidence.pointer + "/")


def provenance(
    before: Document, after: Document, summary: Summary, material: Material, tokens: TokenUsage | None
) -> Provenance:
    """Return the provenance of a change that the loop makes: a job's, trusted as the worst that it comes from.

    Evidence that names no message of the batch, or no place that changed, is dropped. What changed without evidence
    comes from the whole batch, which is said once, at the root of the document.
    """
    changes = _sources(changed_places(before, after), summary.evidence, material)
    said = material.said
    return Provenance(
        actor=Actor.JOB,
        through="loop",
        conversations=dict.fromkeys(each.conversation for each in said),
        messages=[each.number for each in said[-BATCH_LIMIT:]],
        model=summary.model,
        prompt=summary.prompt,
        tokens=tokens,
        changes=changes,
    )


def changed_places(before: Document, after: Document) -> list[Place]:
    """Return the places that differ, down to scalars and the entries of lists."""
    return list(_differing((), before, after))


def _sources(places: list[Place], evidence: Iterable[Evidence], material: Material) -> list[ChangeSource]:
    trusts = material.trusts
    cited: dict[tuple[str, str | None], set[int]] = {}
    open_places = set(places)
    for each in islice(evidence, SOURCES_LIMIT):
        known = trusts.keys() & set(each.messages)
        about = [place for place in places if place.is_under(each)]
        key = (each.pointer, each.entry and each.entry[:LABEL_LIMIT])
        if known and about:
            cited.setdefault(key, set()).update(known)
            open_places.difference_update(about)
    sources = [
        ChangeSource(
            where, entry, tuple(sorted(numbers)[-CITED_LIMIT:]), _capped(lowest(map(trusts.__getitem__, numbers)))
        )
        for (where, entry), numbers in cited.items()
    ]
    if open_places or not sources:
        whole = tuple(sorted(trusts)[-BATCH_LIMIT:])
        sources.append(ChangeSource("", None, whole, _capped(material.trust)))
    return sources


def _capped(trust: Trust) -> Trust:
    """Return `trust`, at most that of the job which runs the summarizer."""
    return min(trust, Actor.JOB.trust)


def _differing(tokens: tuple[str, ...], before: Json, after: Json) -> Iterator[Place]:
    if before is not _ABSENT and after is not _ABSENT and same(before, after):
        return
    if _all_are(dict, before, after):
        old, new = _or_empty(before, {}), _or_empty(after, {})
        for name in old | new:
            yield from _differing((*tokens, name), old.get(name, _ABSENT), new.get(name, _ABSENT))
    elif _all_are(list, before, after):
        yield from _differing_entries(pointer(tokens), _or_empty(before, []), _or_empty(after, []))
    else:
        yield Place(pointer(tokens))


def _all_are(kind: type, before: Json, after: Json) -> bool:
    """Tell whether what is there on either side is of this kind, and says more than that it is there."""
    there = [value for value in (before, after) if value is not _ABSENT]
    return all(isinstance(value, kind) for value in there) and any(there)


def _or_empty(value: Json, empty: Json) -> Json:
    return empty if value is _ABSENT else value


def _differing_entries(where: str, before: list[Json], after: list[Json]) -> Iterator[Place]:
    """Yield a place for each entry that only one side has; for a list in another order, the list itself."""
    old, new = Counter(map(comparable, before)), Counter(map(comparable, after))
    found = False
    for entries, surplus in ((before, old - new), (after, new - old)):
        for entry in entries:
            if surplus[comparable(entry)] > 0:
                surplus[comparable(entry)] -= 1
                found = True
                yield Place(where, _names(entry))
    if not found:
        yield Place(where)


def _names(entry: Json) -> frozenset[str]:
    """Return what an entry can be called: itself where it is a text, else its texts, the id among them."""
    if isinstance(entry, dict):
        return frozenset(value for value in entry.values() if isinstance(value, str))
    return frozenset({entry} if isinstance(entry, str) else ())
