"""Edits: new values and removals at places of a document, where a list entry is named by what it is, not by an index.

Models count badly, and an index means another entry once somebody else has changed the list.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import orjson

from storage.canonical import canonical, dumps, loads
from storage.document import RENDERED
from storage.equality import same
from storage.errors import InvalidPatch, NotFound
from storage.json_types import Document, Json
from storage.limits import DEPTH_LIMIT, PATCH_LIMIT
from storage.merge import ABSENT, ENTRY_ID
from storage.patch import copied
from storage.patch_budget import too_deep
from storage.pointer import follow, kind, pointer, shown, step, tokens

NEW_ENTRY: Final = "-"
"""The segment that stands for a new entry at the end of a list (RFC 6901, section 4)."""

_INDEX: Final = re.compile(r"-?[0-9]+")

_Path: TypeAlias = list[str]
"""The tokens of an edit's pointer."""


@dataclass(frozen=True, slots=True)
class NewValue:
    """The wish that `value` stands at the place, whether something is there already or not."""

    pointer: str
    value: Json

    def __post_init__(self) -> None:
        """Raise InvalidPatch for a pointer that is no place for an edit, InvalidJson or TooLarge for the value."""
        _check_place(self.pointer)
        canonical(self.value)

    def as_json(self) -> dict[str, Json]:
        """Return this edit as a JSON object."""
        return {"pointer": self.pointer, "value": self.value}


@dataclass(frozen=True, slots=True)
class Removal:
    """The wish that nothing stands at the place any more."""

    pointer: str

    def __post_init__(self) -> None:
        """Raise InvalidPatch for a pointer that is no place for an edit."""
        _check_place(self.pointer)

    def as_json(self) -> dict[str, Json]:
        """Return this edit as a JSON object."""
        return {"pointer": self.pointer, "remove": True}


Edit: TypeAlias = NewValue | Removal
"""One change of one place."""


def edited(document: Document, edits: Sequence[Edit]) -> Document:
    """Return `document` with `edits` made in order, all or none; the result shares nothing with what was given.

    The pointers are JSON pointers (RFC 6901), except that inside a list a segment names an entry: by its `id`, or by
    its value where it is a text (itself), a number, a boolean or null (as JSON). `-` at the end is a new entry.

    A new value makes the objects that are missing on the way, and the list for a `-`. At an id that no entry has, an
    object becomes a new entry of that id; `-` adds no entry that is there already.

    Raises InvalidPatch, with the pointer of the place, for an index, a name that two entries share, an id other than
    the one that is named, an entry given as new whose id is there, a way through a text or number, and more than
    PATCH_LIMIT edits. Raises NotFound where nothing is to be removed or replaced, TooLarge for nesting too deep.
    """
    if len(edits) > PATCH_LIMIT:
        raise InvalidPatch(f"There are {len(edits)} edits, more than {PATCH_LIMIT}.")
    after: Document = copied(document)
    for edit in edits:
        path = tokens(edit.pointer)
        if isinstance(edit, Removal):
            _remove(after, path)
        else:
            _put(after, path, copied(edit.value, DEPTH_LIMIT - len(path)))
    return after


def named(document: Json, place: str) -> Json:
    """Return the value that the pointer `place` names inside `document`, not a copy.

    A segment inside a list is an index (RFC 6901) or, where no entry has that index, the name of an entry as in
    `edited`. So an id that looks like an index is one, as long as the list has so many entries.

    Raises NotFound where there is nothing, and for a name that two entries share; InvalidPatch for no pointer.
    """
    return follow(document, place, _inside)


def _inside(container: Json, token: str) -> Json:
    """Return the member or entry of `container` that a segment names; LookupError says why there is none."""
    try:
        return step(container, token)
    except LookupError:
        if not isinstance(container, list):
            raise
    found = _answering(container, token)
    if len(found) != 1:
        raise LookupError(f"{'several entries have' if found else 'no entry has'} this index, id or value")
    return container[found[0]]


def _check_place(place: str) -> None:
    """Raise InvalidPatch unless `place` is the pointer of something that an edit may change."""
    if not isinstance(place, str):
        raise InvalidPatch(f"A place is named by a JSON pointer, not by {kind(place)}.")
    canonical(place)
    if not place:
        raise InvalidPatch("The empty pointer is the whole document: name the place to change.", pointer=place)
    try:
        path = tokens(place)
    except InvalidPatch as malformed:
        raise InvalidPatch(str(malformed), pointer=place) from None
    if path[0] in RENDERED:
        raise InvalidPatch(f"The memory keeps {shown(pointer(path[:1]))} itself.", pointer=place)
    if len(path) > DEPTH_LIMIT:
        raise too_deep()


def _put(document: Document, path: _Path, value: Json) -> None:
    container: Json = document
    for depth in range(len(path) - 1):
        container = _made(container, path, depth)
    if isinstance(container, list):
        _put_entry(container, path, value)
    else:
        _check_member(container, path, len(path) - 1)
        container[path[-1]] = value


def _remove(document: Document, path: _Path) -> None:
    container: Json = document
    for depth in range(len(path) - 1):
        container = _there(container, path, depth)
    if isinstance(container, list):
        del container[_place(container, path, len(path) - 1)]
    elif path[-1] in container:
        del container[path[-1]]
    else:
        raise _missing(path)


def _made(container: Json, path: _Path, depth: int) -> Json:
    """Return the object or list at a segment on the way; a member that is missing, or null, is made."""
    if isinstance(container, dict) and container.get(path[depth]) is None:
        _check_member(container, path, depth)
        container[path[depth]] = [] if path[depth + 1 :] == [NEW_ENTRY] else {}
    return _there(container, path, depth)


def _there(container: Json, path: _Path, depth: int) -> Json:
    """Return the object or list at a segment on the way."""
    if isinstance(container, list):
        inside = container[_place(container, path, depth)]
    elif container.get(path[depth]) is None:
        raise _missing(path[: depth + 1])
    else:
        inside = container[path[depth]]
    if not isinstance(inside, dict | list):
        raise _refused(f"{kind(inside)} stands there, and nothing is inside of it", path, depth)
    return inside


def _check_member(container: Document, path: _Path, depth: int) -> None:
    """Refuse `-` as the name of a new member: it is meant as a list entry."""
    if path[depth] == NEW_ENTRY and NEW_ENTRY not in container:
        raise _refused('"-" is a new list entry, and this is not the end of a list', path, depth)


def _put_entry(entries: list[Json], path: _Path, value: Json) -> None:
    if path[-1] == NEW_ENTRY:
        if _is_new(entries, path, value):
            entries.append(value)
        return
    found = _found(entries, path, len(path) - 1)
    if found is None:
        entries.append(_new_entry(path, value))
    elif isinstance(entries[found], dict):
        entries[found] = _identified(value, entries[found][ENTRY_ID], path)
    else:
        del entries[found]
        if _is_new(entries, path, value):
            entries.insert(found, value)


def _new_entry(path: _Path, value: Json) -> Json:
    """Return the entry that a value makes at a name that no entry has."""
    if isinstance(value, dict):
        return _identified(value, path[-1], path)
    if _answers(value, path[-1], _spelled(path[-1])):
        return value
    raise _missing(path)


def _is_new(entries: list[Json], path: _Path, value: Json) -> bool:
    """Tell whether no entry is the same as `value`; refuse an object whose id another entry has."""
    identifier = _identifier(value)
    if identifier is not ABSENT and str(identifier) in {str(_identifier(entry)) for entry in entries}:
        raise _refused('an entry with this id is there already: name it by its id, not by "-"', path)
    return not any(same(entry, value) for entry in entries)


def _identified(value: Json, identifier: str | int, path: _Path) -> Json:
    """Return the object `value` with the id under which it is put."""
    if not isinstance(value, dict):
        raise _refused(f"an entry with an id is an object, not {kind(value)}", path)
    given = value.get(ENTRY_ID, identifier)
    if type(given) not in (str, int) or str(given) != str(identifier):
        raise _refused("the value has another id than the entry", path)
    return value | {ENTRY_ID: identifier}


def _place(entries: list[Json], path: _Path, depth: int) -> int:
    """Return the index of the entry that a segment names; it must be there."""
    if path[depth] == NEW_ENTRY:
        raise _refused('"-" is a new entry: nothing is there yet', path, depth)
    found = _found(entries, path, depth)
    if found is None:
        raise _missing(path[: depth + 1])
    return found


def _found(entries: list[Json], path: _Path, depth: int) -> int | None:
    """Return the index of the entry that a segment names, None where there is none; refuse what may be an index."""
    name = path[depth]
    found = _answering(entries, name)
    if len(found) > 1:
        raise _refused("several entries have this id or value: set the whole list", path, depth)
    if not found and _INDEX.fullmatch(name):
        raise _refused("a list entry is named by its id or its value, never by its index", path, depth)
    return found[0] if found else None


def _answering(entries: list[Json], name: str) -> list[int]:
    """Return the indexes of the entries that have this id or value."""
    spelled = _spelled(name)
    return [index for index, entry in enumerate(entries) if _answers(entry, name, spelled)]


def _answers(entry: Json, name: str, spelled: Json) -> bool:
    """Tell whether a segment, whose text or JSON value is given, names `entry`."""
    own = _identifier(entry) if isinstance(entry, dict) else entry
    return bool(own == name) if isinstance(own, str) else spelled is not ABSENT and same(own, spelled)


def _identifier(entry: Json) -> Json:
    """Return the id of `entry`, ABSENT where it has no text or whole number as its id."""
    identifier = entry.get(ENTRY_ID) if isinstance(entry, dict) else None
    return identifier if type(identifier) in (str, int) else ABSENT


def _spelled(name: str) -> Json:
    """Return the number, boolean or null whose canonical text `name` is, else ABSENT."""
    try:
        value = loads(name)
    except orjson.JSONDecodeError:
        return ABSENT
    return ABSENT if isinstance(value, str | dict | list) or dumps(value) != name else value


def _missing(path: _Path) -> NotFound:
    return NotFound(f"There is nothing at {shown(pointer(path))}.")


def _refused(why: str, path: _Path, depth: int | None = None) -> InvalidPatch:
    """Return the error for the place of a segment, the last one unless `depth` says which."""
    place = pointer(path if depth is None else path[: depth + 1])
    return InvalidPatch(f"The change at {shown(place)} is refused: {why}.", pointer=place)
