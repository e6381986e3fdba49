"""Answers: what a model is shown of what an operation returned, compact and within its budget of tokens.

Every answer is a JSON object. What does not fit is left out, and a note says how to ask for it. Writes do not repeat
what was written. As in every text for a model, characters that nobody sees are dropped; `memory://` resources have
every byte of a value.
"""

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Final

from mcp_types import CallToolResult, TextContent
from pydantic import BaseModel

from mcp_server.fitting import LEAST_TOKENS, MOST_TOKENS, OMISSIONS, Omission, compact, fits, fitted, size, tokens
from memory_tools.answer import DONE, as_json
from memory_tools.operation import Effect, Operation
from memory_tools.visible import is_visible, visible_value
from storage.items import Item
from storage.json_types import Json
from storage.outcome import Held, Saved, Unchanged
from storage.page import Page
from storage.pointer import pointer
from storage.snapshots import HistoryEntry

NOTE_ROOM: Final = 90
"""Tokens that the note about what was left out may take, at most a third of the answer."""

_BARE_NOTE: Final = 20
"""Tokens of a note without the places and the advice."""

_LEAST_PLACE: Final = 10
"""Tokens of the one place that is always named, or of as much of it as they hold."""

_PLACE_ROOM: Final = 20
"""Tokens that say which objections were left out."""

_EXAMPLE_TOKENS: Final = 12
"""Tokens that a pointer may have in order to be given as an example."""

_EXACT: Final = ("namespace", "key", "next")
"""What one has to repeat to the letter in order to ask for it again."""

_CONTENT: Final = ("value", "patch", "provenance")
"""The members of an entry that may be cut, or left out where nothing of them fits."""

_HELD: Final = (
    "Not in force: it waits until the person or an operator accepts it (usermemory pending list). "
    "Tell the person, and do not try again."
)


def answered(operation: Operation[Any, Any], ask: BaseModel, answer: Any, room: int) -> CallToolResult:
    """Return the answer of a tool: the text, and the same as structured content, of at most about `room` tokens."""
    shown = _shown(operation, ask, answer, room)
    text = compact(shown)
    if not is_visible(text):
        shown = {name: each if name in _EXACT else visible_value(each) for name, each in shown.items()}
        text = compact(shown)
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=shown)


def _shown(operation: Operation[Any, Any], ask: BaseModel, answer: Any, room: int) -> dict[str, Json]:
    if operation.effect is Effect.ERASE:
        return dict(DONE)
    if isinstance(answer, Page):
        return _page(answer, ask, room)
    if isinstance(answer, Item):
        return _written(answer) if operation.effect is Effect.WRITE else _item(answer, room)
    if isinstance(answer, Saved | Unchanged | Held):
        return _outcome(answer, room)
    return _value(as_json(answer), getattr(ask, "pointer", None) or "", room)


def _value(value: Json, pointer: str, room: int) -> dict[str, Json]:
    left = room - size({"value": None})
    if fits(compact(value), left):
        return {"value": value}
    part = fitted(value, left - _note_room(room), pointer)
    shown = {} if part.is_nothing else {"value": part.value}
    return {**shown, "note": _note(part.omitted, _advice(part.omitted, pointer, room), room)}


def _written(item: Item) -> dict[str, Json]:
    return {"namespace": item.namespace, "key": item.key, "version": item.version, **_times(item)}


def _item(item: Item, room: int) -> dict[str, Json]:
    whole = {"namespace": item.namespace, "key": item.key, "value": item.value, "version": item.version, **_times(item)}
    return whole if fits(compact(whole), room) else _shortened(whole, room, room)


def _times(item: Item) -> dict[str, Json]:
    return {"created_at": item.created_at.isoformat(), "updated_at": item.updated_at.isoformat()}


def _outcome(outcome: Saved | Unchanged | Held, room: int) -> dict[str, Json]:
    shown: dict[str, Json] = {"status": outcome.status, "version": outcome.version}
    if isinstance(outcome, Saved):
        shown["merged"] = outcome.merged
    if isinstance(outcome, Held):
        shown |= {"pending_id": outcome.pending_id, "note": _HELD}
        objections: list[Json] = [each.as_json() for each in outcome.objections]
        part = fitted(objections, room - size({**shown, "objections": None}) - _PLACE_ROOM, "/objections")
        shown |= {} if part.is_nothing else {"objections": part.value}
        if part.omitted:
            shown["note"] = f"{_HELD} Left out: {_named(part.omitted[:1], _PLACE_ROOM)}."
    return shown


def _page(page: Page[Any, Any], ask: BaseModel, room: int) -> dict[str, Json]:
    """Return the entries that fit, at least one, and where to go on behind the last of them."""
    cursor, place = _cursor(page, ask)
    note = f"There is more: give next as {cursor}."
    left = room - size({"entries": [], "next": None, "note": note})
    entries: list[dict[str, Json]] = []
    for entry in map(_entry, page.entries):
        taken = size(entry, left) + 1
        behind = size(place(entry))  # if it is the last one, `next` repeats where it stands
        if taken + behind > left:
            if entries:
                break
            entry = _shortened(entry, left - behind, room)
        entries.append(entry)
        left -= taken
    cut = len(entries) < len(page.entries)
    following = place(entries[-1]) if cut else page.next
    shown: dict[str, Json] = {"entries": [*entries], "next": following}
    return shown if following is None else {**shown, "note": note}


def _cursor(page: Page[Any, Any], ask: BaseModel) -> tuple[str, Callable[[dict[str, Any]], str | int]]:
    """Return the argument with which one goes on, and what it is behind an entry."""
    if page.entries and isinstance(page.entries[0], HistoryEntry):
        return "before", itemgetter("version")
    if getattr(ask, "namespace", None) is not None:
        return "after", itemgetter("key")
    return "after", lambda entry: pointer((entry["namespace"], entry["key"]))


def _entry(entry: Any) -> dict[str, Json]:
    if isinstance(entry, HistoryEntry):
        by = {name: value for name, value in entry.provenance.as_json().items() if name != "changes"}
        when = entry.created_at.isoformat()
        return {"version": entry.version, "created_at": when, "provenance": by, "patch": list(entry.patch)}
    if isinstance(entry, Item):
        name: dict[str, Json] = {"namespace": entry.namespace, "key": entry.key}
        updated = entry.updated_at.isoformat(timespec="seconds")
        return {**name, "value": entry.value, "version": entry.version, "updated_at": updated}
    shown: dict[str, Json] = as_json(entry)
    return shown


def _shortened(entry: dict[str, Json], room: int, asked: int) -> dict[str, Json]:
    """Return an entry that is too long by itself, with its content cut; `asked` are the tokens of the whole answer."""
    content = {name: each for name, each in entry.items() if name in _CONTENT}
    around = {name: each for name, each in entry.items() if name not in _CONTENT}
    part = fitted(content, room - size(around) - _note_room(room))
    shown = {name: part.value.get(name, each) for name, each in entry.items() if name in around or name in part.value}
    return {**shown, "note": _note(part.omitted, _advice(part.omitted, None, asked), room)}


def _advice(omitted: Sequence[Omission], pointer: str | None, asked: int) -> str:
    """Return how to get what was left out of an answer that had `asked` tokens; entries of a page take no pointer."""
    ways = []
    if pointer is not None:
        entry = next((each.entry for each in omitted if each.entry is not None), None)
        if entry is not None:
            such = f", such as {entry}" if size(entry, _EXAMPLE_TOKENS) <= _EXAMPLE_TOKENS else ""
            ways.append(f"the pointer of an entry{such}")
        elif any(each.place != pointer for each in omitted):
            ways.append("a longer pointer")
    if asked < MOST_TOKENS:
        ways.append(f"max_tokens up to {MOST_TOKENS}")
    return f"give {', or '.join(ways)}" if ways else "read it as a resource"


def _note_room(room: int) -> int:
    return max(LEAST_TOKENS // 3, min(NOTE_ROOM, room // 3))


def _note(omitted: Sequence[Omission], advice: str, room: int) -> str:
    """Return what was left out, as far as there is room to name it, and how to get it."""
    return f"Left out: {_named(omitted, _note_room(room) - tokens(advice) - _BARE_NOTE)}. For more, {advice}."


def _named(omitted: Sequence[Omission], room: int) -> str:
    """Return the places for which there is room, one of them in any case, and how many more there are."""
    named: list[str] = []
    left = room
    for each in omitted[:OMISSIONS]:
        left -= size(str(each)) + 1
        if left < 0:
            break
        named.append(str(each))
    if not named:
        first = omitted[0]
        shortened = fitted(first.place, max(room - tokens(first.part), _LEAST_PLACE)).value
        named.append(str(first._replace(place=shortened)))
    if len(named) < len(omitted):
        named.append(f"{len(omitted) - len(named)} more places")
    return "; ".join(named)
