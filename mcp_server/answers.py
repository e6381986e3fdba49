"""Answers: what a model is shown of what an operation returned, compact and within its budget of tokens.

Every answer is a JSON object. What does not fit is left out, and a note says how to ask for it. Writes do not repeat
what was written. As in every text for a model, characters that nobody sees are dropped; `memory://` resources have
every byte of a value.
"""

from typing import Any, Final

from mcp_types import CallToolResult, TextContent
from pydantic import BaseModel

from mcp_server.fitting import OMISSIONS, compact, fits, fitted, size, tokens
from memory_tools.answer import DONE, as_json
from memory_tools.operation import Effect, Operation
from memory_tools.visible import is_visible, visible_value
from storage.items import Item
from storage.json_types import Json
from storage.outcome import Held, Saved, Unchanged
from storage.page import Page
from storage.snapshots import HistoryEntry

NOTE_ROOM: Final = 90
"""Tokens that the note about what was left out may take."""


def answered(operation: Operation[Any, Any], ask: BaseModel, answer: Any, room: int) -> CallToolResult:
    """Return the answer of a tool: the text, and the same as structured content, of at most about `room` tokens."""
    shown = _shown(operation, ask, answer, room)
    text = compact(shown)
    if not is_visible(text):
        shown = visible_value(shown)
        text = compact(shown)
    return CallToolResult(content=[TextContent(type="text", text=text)], structured_content=shown)


def _shown(operation: Operation[Any, Any], ask: BaseModel, answer: Any, room: int) -> dict[str, Json]:
    if answer is None:
        return dict(DONE)
    if isinstance(answer, Page):
        return _page(answer, operation, room)
    if isinstance(answer, Item):
        return _written(answer) if operation.effect is Effect.WRITE else _item(answer, room)
    if isinstance(answer, Saved | Unchanged | Held):
        return _outcome(answer, room)
    return _value(as_json(answer), getattr(ask, "pointer", None) or "", room)


def _value(value: Json, pointer: str, room: int) -> dict[str, Json]:
    if fits(compact(value), room - 6):
        return {"value": value}
    part = fitted(value, room - NOTE_ROOM, pointer)
    return {"value": part.value, "note": _note(part.omitted, "give a longer pointer, or max_tokens up to 8000")}


def _written(item: Item) -> dict[str, Json]:
    return {"namespace": item.namespace, "key": item.key, "version": item.version, **_times(item)}


def _item(item: Item, room: int) -> dict[str, Json]:
    whole = {"namespace": item.namespace, "key": item.key, "value": item.value, "version": item.version, **_times(item)}
    if fits(compact(whole), room):
        return whole
    about = size({**whole, "value": None})
    part = fitted(item.value, room - about - NOTE_ROOM)
    return {**whole, "value": part.value, "note": _note(part.omitted, "give max_tokens up to 8000")}


def _times(item: Item) -> dict[str, Json]:
    return {"created_at": item.created_at.isoformat(), "updated_at": item.updated_at.isoformat()}


def _outcome(outcome: Saved | Unchanged | Held, room: int) -> dict[str, Json]:
    shown: dict[str, Json] = {"status": outcome.status, "version": outcome.version}
    if isinstance(outcome, Saved):
        shown["merged"] = outcome.merged
    if isinstance(outcome, Held):
        objections = fitted([each.as_json() for each in outcome.objections], room - NOTE_ROOM)
        held = "Not in force: it waits until somebody accepts it. Do not try again."
        shown |= {"pending_id": outcome.pending_id, "objections": objections.value, "note": held}
    return shown


def _page(page: Page[Any, Any], operation: Operation[Any, Any], room: int) -> dict[str, Json]:
    """Return the entries that fit, at least one, and where to go on behind the last of them."""
    cursor, again = ("before", "version") if _is_history(page) else ("after", "key")
    entries: list[Json] = []
    left = room - NOTE_ROOM
    cut = False
    for entry in map(_entry, page.entries):
        taken = size(entry) + 1
        if taken > left:
            if entries:
                cut = True
                break
            entry = _shortened(entry, left)
        entries.append(entry)
        left -= taken
    following = entries[-1][again] if cut else page.next
    if following is None:
        return {"entries": entries, "next": None}
    more = "more did not fit" if cut else "there may be more"
    note = f"{len(entries)} shown, {more}: ask {operation.name} again with {cursor}={compact(following)}"
    return {"entries": entries, "next": following, "note": note}


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
    """Return an entry that is too long for a page by itself, cut where it is longest."""
    longest = max(entry, key=lambda name: size(entry[name]))
    rest = size({**entry, longest: None})
    part = fitted(entry[longest], max(0, room - rest - NOTE_ROOM // 2))
    return {**entry, longest: part.value, "note": _note(part.omitted, f"{longest} is cut")}


def _note(omitted: list[str], advice: str) -> str:
    named: list[str] = []
    left = NOTE_ROOM - tokens(advice) - 12
    for each in omitted[:OMISSIONS]:
        left -= tokens(each) + 1
        if left < 0:
            break
        named.append(each)
    more = len(omitted) - len(named)
    parts = [*named, f"{more} more places"] if more else named
    return f"Left out: {'; '.join(parts)}. For more {advice}."
