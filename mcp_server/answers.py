"""Answers: what a model is shown of what an operation returned, compact and within its budget of tokens.

Every answer is a JSON object. What does not fit is left out, and a note says how to ask for it. Writes do not repeat
what was written. As in every text for a model, characters that nobody sees are dropped; `memory://` resources have
every byte of a value.
"""

from collections.abc import Sequence
from typing import Any, Final

from mcp_types import CallToolResult, TextContent
from pydantic import BaseModel

from mcp_server.fitting import MOST_TOKENS, OMISSIONS, compact, fits, fitted, size, tokens
from memory_tools.answer import DONE, as_json
from memory_tools.operation import Effect, Operation
from memory_tools.visible import is_visible, visible_value
from storage.items import Item
from storage.json_types import Json
from storage.outcome import Held, Saved, Unchanged
from storage.page import Page
from storage.snapshots import HistoryEntry

NOTE_ROOM: Final = 90
"""Tokens that the note about what was left out may take, at most a third of the answer."""

_BARE_NOTE: Final = 20
"""Tokens of a note without the places and the advice."""

_LONGER: Final = f"give max_tokens up to {MOST_TOKENS}"
_DEEPER: Final = f"give a longer pointer, or max_tokens up to {MOST_TOKENS}"

_EXACT: Final = ("namespace", "key", "next")
"""What one has to repeat to the letter in order to ask for it again."""

_CONTENT: Final[dict[str, Json]] = {"value": "…", "patch": [], "provenance": {}}
"""The members of an entry that may be cut, and what stands there when nothing of them fits."""


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
        return _page(answer, room)
    if isinstance(answer, Item):
        return _written(answer) if operation.effect is Effect.WRITE else _item(answer, room)
    if isinstance(answer, Saved | Unchanged | Held):
        return _outcome(answer, room)
    return _value(as_json(answer), getattr(ask, "pointer", None) or "", room)


def _value(value: Json, pointer: str, room: int) -> dict[str, Json]:
    if fits(compact(value), room - size({"value": None})):
        return {"value": value}
    part = fitted(value, room - size({"value": None}) - _note_room(room), pointer)
    return {"value": part.value, "note": _note(part.omitted, _DEEPER, room)}


def _written(item: Item) -> dict[str, Json]:
    return {"namespace": item.namespace, "key": item.key, "version": item.version, **_times(item)}


def _item(item: Item, room: int) -> dict[str, Json]:
    whole = {"namespace": item.namespace, "key": item.key, "value": item.value, "version": item.version, **_times(item)}
    return whole if fits(compact(whole), room) else _shortened(whole, room)


def _times(item: Item) -> dict[str, Json]:
    return {"created_at": item.created_at.isoformat(), "updated_at": item.updated_at.isoformat()}


def _outcome(outcome: Saved | Unchanged | Held, room: int) -> dict[str, Json]:
    shown: dict[str, Json] = {"status": outcome.status, "version": outcome.version}
    if isinstance(outcome, Saved):
        shown["merged"] = outcome.merged
    if isinstance(outcome, Held):
        held = "Not in force: it waits until somebody accepts it. Do not try again."
        shown |= {"pending_id": outcome.pending_id, "objections": [], "note": held}
        shown["objections"] = fitted([each.as_json() for each in outcome.objections], room - size(shown)).value
    return shown


def _page(page: Page[Any, Any], room: int) -> dict[str, Json]:
    """Return the entries that fit, at least one, and where to go on behind the last of them."""
    cursor, again = ("before", "version") if _is_history(page) else ("after", "key")
    note = f"There is more: ask again with {cursor} as in next."
    left = room - size({"entries": [], "next": None, "note": note})
    entries: list[dict[str, Json]] = []
    for entry in map(_entry, page.entries):
        taken = size(entry) + 1
        behind = size(entry[again])  # if it is the last one, `next` repeats where it stands
        if taken + behind > left:
            if entries:
                break
            entry = _shortened(entry, left - behind)
        entries.append(entry)
        left -= taken
    cut = len(entries) < len(page.entries)
    following = entries[-1][again] if cut else page.next
    shown: dict[str, Json] = {"entries": [*entries], "next": following}
    return shown if following is None else {**shown, "note": note}


def _is_history(page: Page[Any, Any]) -> bool:
    return bool(page.entries) and isinstance(page.entries[0], HistoryEntry)


def _entry(entry: Any) -> dict[str, Json]:
    if isinstance(entry, HistoryEntry):
        by = {name: value for name, value in entry.provenance.as_json().items() if name != "changes"}
        when = entry.created_at.isoformat()
        return {"version": entry.version, "created_at": when, "provenance": by, "patch": list(entry.patch)}
    if isinstance(entry, Item):
        updated = entry.updated_at.isoformat()
        return {"key": entry.key, "value": entry.value, "version": entry.version, "updated_at": updated}
    shown: dict[str, Json] = as_json(entry)
    return shown


def _shortened(entry: dict[str, Json], room: int) -> dict[str, Json]:
    """Return an entry that is too long by itself, with its content cut."""
    content = {name: entry[name] for name in _CONTENT if name in entry}
    empty = {name: _CONTENT[name] for name in content}
    part = fitted(content, room - size({**entry, **empty}) - _note_room(room))
    assert isinstance(part.value, dict)
    return {**entry, **empty, **part.value, "note": _note(part.omitted, _LONGER, room)}


def _note_room(room: int) -> int:
    return min(NOTE_ROOM, room // 3)


def _note(omitted: Sequence[str], advice: str, room: int) -> str:
    """Return what was left out, as far as there is room to name it, and how to get it."""
    left = _note_room(room) - tokens(advice) - _BARE_NOTE
    named: list[str] = []
    for each in omitted[:OMISSIONS]:
        left -= size(each) + 1
        if left < 0:
            break
        named.append(each)
    if not named:
        return f"Cut: {advice}."
    if len(named) < len(omitted):
        named.append(f"{len(omitted) - len(named)} more places")
    return f"Left out: {'; '.join(named)}. For more, {advice}."
