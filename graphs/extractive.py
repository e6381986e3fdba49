"""Extractive summarizer: keeps a person's own sentences, without any model, so that memory works offline."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from graphs.answer import Evidence
from graphs.material import Material
from graphs.statements import RANK, Statement, statements
from graphs.summarizer import Summarizer, Summary
from storage.canonical import dumps
from storage.json_types import Document, Json
from storage.limits import DOCUMENT_LIMIT
from storage.words import telling_words, words

MODEL: Final = "extractive"
"""What provenance names as the model."""

FACTS: Final = "facts"
GOALS: Final = "triggers_and_goals"

FACT_COUNT = 150
"""Sentences kept beside the goals."""

GOAL_COUNT = 40
"""Goals kept."""

FACTS_SIZE = 96 * 1024
"""Bytes of canonical JSON that the sentences may take, and again a third of it the goals."""

MARGIN = 8 * 1024
"""Bytes of the document left free."""

FORGOTTEN = 0.15
"""Share of the words of a full list that may go in one run: half of what the guard lets go of the whole document."""

SUMMARY_WORDS = 18
"""Words of the summary. Up to 20 may always go, so it may be new in each run."""

SUMMARY_TELLING_WORDS = 14
"""Telling words of the summary. From 15 on a text is long, and the guard holds its replacement."""

Entry: TypeAlias = dict[str, Any]


class ExtractiveSummarizer(Summarizer):
    """Adds what the person stated to `facts` and `triggers_and_goals`, and the most telling of it to `summary`.

    Deterministic. What others wrote stays as it is: a summary that is not its own, entries without its members, and
    every other member. When a list is full, the least telling and oldest sentences go, a few in each run.
    Only what the person says counts; items and sources are left to a model. Where a conversation memory stands for
    messages, the messages are read all the same: they cost nothing here, and nothing that was said is lost on the way.
    """

    def summarize(self, document: Document, material: Material) -> Summary:
        """Return the document with the statements of the new messages; never fails."""
        found = [each for said in material.said if said.role == "user" for each in statements(said)]
        goals, facts = _apart(found)
        room = DOCUMENT_LIMIT - MARGIN - len(dumps(_without_lists(document)).encode())
        kept_goals = _fit(document.get(GOALS, []), map(_goal, goals), GOAL_COUNT, min(FACTS_SIZE // 3, room // 4))
        kept_facts = _fit(document.get(FACTS, []), map(_fact, facts), FACT_COUNT, min(FACTS_SIZE, room * 3 // 4))
        after = dict(document)
        evidence = [*_changed(after, GOALS, kept_goals), *_changed(after, FACTS, kept_facts)]
        if document.get("summary", "") in ("", _summary(document)) and (summary := _summary(after)):
            after["summary"] = summary
            cited = tuple(dict.fromkeys(number for each in evidence for number in each.messages))
            evidence.insert(0, Evidence("/summary", None, cited))
        return Summary(after, tuple(evidence), MODEL)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A list after a run: its entries, and the ids of those that came and went."""

    entries: list[Json]
    added: list[Entry]
    dropped: list[Entry]


def _apart(found: Iterable[Statement]) -> tuple[list[Statement], list[Statement]]:
    goals: list[Statement] = []
    facts: list[Statement] = []
    for each in found:
        (goals if each.kind == "goal" else facts).append(each)
    return goals, facts


def _fact(statement: Statement) -> Entry:
    return {
        "id": statement.id,
        "kind": statement.kind,
        "text": statement.text,
        "message": statement.message,
        "said_on": statement.said_on,
    }


def _goal(statement: Statement) -> Entry:
    return {
        "id": statement.id,
        "desired_outcome": statement.text,
        "message": statement.message,
        "said_on": statement.said_on,
    }


def _fit(old: Json, new: Iterable[Entry], count: int, size: int) -> _Kept | None:
    """Return `old` with what there is room for of `new`; None where `old` is no list of ours to add to.

    The most telling and newest come in first. A new entry may push out older ones of no higher rank, as long as few
    enough words go with them.
    """
    if not isinstance(old, list):
        return None
    known = {entry.get("id") for entry in old if isinstance(entry, dict)}
    candidates = {entry["id"]: entry for entry in new if entry["id"] not in known}
    ours = [entry for entry in old if _is_ours(entry)]
    droppable = sorted(ours, key=lambda entry: (_rank(entry), entry["message"]))
    forgettable = FORGOTTEN * sum(map(_words, ours))
    used, places = sum(map(_size, old)), count - len(ours)
    added: list[Entry] = []
    dropped: list[Entry] = []
    for entry in sorted(candidates.values(), key=lambda entry: (-_rank(entry), -entry["message"])):
        while (places <= 0 or used + _size(entry) > size) and droppable and _rank(droppable[0]) <= _rank(entry):
            forgettable -= _words(droppable[0])
            if forgettable < 0:
                break
            oldest = droppable.pop(0)
            dropped.append(oldest)
            places, used = places + 1, used - _size(oldest)
        if places > 0 and used + _size(entry) <= size:
            added.append(entry)
            places, used = places - 1, used + _size(entry)
    gone = {entry["id"] for entry in dropped}
    added.sort(key=lambda entry: entry["message"])
    stay = [entry for entry in old if not (isinstance(entry, dict) and _is_ours(entry) and entry["id"] in gone)]
    return _Kept([*stay, *added], added, dropped)


def _changed(after: Document, name: str, kept: _Kept | None) -> list[Evidence]:
    """Put a list into the document and return the evidence: an entry that went made room for those that came."""
    if kept is None or not kept.added:
        return []
    after[name] = kept.entries
    cause = (max(entry["message"] for entry in kept.added),)
    came = [Evidence(f"/{name}", entry["id"], (entry["message"],)) for entry in kept.added]
    return came + [Evidence(f"/{name}", entry["id"], cause) for entry in kept.dropped]


def _summary(document: Document) -> str:
    """Return the summary of the sentences in a document: the most telling and newest, as far as they are short."""
    facts, goals = document.get(FACTS, []), document.get(GOALS, [])
    ours = [entry for each in (facts, goals) if isinstance(each, list) for entry in each if _is_ours(entry)]
    chosen: list[str] = []
    for entry in sorted(ours, key=lambda entry: (-_rank(entry), -entry["message"], entry["id"])):
        text = " ".join([*chosen, _text(entry)])
        if _is_short(text):
            chosen.append(_text(entry))
    return " ".join(chosen)


def _is_short(text: str) -> bool:
    return len(words(text)) <= SUMMARY_WORDS and len(telling_words(text)) <= SUMMARY_TELLING_WORDS


def _is_ours(entry: Json) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("id"), str)
        and type(entry.get("message")) is int
        and isinstance(entry.get("text", entry.get("desired_outcome")), str)
    )


def _text(entry: Entry) -> str:
    return str(entry.get("text", entry.get("desired_outcome")))


def _rank(entry: Entry) -> int:
    return RANK.get(entry.get("kind", "goal"), 0)


def _words(entry: Entry) -> int:
    """Return how many words the guard counts in an entry: those of its texts, and one for its number."""
    return sum(len(words(value)) for value in entry.values() if isinstance(value, str)) + 1


def _size(entry: Json) -> int:
    return len(dumps(entry).encode()) + 1


def _without_lists(document: Document) -> Document:
    return {name: value for name, value in document.items() if name not in (FACTS, GOALS)}
