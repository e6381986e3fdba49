"""Statements: which sentences of a person are worth keeping, found without a model."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from unicodedata import normalize

from memory_tools.excerpt import shortened
from memory_tools.said import Said
from memory_tools.visible import visible
from storage.words import words

TEXT_LIMIT = 240
"""Characters kept of one sentence."""

LEAST_WORDS = 4
"""Words of a sentence that is kept for no other reason than that the person said it."""

_SENTENCE: Final = re.compile(r"[^.!?\n。！？؟।]+(?:\.(?=\S)[^.!?\n。！？؟।]*)*[.!?。！？؟।]*")
"""Up to the mark that ends it; a dot inside a number or a name ends nothing."""

_QUESTION: Final = ("?", "？", "؟")

_KINDS: Final = tuple(
    (kind, re.compile(pattern, re.IGNORECASE))
    for kind, pattern in (
        ("name", r"\b(my name is|my name's|i am called|i'm called|call me)\b"),
        (
            "goal",
            r"\b(i|we) (really |just )?(want|hope|plan|aim|intend) to\b|\bmy (\w+ )?goal is\b|\bi'd (love|like) to\b",
        ),
        ("decision", r"\b(i|we)('ve| have)? (decided|agreed|chose|chosen|promised|quit|signed up)\b"),
        (
            "preference",
            r"\bi (\w+ )?(like|love|enjoy|prefer|hate|dislike|adore)\b|\bi can't stand\b|\bmy favou?rite\b",
        ),
        (
            "fact",
            r"\bi (am|have|live|work|need|want|study|own|grew up|moved|was born|used to)\b|\bi'(m|ve)\b"
            r"|\bmy [\w' ]{2,30} (is|are|was|were|has|have)\b",
        ),
        (
            "date",
            r"\b(january|february|march|april|june|july|august|september|october|november|december)\b"
            r"|\b\d{4}-\d{2}-\d{2}\b|\b\d{1,2}[./]\d{1,2}[./]\d{2,4}\b"
            r"|\b(on|next|last|this) (monday|tuesday|wednesday|thursday|friday|saturday|sunday)\b",
        ),
    )
)
"""How people state things in English, the most telling first. In other languages every sentence is only `said`."""

RANK: Final = {"said": 0, "date": 1, "fact": 2, "preference": 3, "decision": 3, "goal": 4, "name": 5}
"""What is kept longer, and shown first, when there is not room for all."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One sentence that a person said, and what kind of statement it is."""

    id: str
    """The same for the same words, whoever says them when."""

    kind: str
    text: str
    message: int
    said_on: str
    """The day, as YYYY-MM-DD."""


def statements(said: Said) -> Iterator[Statement]:
    """Yield the statements in one message: no questions, and nothing too short to say something."""
    for match in _SENTENCE.finditer(visible(said.text).replace("’", "'")):
        text = " ".join(match[0].split())
        if text.endswith(_QUESTION):
            continue
        kind = next((kind for kind, pattern in _KINDS if pattern.search(text)), "said")
        if kind == "said" and len(words(text)) < LEAST_WORDS:
            continue
        text = shortened(text, TEXT_LIMIT)
        yield Statement(_id(text), kind, text, said.number, said.said_at.date().isoformat())


def _id(text: str) -> str:
    folded = " ".join(normalize("NFKC", text).casefold().split()).rstrip(".!。！")
    return hashlib.sha256(folded.encode()).hexdigest()[:12]
