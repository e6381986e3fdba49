"""Changes: a JSON Patch as a person reads it, place by place, with what was there and what is there now."""

from collections.abc import Iterator
from dataclasses import dataclass

import click

from storage.equality import same
from storage.json_types import Document, Json, Patch, PatchOperation
from storage.patch import apply_in_place, copied
from storage.pointer import pointer, resolve, tokens
from usermemory.commands.edits import edited, gist
from usermemory.commands.layout import in_one_line, laid_out, shortened, width
from usermemory.commands.visible import visible


@dataclass(frozen=True, slots=True)
class Added:
    """What was not there before."""

    place: str
    new: Json


@dataclass(frozen=True, slots=True)
class Removed:
    """What is not there any more."""

    place: str
    old: Json


@dataclass(frozen=True, slots=True)
class Replaced:
    """What is something else now."""

    place: str
    old: Json
    new: Json


@dataclass(frozen=True, slots=True)
class Moved:
    """What stands somewhere else now."""

    place: str
    source: str


Change = Added | Removed | Replaced | Moved


def changes(before: Document, patch: Patch) -> Iterator[Change]:
    """Yield what each operation of `patch` does to `before`, in order. Tests change nothing and are left out."""
    document: Json = copied(before)
    for operation in patch:
        found = list(_changes(operation, document))
        document = apply_in_place(document, [operation])
        yield from found


def _changes(operation: PatchOperation, document: Json) -> Iterator[Change]:
    place = operation["path"]
    match operation["op"]:
        case "add":
            yield from _added(place, operation["value"], document)
        case "copy":
            yield from _added(place, copied(resolve(document, operation["from"])), document)
        case "remove":
            yield Removed(place, copied(resolve(document, place)))
        case "replace":
            yield from _replaced(place, copied(resolve(document, place)), operation["value"])
        case "move":
            yield Moved(place, operation["from"])


def _added(place: str, value: Json, document: Json) -> Iterator[Change]:
    """Yield an addition; to a member that is there already it is a replacement (RFC 6902, section 4.1)."""
    if not place:
        yield from _replaced(place, copied(document), value)
        return
    *above, last = tokens(place)
    container = resolve(document, pointer(above))
    if isinstance(container, dict) and last in container:
        yield Replaced(place, copied(container[last]), value)
    elif isinstance(container, list) and last == "-":
        yield Added(pointer([*above, len(container)]), value)
    else:
        yield Added(place, value)


def _replaced(place: str, old: Json, new: Json) -> Iterator[Change]:
    """Yield a replacement; of a whole document, its members one by one."""
    if place or not (isinstance(old, dict) and isinstance(new, dict)):
        yield Replaced(place, old, new)
        return
    for name in old | new:
        if name not in new:
            yield Removed(pointer([name]), old[name])
        elif name not in old:
            yield Added(pointer([name]), new[name])
        elif not same(old[name], new[name]):
            yield Replaced(pointer([name]), old[name], new[name])


def brief(change: Change) -> str:
    """Return the change in one line, shortened to the width of the screen."""
    text = shortened(_gist(change), max(width() - len(_plain_head(change)) - 4, 16))
    return f"  {_head(change)}  {text}"


def _gist(change: Change) -> str:
    match change:
        case Moved(source=source):
            return f"from {_shown(source)}"
        case Added(new=value) | Removed(old=value):
            return in_one_line(_telling_first(value))
        case Replaced(old=str() as old, new=str() as new) if (text := gist(old, new)) is not None:
            return text
        case Replaced(old=old, new=new):
            return f"{in_one_line(old)} → {in_one_line(new)}"


def _telling_first(value: Json) -> Json:
    """Return `value` with the longest texts of each object in front: a line that is cut off should say something."""
    if isinstance(value, list):
        return [_telling_first(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    members = sorted(value.items(), key=lambda member: -len(member[1]) if isinstance(member[1], str) else 0)
    return {name: _telling_first(member) for name, member in members}


def in_full(change: Change) -> Iterator[str]:
    """Yield the lines of the change, with nothing left out but what stayed as it was in a text that changed."""
    match change:
        case Moved(source=source):
            yield f"  {_head(change)}  from {_shown(source)}"
        case Added(new=value) | Removed(old=value):
            yield from _value(change, in_one_line(value), list(laid_out(value, 4)))
        case Replaced(old=str() as old, new=str() as new) if (text := edited(old, new)) is not None:
            yield from _value(change, text, [f"    {text}"])
        case Replaced(old=old, new=new):
            both = [*_marked("-", "red", old), *_marked("+", "green", new)]
            yield from _value(change, f"{in_one_line(old)} → {in_one_line(new)}", both)


def _value(change: Change, flat: str, lines: list[str]) -> Iterator[str]:
    """Yield the place with `flat` behind it where both fit in a line, else with `lines` below."""
    if len(_plain_head(change)) + len(click.unstyle(flat)) + 4 <= width():
        yield f"  {_head(change)}  {flat}"
    else:
        yield f"  {_head(change)}"
        yield from lines


def _marked(mark: str, colour: str, value: Json) -> Iterator[str]:
    first, *rest = laid_out(value, 6)
    yield f"    {click.style(mark, fg=colour)} {first[6:]}"
    yield from rest


_MARKS = {Added: ("+", "green"), Removed: ("-", "red"), Replaced: ("~", "yellow"), Moved: (">", "yellow")}


def _plain_head(change: Change) -> str:
    return f"{_MARKS[type(change)][0]} {_shown(change.place)}"


def _head(change: Change) -> str:
    return click.style(_plain_head(change), fg=_MARKS[type(change)][1], bold=True)


def _shown(place: str) -> str:
    return visible(place) or "(the whole document)"
