"""Changes: from the document in force to the wanted one, as a patch that was proved, before anything is written."""

from dataclasses import dataclass, replace

import orjson

from storage.canonical import canonical, dumps, loads
from storage.difference import proven_difference, rough_difference
from storage.errors import InvalidJson
from storage.json_types import Document, Json, Patch
from storage.limits import DEPTH_LIMIT, DOCUMENT_LIMIT, NODE_LIMIT
from storage.patch import apply_in_place
from storage.pointer import resolve, tokens

_QUICK_LIMIT = min(DOCUMENT_LIMIT, 2 * NODE_LIMIT)
"""Bytes up to which a text cannot hold more than NODE_LIMIT values: each takes two at the least."""

_NUMBERS = (int, float)

_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Change:
    """A proved change."""

    before: Document
    after: Document
    """The new document, sharing nothing with the one that came from outside."""

    text: str
    """The canonical text of the new document."""

    patch: Patch
    patch_text: str
    """The canonical text of the patch."""

    narrow_before: Document
    narrow_after: Document
    """Both without members, and members of members, that the patch leaves alone."""

    def takes_nothing(self) -> bool:
        """Whether one sees at a glance that it only adds below the document's members, or sets numbers there anew."""
        for operation in self.patch:
            path = operation["path"]
            if path.count("/") < 2 or operation["op"] not in ("add", "replace"):
                return False
            if operation["op"] == "replace" and (
                type(operation["value"]) not in _NUMBERS or type(resolve(self.narrow_before, path)) not in _NUMBERS
            ):
                return False
        return True


def change_between(before: Document, before_text: str, after: Document) -> Change | None:
    """Return the change from `before`, which is in force, to `after`, which comes from outside; None if they are equal.

    `before_text` is the canonical text of `before`.

    Raises InvalidJson and TooLarge for what the gate refuses in `after` (DOCUMENT_LIMIT bytes).

    Only what is new in `after` goes through the gate: where the patch, applied to `before`, gives the very bytes of
    `after`, everything that it does not bring was in `before`, and passed the gate when that was saved.
    """
    quick = _quick(before, before_text, after)
    if quick is not None:
        return quick
    text = canonical(after, limit=DOCUMENT_LIMIT)
    patch = proven_difference(before, after)
    places = _places(patch)
    stored = loads(text)
    return (
        Change(before, stored, text, patch, dumps(patch), _at(before, places), _at(stored, places)) if patch else None
    )


def _quick(before: Document, before_text: str, after: Document) -> Change | None:
    """Return the change, or None where there is none, or any doubt: the slow way finds out which, and why."""
    try:
        written = orjson.dumps(after, option=orjson.OPT_SORT_KEYS)
        patch = rough_difference(before, after)
        patch_text = canonical(patch, limit=2 * DOCUMENT_LIMIT)
    except (orjson.JSONEncodeError, InvalidJson):
        return None
    if not patch or len(written) > _QUICK_LIMIT or _may_be_deep(patch, patch_text):
        return None
    places = _places(patch)
    narrow = _at(before, places)
    stored = apply_in_place(_copied(before, narrow), patch)
    change = Change(before, stored, written.decode(), patch, patch_text, narrow, _at(stored, places))
    if _spliced(before_text, change.narrow_before, change.narrow_after) == change.text:
        return change
    if orjson.dumps(stored, option=orjson.OPT_SORT_KEYS) != written:
        return None
    return replace(change, text=dumps(after))


def _spliced(text: str, before: Document, after: Document) -> str | None:
    """Return the canonical text of the whole document where `before`, a part of it, became `after`; None if unsure.

    A member that stands in `text` exactly once stands where it is. So this is what writing it all again would give,
    in a fifth of the time, where numbers are written without an exponent: orjson writes these differently.
    """
    if before.keys() != after.keys():
        return None
    for name, old in before.items():
        new = after[name]
        inside = type(old) is dict and type(new) is dict and old.keys() == new.keys()
        for key in old if inside else (name,):
            around = text.split(_member(key, old[key] if inside else old))
            if len(around) != 2:
                return None
            text = _member(key, new[key] if inside else new).join(around)
    return text


def _member(name: str, value: Json) -> str:
    return orjson.dumps({name: value}, option=orjson.OPT_SORT_KEYS)[1:-1].decode()


def _copied(document: Document, touched: Document) -> Document:
    """Return a copy of what is `touched`, two levels deep, beside the rest itself: patches are applied in place."""
    copy = dict(document)
    for name, member in touched.items():
        inside = orjson.loads(orjson.dumps(member))
        copy[name] = {**document[name], **inside} if isinstance(inside, dict) else inside
    return copy


def _may_be_deep(patch: Patch, text: str) -> bool:
    """Whether what the patch brings could stand deeper than DEPTH_LIMIT; brackets inside of strings count as well."""
    longest: int = max([operation["path"].count("/") for operation in patch])
    return longest + text.count("[") + text.count("{") > DEPTH_LIMIT


def _places(patch: Patch) -> list[tuple[str, ...]]:
    """Return the first one or two tokens of every path of the patch, none for the whole document."""
    paths = [operation["path"] for operation in patch]
    paths += [operation["from"] for operation in patch if operation["op"] in ("move", "copy")]
    return [tuple(tokens(path)[:2]) if "~" in path else tuple(path.split("/", 3)[1:3]) for path in dict.fromkeys(paths)]


def _at(document: Document, places: list[tuple[str, ...]]) -> Document:
    """Return the part of the document that is at or around `places`: members, and of objects their members."""
    part: Document = {}
    for place in places:
        if not place:
            return document
        member: Json = document.get(place[0], _ABSENT)
        if member is _ABSENT:
            continue
        if len(place) == 1 or not isinstance(member, dict):
            part[place[0]] = member
        elif part.get(place[0]) is not member:
            inside = part.setdefault(place[0], {})
            if place[1] in member:
                inside[place[1]] = member[place[1]]
    return part
