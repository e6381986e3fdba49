"""How fast and how small our differences are beside those of `jsonpatch`, and whether they are right.

Prints the time of `difference` as a share of that of `jsonpatch.make_patch` for documents of 1, 10 and 100 KB and seven
kinds of edit (CPU time; the median of rounds in which both take turns), the bytes of both, and the outcome of random
pairs. Exit code 1 when a target is missed.

    python benchmarks/diff.py [--pairs 100000] [--seconds N] [--json FILE]
"""

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import jsonpatch
import orjson

from storage.difference import difference
from storage.equality import same
from storage.errors import UserMemoryError
from storage.json_types import Document, Json, Patch
from storage.patch import apply

TIME_TARGET = 0.1
"""Our time as a share of `jsonpatch.make_patch`, for every size and kind of edit."""

BYTES_TARGET = 1.0
"""Our bytes of patches as a share of those of `jsonpatch`, over all documents."""

REORDER_TARGET = 0.6
"""The same for lists that were put into another order."""

LARGER_TARGET = 0.01
"""Share of pairs of documents in which our patch is the larger one."""

SIZES = (1_000, 10_000, 100_000)
"""Bytes of JSON in a document, roughly."""

DOCUMENTS = 40
"""Pairs per size and kind of edit whose patches are weighed."""

TIMED = 16
"""How many of them are timed, all in every round."""

ROUNDS = 5
"""Rounds per size and kind of edit in which both take turns; the median counts."""

ORACLE_EVERY = 10
"""One in so many random pairs is also applied by `jsonpatch`."""

# fmt: off
WORDS = (
    "calm", "presentation", "sister", "morning", "garden", "project", "worried", "hopeful", "boundary",
    "deadline", "music", "letter", "training", "sleep", "promise", "kitchen", "doctor", "walk", "argument",
    "plan", "budget", "holiday", "mentor", "silence", "courage", "patient", "evening", "übung", "東京",
)
# fmt: on


Edit: TypeAlias = Callable[[random.Random, Document], None]
"""Changes a document in place."""

# ------------------------------------------------------------------ documents


def sentence(r: random.Random, words: int = 12) -> str:
    return " ".join(r.choice(WORDS) for _ in range(words)).capitalize() + "."


def part(r: random.Random) -> Json:
    return {
        "name": " ".join(r.choice(WORDS) for _ in range(2)).title(),
        "status": r.choice(["active", "resting", "watchful"]),
        "recency_score": r.randrange(101) / 100,
        "influence_score": r.randrange(101) / 100,
        "goals": [{"goal": sentence(r, 8)} for _ in range(r.randrange(1, 4))],
    }


def trigger(r: random.Random, parts: list[str]) -> Json:
    return {
        "trigger": sentence(r, 4),
        "desired_outcome": sentence(r, 7),
        "related_parts": r.sample(parts, min(len(parts), r.randrange(3))),
    }


def memory_entry(r: random.Random) -> Json:
    return {
        "id": f"{r.getrandbits(32):08x}",
        "type": r.choice(["fact", "preference", "event"]),
        "content": sentence(r),
        "importance": r.randrange(101) / 100,
        "topics": r.sample(WORDS, 2),
    }


def document(r: random.Random, size: int, with_ids: bool) -> Document:
    """Return a memory document of roughly `size` bytes: with the list of seed 001, or with entries that have an id."""
    memory: Document = {
        "summary": " ".join(sentence(r) for _ in range(max(2, size // 500))),
        "parts": {f"part_{n}": part(r) for n in range(max(1, size // 700))},
        "safety_notes": [sentence(r) for _ in range(max(1, size // 2_000))],
        "memories" if with_ids else "triggers_and_goals": [],
    }
    for _ in range(max(4, size // 400)):
        entries(memory).append(new_entry(r, memory))
    return memory


def entries(memory: Document) -> list[Json]:
    """Return the long list of the document."""
    found: list[Json] = memory["memories" if "memories" in memory else "triggers_and_goals"]
    return found


def new_entry(r: random.Random, memory: Document) -> Json:
    return memory_entry(r) if "memories" in memory else trigger(r, list(memory["parts"]))


# ---------------------------------------------------------------------- edits


def scalar(r: random.Random, memory: Document) -> None:
    r.choice(list(memory["parts"].values()))["recency_score"] = r.random()


def text(r: random.Random, memory: Document) -> None:
    words = memory["summary"].split()
    words[r.randrange(len(words))] = "changed"
    memory["summary"] = " ".join(words)


def head_insert(r: random.Random, memory: Document) -> None:
    entries(memory).insert(0, new_entry(r, memory))


def delete(r: random.Random, memory: Document) -> None:
    del entries(memory)[r.randrange(len(entries(memory)))]


def shuffle(r: random.Random, memory: Document) -> None:
    r.shuffle(entries(memory))


def reorder(r: random.Random, memory: Document) -> None:
    """Move one to three entries somewhere else."""
    moved = entries(memory)
    for _ in range(r.randrange(1, 4)):
        moved.insert(r.randrange(len(moved)), moved.pop(r.randrange(len(moved))))


def churn(r: random.Random, memory: Document) -> None:
    """Change a tenth of the document: members edited, entries edited, removed and added."""
    for name in list(memory["parts"]):
        if r.random() < 0.1:
            memory["parts"][name].update(recency_score=r.random(), status="changed")
    churned = entries(memory)
    for n in reversed(range(len(churned))):
        chance = r.random()
        if chance < 0.04:
            churned[n]["content" if "content" in churned[n] else "desired_outcome"] = sentence(r, 7)
        elif chance < 0.07:
            del churned[n]
        elif chance < 0.1:
            churned.insert(n, new_entry(r, memory))
    scalar(r, memory)


def rewrite(r: random.Random, memory: Document) -> None:
    """Change what a language model changes in a day: much of the summary, the order of a list, a score, a new entry."""
    sentences = memory["summary"].split(". ")
    memory["summary"] = ". ".join(sentence(r).rstrip(".") if r.random() < 0.4 else kept for kept in sentences)
    reorder(r, memory)
    scalar(r, memory)
    entries(memory).append(new_entry(r, memory))


EDITS: tuple[Edit, ...] = (scalar, text, head_insert, delete, shuffle, reorder, churn, rewrite)
REORDERS = (shuffle, reorder)


def pair(r: random.Random, size: int, edit: Edit, with_ids: bool) -> tuple[Document, Document]:
    """Return a document and an edited one that share nothing, each as it comes from its text."""
    before = document(r, size, with_ids)
    after = parsed(before)
    edit(r, after)
    return parsed(before), parsed(after)


def parsed(value: Json) -> Json:
    return orjson.loads(orjson.dumps(value, option=orjson.OPT_SORT_KEYS))


# ------------------------------------------------------------ times and bytes


def by_jsonpatch(before: Json, after: Json) -> Patch:
    patch: Patch = jsonpatch.make_patch(before, after).patch
    return patch


def seconds(make: Callable[[Json, Json], Patch], pairs: list[tuple[Json, Json]], times: int) -> float:
    """Return the CPU seconds that one patch takes, averaged over the pairs and `times` repetitions."""
    start = time.process_time()
    for _ in range(times):
        for before, after in pairs:
            make(before, after)
    return (time.process_time() - start) / times / len(pairs)


@dataclass(frozen=True)
class Cell:
    """One size and kind of edit: our time and bytes and those of jsonpatch."""

    size: int
    edit: str
    microseconds: float
    ratio: float
    ours: int
    theirs: int
    larger: int


def measure(r: random.Random, size: int, edit: Edit) -> Cell:
    pairs = [pair(r, size, edit, with_ids=n % 2 == 1) for n in range(DOCUMENTS)]
    weighed = [(len(orjson.dumps(difference(*p))), len(orjson.dumps(by_jsonpatch(*p)))) for p in pairs]
    times = max(1, 10_000 // size)
    rounds = [
        (seconds(difference, pairs[:TIMED], 5 * times), seconds(by_jsonpatch, pairs[:TIMED], times))
        for _ in range(ROUNDS)
    ]
    return Cell(
        size=size,
        edit=edit.__name__,
        microseconds=round(statistics.median(ours for ours, _ in rounds) * 1e6, 1),
        ratio=round(statistics.median(ours / theirs for ours, theirs in rounds), 4),
        ours=sum(ours for ours, _ in weighed),
        theirs=sum(theirs for _, theirs in weighed),
        larger=sum(ours > theirs for ours, theirs in weighed),
    )


# --------------------------------------------------------------- random pairs

NAMES = ("", "~", "/", "a/b", "~1", "~01", "0", "1", "01", "-", "é", "ключ", "a", "b", "c", "id")
SCALARS: tuple[Any, ...] = (
    *(None, True, False, 0, 1, 1.0, 0.0, -0.0, -1, 2**63 - 1, -(2**63), 1.5, 5e-324, 1e300),
    *("", "a", "b", "1", "true", "~", "é", "\u2028", "x" * 40),
)


def any_value(r: random.Random, depth: int) -> Json:
    chance = r.random()
    if depth == 0 or chance < 0.4:
        return r.choice(SCALARS)
    if chance < 0.7:
        return [any_value(r, depth - 1) for _ in range(r.randrange(7))]
    return {r.choice(NAMES): any_value(r, depth - 1) for _ in range(r.randrange(6))}


def edited(r: random.Random, value: Json, depth: int) -> Json:
    """Return `value` with a few things inserted, deleted, moved, doubled or changed, anywhere inside."""
    if depth == 0 or not value or not isinstance(value, (dict, list)) or r.random() < 0.1:
        return any_value(r, depth)
    places: list[Any] = list(value) if isinstance(value, dict) else list(range(len(value)))
    chosen = r.choice(places)
    result = value.copy()
    match r.randrange(6):
        case 0:
            place(r, result, any_value(r, depth - 1))
        case 1:
            del result[chosen]
        case 2:
            place(r, result, result.pop(chosen))
        case 3:
            place(r, result, result[chosen])
        case _:
            result[chosen] = edited(r, result[chosen], depth - 1)
    return result if r.random() < 0.4 else edited(r, result, depth)


def place(r: random.Random, container: Json, value: Json) -> None:
    if isinstance(container, dict):
        container[r.choice(NAMES)] = value
    else:
        container.insert(r.randint(0, len(container)), value)


def is_right(before: Json, after: Json, with_oracle: bool) -> bool:
    """Tell whether the difference leads from one to the other and leaves both alone."""
    texts = orjson.dumps(before), orjson.dumps(after)
    try:
        patch = difference(before, after)
        right = same(apply(before, patch), after)
        if with_oracle:
            right = right and same(jsonpatch.apply_patch(before, patch), after)
    except (UserMemoryError, jsonpatch.JsonPatchException, jsonpatch.JsonPointerException):
        return False
    return right and texts == (orjson.dumps(before), orjson.dumps(after))


@dataclass(frozen=True)
class Fuzz:
    """How many random pairs were tried, and how many of their differences were wrong."""

    pairs: int
    failures: int
    seconds: float


def fuzz(r: random.Random, pairs: int, limit: float) -> Fuzz:
    start, done, failures = time.monotonic(), 0, 0
    while done < pairs and time.monotonic() - start < limit:
        before = any_value(r, 4)
        after = edited(r, before, 4) if r.random() < 0.9 else any_value(r, 4)
        failures += not is_right(before, after, with_oracle=done % ORACLE_EVERY == 0)
        done += 1
    return Fuzz(done, failures, round(time.monotonic() - start, 1))


# --------------------------------------------------------------------- report


def summary(cells: list[Cell], outcome: Fuzz) -> dict[str, tuple[float, float]]:
    """Return each target by its name: what was measured, and what it may be at the most."""
    reorders = [cell for cell in cells if cell.edit in {edit.__name__ for edit in REORDERS}]
    return {
        "slowest time / jsonpatch": (max(cell.ratio for cell in cells), TIME_TARGET),
        "bytes / jsonpatch": (share(cells), BYTES_TARGET),
        "bytes / jsonpatch, reorders": (share(reorders), REORDER_TARGET),
        "share of pairs larger": (sum(cell.larger for cell in cells) / (len(cells) * DOCUMENTS), LARGER_TARGET),
        "failures in random pairs": (outcome.failures, 0),
    }


def share(cells: list[Cell]) -> float:
    return round(sum(cell.ours for cell in cells) / sum(cell.theirs for cell in cells), 4)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=100_000, help="random pairs to try (default 100000)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop trying random pairs after N seconds")
    parser.add_argument("--seed", type=int, default=6902, help="of the random numbers")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    asked = parser.parse_args()

    r = random.Random(asked.seed)
    cells = []
    print(f"{'bytes':>8} {'edit':12} {'us':>8} {'time':>7} {'ours B':>9} {'theirs B':>9} {'bytes':>7} {'larger':>7}")
    for size in SIZES:
        for edit in EDITS:
            cell = measure(r, size, edit)
            cells.append(cell)
            print(
                f"{cell.size:8} {cell.edit:12} {cell.microseconds:8} {cell.ratio:7.3f} "
                f"{cell.ours:9} {cell.theirs:9} {share([cell]):7.3f} {cell.larger:7}"
            )
    outcome = fuzz(r, asked.pairs, asked.seconds)
    print(f"\n{outcome.pairs} random pairs in {outcome.seconds} s, {outcome.failures} failures\n")
    targets = summary(cells, outcome)
    for name, (measured, most) in targets.items():
        print(f"{'ok  ' if measured <= most else 'MISS'} {name}: {measured:.4g} (at most {most})")
    if asked.json:
        figures = {"cells": [asdict(cell) for cell in cells], "fuzz": asdict(outcome), "targets": targets}
        asked.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return int(any(measured > most for measured, most in targets.values()))


if __name__ == "__main__":
    sys.exit(main())
