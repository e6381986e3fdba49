"""Sentences: a conversation memory made of what the person said, word for word, without any model."""

from collections.abc import Iterable
from typing import Any, Final, TypeAlias

from graphs.statements import RANK, Statement
from storage.canonical import dumps
from storage.json_types import Document, Json
from storage.words import words

SENTENCES = 60
"""Sentences kept of one conversation."""

SENTENCES_SIZE = 12 * 1024
"""Bytes of canonical JSON that the sentences may take."""

SUMMARY_WORDS = 40
"""Words of the summary."""

_LISTS: Final = ("facts", "preferences", "open_points")
_LIST_OF: Final = {"preference": "preferences", "goal": "open_points"}

Entry: TypeAlias = dict[str, Any]


def with_statements(earlier: Document, found: Iterable[Statement]) -> Document:
    """Return a conversation memory that says beside what it said before what was found; `earlier` is not changed."""
    before = _ours(earlier)
    chosen = _chosen({**before, **{each.id: _entry(each) for each in found if each.id not in before}}.values())
    data = {"summary": "", **earlier}
    for name in _LISTS:
        others = [entry for entry in _list(earlier, name) if not _is_ours(entry)]
        data[name] = others + [entry for entry in chosen if _list_of(entry) == name]
    if data["summary"] in ("", _summary(before.values())):
        data["summary"] = _summary(chosen)
    return data


def _ours(data: Document) -> dict[str, Entry]:
    return {entry["id"]: entry for name in _LISTS for entry in _list(data, name) if _is_ours(entry)}


def _chosen(entries: Iterable[Entry]) -> list[Entry]:
    """Return the entries there is room for, the most telling and newest, in the order in which they were said."""
    chosen: list[Entry] = []
    used = 0
    for entry in sorted(entries, key=_most_telling):
        size = len(dumps(entry).encode()) + 1
        if len(chosen) < SENTENCES and used + size <= SENTENCES_SIZE:
            chosen.append(entry)
            used += size
    return sorted(chosen, key=lambda entry: (entry["messages"][0], entry["id"]))


def _summary(entries: Iterable[Entry]) -> str:
    """Return the most telling and newest sentences, as many as are short enough together."""
    chosen: list[str] = []
    for entry in sorted(entries, key=_most_telling):
        if len(words(" ".join([*chosen, entry["text"]]))) <= SUMMARY_WORDS:
            chosen.append(entry["text"])
    return " ".join(chosen)


def _most_telling(entry: Entry) -> tuple[int, int, str]:
    return -RANK[entry["kind"]], -entry["messages"][0], entry["id"]


def _entry(statement: Statement) -> Entry:
    return {
        "id": statement.id,
        "kind": statement.kind,
        "text": statement.text,
        "messages": [statement.message],
        "said_on": statement.said_on,
    }


def _list_of(entry: Entry) -> str:
    return _LIST_OF.get(entry["kind"], "facts")


def _list(data: Document, name: str) -> list[Json]:
    value = data.get(name)
    return value if isinstance(value, list) else []


def _is_ours(entry: Json) -> bool:
    if not isinstance(entry, dict):
        return False
    messages = entry.get("messages")
    cites = isinstance(messages, list) and len(messages) == 1 and type(messages[0]) is int
    return cites and all(isinstance(entry.get(name), str) for name in ("id", "kind", "text")) and entry["kind"] in RANK
