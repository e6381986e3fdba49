"""Documents to measure with: made up, of a wanted size, and edited a little at a time."""

import random
from typing import Any

from storage.canonical import canonical

WORDS = [
    "calm",
    "sleep",
    "garden",
    "letter",
    "river",
    "meeting",
    "sister",
    "music",
    "doctor",
    "travel",
    "coffee",
    "morning",
    "project",
    "window",
    "number",
    "street",
    "winter",
    "basket",
    "teacher",
    "market",
    "bridge",
    "answer",
    "memory",
    "silver",
    "corner",
    "paper",
    "family",
    "summer",
    "bottle",
    "yellow",
]


def sentence(random_: random.Random, words: int = 12) -> str:
    """Return a sentence of made-up words."""
    return " ".join(random_.choice(WORDS) for _ in range(words)).capitalize() + "."


def document_of(size: int, seed: int = 1) -> dict[str, Any]:
    """Return a document of seed 001's shape with about `size` bytes of canonical JSON."""
    random_ = random.Random(seed)
    document: dict[str, Any] = {
        "summary": " ".join(sentence(random_) for _ in range(max(1, size // 700))),
        "safety_notes": sentence(random_),
        "parts": {},
        "triggers_and_goals": [],
    }
    number = 0
    while len(canonical(document, limit=2 * size + 10_000)) < size - 200:
        number += 1
        document["parts"][f"part_{number}"] = {
            "name": sentence(random_, 2),
            "status": random_.choice(["active", "resting"]),
            "recency_score": round(random_.random(), 3),
            "influence_score": round(random_.random(), 3),
            "goals": [{"goal": sentence(random_)}],
        }
        document["triggers_and_goals"].append(
            {
                "trigger": sentence(random_, 4),
                "desired_outcome": sentence(random_, 6),
                "related_parts": [f"part_{number}"],
            }
        )
    return document


def small_edit(document: dict[str, Any], number: int) -> dict[str, Any]:
    """Return the document with one score and one goal changed; `document` itself is left alone."""
    names = list(document["parts"])
    name = names[number % len(names)]
    part = {**document["parts"][name], "recency_score": (number % 1000) / 1000}
    if number % 5 == 0:
        part["goals"] = [{"goal": f"{sentence(random.Random(number), 8)} {number}"}]
    return {**document, "parts": {**document["parts"], name: part}}
