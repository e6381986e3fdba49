"""Loss: which words of a document a change takes away for good."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from storage.json_types import Document, Json
from storage.words import has_words, most_words, rewritten, telling_words, words


@dataclass(slots=True)
class ReplacedText:
    """One text of the old document that another value, or nothing, took the place of."""

    place: tuple[str, ...]
    before: str
    after: Json
    stretch: str
    """The part of it that is not there any more."""


class Loss:
    """What a change took away and what it brought, without the parts of the documents that are equal.

    Equal parts have equal words, so leaving them out changes no count of what is lost.
    """

    def __init__(self, before: Document, after: Document) -> None:
        self.gone: list[str] = []
        self.come: list[str] = []
        self.texts: list[ReplacedText] = []
        self._members((), before, after, named=True)

    def _members(self, place: tuple[str, ...], before: Document, after: Document, *, named: bool) -> None:
        """Compare two objects; `named` where names lead to them, without a list in between."""
        for name, old in before.items():
            if name not in after:
                if isinstance(old, str) and not place:
                    self.texts.append(ReplacedText((name,), old, None, old))
                self.gone += _texts(old, name)
            elif old is not (new := after[name]) and old != new:
                self._values((*place, name), old, new, named=named)
        if len(after) > len(before) or after.keys() != before.keys():
            for name, new in after.items():
                if name not in before:
                    self.come += _texts(new, name)

    def _values(self, place: tuple[str, ...], before: Json, after: Json, *, named: bool) -> None:
        if isinstance(before, dict) and isinstance(after, dict):
            self._members(place, before, after, named=named)
        elif isinstance(before, list) and isinstance(after, list):
            self._entries(place, before, after)
        elif isinstance(before, str) and isinstance(after, str):
            gone, come = rewritten(before, after)
            self.gone.append(gone)
            self.come.append(come)
            if named:
                self.texts.append(ReplacedText(place, before, after, gone))
        else:
            if named and isinstance(before, str):
                self.texts.append(ReplacedText(place, before, after, before))
            self.gone += _texts(before, place[-1])
            self.come += _texts(after, place[-1])

    def _entries(self, place: tuple[str, ...], before: list[Json], after: list[Json]) -> None:
        """Compare two lists between what they begin and end with in common, pair by pair."""
        start, end, shorter = 0, 0, min(len(before), len(after))
        while start < shorter and before[start] == after[start]:
            start += 1
        while end < shorter - start and before[-1 - end] == after[-1 - end]:
            end += 1
        olds, news = before[start : len(before) - end], after[start : len(after) - end]
        for old, new in zip(olds, news, strict=False):
            if old != new:
                self._values(place, old, new, named=False)
        for old in olds[len(news) :]:
            self.gone += _texts(old, place[-1])
        for new in news[len(olds) :]:
            self.come += _texts(new, place[-1])


def lost_share(loss: Loss, before: Document, after: Document, *, most: float, floor: int) -> float | None:
    """Return the share of the old words that is gone when that is more than `most`, else None.

    A word is gone as often as the new document has it less often than the old one, wherever it stands. A text that
    the old document had several times, and the new one still has once, is not gone. Up to `floor` words may always go,
    unless no word is left. Cheap bounds come first; what they let through, the full count would let through too.
    """
    if not loss.gone:
        return None
    emptied = not _says_anything(after, "")
    if not emptied and sum(map(most_words, loss.gone)) <= floor:
        return None
    gone = _words(loss.gone)
    if not emptied and len(gone) <= floor:
        return None
    lost = Counter(gone) - Counter(_words(loss.come))
    count = lost.total()
    if not count or (not emptied and count <= floor):
        return None
    total = 0
    for text in _texts(before, ""):
        total += len(words(text))
        if not emptied and count <= total * most:
            return None
    count = (lost - _repeated(before, after)).total()
    return count / total if emptied or (count > floor and count > total * most) else None


def replaced_texts(loss: Loss, *, most: float, long: int) -> Iterator[tuple[ReplacedText, float]]:
    """Yield each long text that lost more than `most` of its telling words, with that share.

    A text is long from `long` different telling words on. A word is lost when it is neither in what took the text's
    place nor in anything else that is new.
    """
    new: set[str] | None = None
    for text in loss.texts:
        # What is lost is in the stretch that changed, and this is mostly short.
        gone = telling_words(text.stretch)
        if len(gone) <= most * long:
            continue
        telling = telling_words(text.before)
        if len(telling) < long:
            continue
        if new is None:
            new = set().union(*map(telling_words, loss.come))
        kept = telling_words(text.after) if isinstance(text.after, str) else set()
        share = len(gone - kept - new) / len(telling)
        if share > most:
            yield text, share


def _repeated(before: Document, after: Document) -> Counter[str]:
    """Return the words of texts that the old document had more often than the new one, which still has them."""
    old, new = Counter(_strings(before)), Counter(_strings(after))
    surplus: Counter[str] = Counter()
    for text, count in old.items():
        if 0 < new[text] < count:
            for word in words(text):
                surplus[word] += count - new[text]
    return surplus


def _words(texts: Iterable[str]) -> list[str]:
    return [word for text in texts for word in words(text)]


def _texts(value: Json, name: str) -> list[str]:
    """Return the texts in `value`, and for each number and boolean the name of the member that has it.

    What is so or how much may change; that something is known about it is what can be lost.
    """
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for key, member in value.items() for text in _texts(member, key)]
    if isinstance(value, list):
        return [text for entry in value for text in _texts(entry, name)]
    return [] if value is None else [name]


def _strings(value: Json) -> list[str]:
    """Return the texts in `value` alone."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict | list):
        return [text for inner in (value.values() if isinstance(value, dict) else value) for text in _strings(inner)]
    return []


def _says_anything(value: Json, name: str) -> bool:
    """Tell whether any of the texts in `value` has a word."""
    if isinstance(value, str):
        return has_words(value)
    if isinstance(value, dict):
        return any(_says_anything(member, key) for key, member in value.items())
    if isinstance(value, list):
        return any(_says_anything(entry, name) for entry in value)
    return value is not None and has_words(name)
