"""Replay LoCoMo: dated sessions of two people who talk, through the compiled loop, each speaker a person of their own.

What LoCoMo recorded of each session, a summary and observations with the turns behind them, stands in for a model's
answer. Three runs on each database: the answer adds each session to what was known; it replaces the summary each time,
which the guard must notice; no model at all, but the extractive summarizer. Every version must come back byte by byte.
"""

import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import click

from benchmarks.measuring import Report
from benchmarks.places import Place, postgresql_place, sqlite_place
from graphs.testing import ScriptedChatModel
from graphs.update import STEPS, UpdateGraph, build_update_graph
from memory_tools.context import MemoryContext
from memory_tools.memory import UserMemory
from storage.canonical import canonical, loads
from storage.conversations import NewMessage
from storage.document import strip_rendered
from storage.guard import GuardRules
from storage.json_types import Document, Json
from storage.limits import PAGE_LIMIT
from storage.snapshots import HistoryEntry, Snapshot
from storage.words import telling_words

DATA = Path(__file__).parents[2] / "shared" / "data" / "locomo" / "conversations.json"
"""Beside the repository, never in it: its licence allows evaluation only (CC BY-NC 4.0)."""

RULES = GuardRules()
"""What a long text is, and how many of its words may go."""


@dataclass(frozen=True)
class Session:
    """One session as one of its speakers lives it."""

    person: str
    name: str
    messages: tuple[NewMessage, ...]
    summary: str
    facts: tuple[Document, ...]
    """What was observed about this speaker."""

    evidence: tuple[Document, ...]
    """The messages behind each fact, by the numbers they get when all sessions are kept in order."""


Answer: TypeAlias = Callable[[Sequence[Session]], Document]
"""Returns what a model answers after the last of these sessions of one person."""


def accumulated(so_far: Sequence[Session]) -> Document:
    """Answer as a good summarizer would: what was known stays."""
    return _answer("\n".join(session.summary for session in so_far), so_far)


def replaced(so_far: Sequence[Session]) -> Document:
    """Answer with a summary of the last session alone, in the place of what was known."""
    return _answer(so_far[-1].summary, so_far)


RUNS: Mapping[str, Answer | None] = {"accumulated": accumulated, "replaced": replaced, "extractive": None}


def _answer(summary: str, so_far: Sequence[Session]) -> Document:
    facts = [fact for session in so_far for fact in session.facts]
    return {"document": {"summary": summary, "facts": facts}, "evidence": list(so_far[-1].evidence)}


def sessions_of(conversation: Json) -> Iterator[Session]:
    """Yield the sessions of one conversation in order, each twice: once for either speaker."""
    talk, before = conversation["conversation"], 0
    for number in range(1, len(talk)):
        name = f"session_{number}"
        if name not in talk:
            continue
        for speaker in (talk["speaker_a"], talk["speaker_b"]):
            observed = conversation["observation"][f"{name}_observation"].get(speaker, ())
            facts = tuple({"id": f"{name}-{at}", "text": text} for at, (text, _) in enumerate(observed, start=1))
            yield Session(
                person=f"{conversation['sample_id']} {speaker}",
                name=name,
                messages=tuple(_messages(talk[name], talk[f"{name}_date_time"], speaker)),
                summary=conversation["session_summary"][f"{name}_summary"],
                facts=facts,
                evidence=tuple(_evidence(facts, [turns for _, turns in observed], talk[name], before)),
            )
        before += len(talk[name])


def _messages(turns: Json, held_on: str, speaker: str) -> Iterator[NewMessage]:
    """Yield the turns of a session; to one speaker the other one is the assistant."""
    began = datetime.strptime(held_on, "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC)
    for place, turn in enumerate(turns):
        role = "user" if turn["speaker"] == speaker else "assistant"
        yield NewMessage(role, turn["text"], began + timedelta(seconds=place), turn["dia_id"])


def _evidence(facts: Sequence[Document], cited: Sequence[Json], turns: Json, before: int) -> Iterator[Document]:
    numbers = {turn["dia_id"]: number for number, turn in enumerate(turns, start=before + 1)}
    for fact, ids in zip(facts, cited, strict=True):
        known = [numbers[each] for each in ([ids] if isinstance(ids, str) else ids) if each in numbers]
        yield {"pointer": "/facts", "entry": fact["id"], "messages": known}


@dataclass
class Tally:
    """What one run did."""

    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Wall time by stage."""

    heads: dict[str, dict[int, str]] = field(default_factory=dict)
    """The canonical text of each version of each person, as it was read when it was the newest."""

    other_than_answered: int = 0
    """Versions that are not what the model answered."""


def replay(place: Place, run: str, sessions: Sequence[Session]) -> Tally:
    """Feed every session through the loop, compiled once, and note what becomes of each."""
    so_far: dict[str, list[Session]] = {}
    answers = []
    for session in sessions:
        so_far.setdefault(session.person, []).append(session)
        if (answer := RUNS[run]) is not None:
            answers.append(answer(so_far[session.person]))
    model = ScriptedChatModel.of(*answers) if answers else None
    graph = build_update_graph(place.memory, model=model)
    tally = Tally(heads={person: {} for person in so_far})
    for at, session in enumerate(sessions):
        if at % 20 == 0:
            click.echo(f"{place.name}, {run}: {at} of {len(sessions)}", err=True)
        status = _update(graph, run, session, tally.seconds)
        tally.outcomes[status] += 1
        if status == "saved":
            head = _person(place, run, session.person).document.current()
            tally.heads[session.person][head.version] = _stored(head)
            answered = canonical(answers[at]["document"]) if answers else _stored(head)
            tally.other_than_answered += answered != _stored(head)
    for last in {session.person: session for session in sessions}.values():  # all answers are used up by now
        tally.outcomes[f"again {_update(graph, run, last, defaultdict(float))}"] += 1
    return tally


def _update(graph: UpdateGraph, run: str, session: Session, seconds: defaultdict[str, float]) -> str:
    """Run the loop once and return the status; adds the wall time of each stage to `seconds`."""
    began = time.perf_counter()
    context = MemoryContext(organization=run, user_id=session.person)
    given: Any = {"messages": list(session.messages), "conversation": session.name}
    result: Any = {}
    started: dict[str, float] = {}
    events: Iterator[Any] = graph.stream(given, context=context, stream_mode=["tasks", "values"])
    for mode, event in events:
        if mode == "values":
            result = event
        elif "input" in event:
            started[event["name"]] = time.perf_counter()
        else:
            seconds[event["name"]] += time.perf_counter() - started[event["name"]]
    seconds["all"] += time.perf_counter() - began
    return "more" if result["more"] else str(result["status"])  # a session is one batch


def _person(place: Place, run: str, name: str) -> UserMemory:
    return place.memory.of(user=name, organization=run)


def _stored(snapshot: Snapshot) -> str:
    return canonical(strip_rendered(snapshot.document))


@dataclass
class Audit:
    """What was read back after a run. Sizes are bytes of UTF-8."""

    versions: int = 0
    differing: int = 0
    """Versions that did not come back byte by byte, by their number or by their time."""

    summaries_lost: int = 0
    """Versions in which the words of a long summary are gone, and nowhere else."""

    pending: int = 0
    cited: int = 0
    patches: int = 0
    checkpoints: int = 0
    copies: int = 0


def audited(place: Place, run: str, tally: Tally) -> Audit:
    """Read back every version of every person."""
    audit = Audit()
    for name, heads in tally.heads.items():
        person = _person(place, run, name)
        audit.pending += len(person.pending.waiting(limit=PAGE_LIMIT).entries)
        for entry in _history(person):
            seen = heads.get(entry.version, "{}")
            back = {_stored(person.document.as_of(moment)) for moment in (entry.version, entry.created_at)}
            audit.versions += 1
            audit.differing += back != {seen}
            audit.summaries_lost += _lost_its_summary(loads(heads.get(entry.version - 1, "{}")), loads(seen))
            audit.cited += sum(source.entry is not None for source in entry.provenance.changes)
            audit.patches += entry.patch_bytes
            audit.checkpoints += entry.checkpoint_bytes or 0
            audit.copies += len(seen.encode())
    return audit


def _lost_its_summary(before: Document, after: Document) -> bool:
    """Tell whether most of a long summary is in nothing that is new: counted plainly, without the guard."""
    telling = telling_words(before.get("summary", ""))
    brought = [
        after.get("summary", ""),
        *(fact["text"] for fact in after.get("facts", []) if fact not in before.get("facts", [])),
    ]
    lost = telling.difference(*map(telling_words, brought))
    return len(telling) >= RULES.long_text and len(lost) > RULES.text_loss * len(telling)


def _history(person: UserMemory) -> Iterator[HistoryEntry]:
    page = person.document.history(limit=PAGE_LIMIT)
    yield from page.entries
    while page.next is not None:
        page = person.document.history(limit=PAGE_LIMIT, before=page.next)
        yield from page.entries


def tell(report: Report, title: str, run: str, tally: Tally, audit: Audit) -> None:
    """Note the figures of one run, and the bounds that make it right."""
    add = partial(_add, report, title)
    outcomes, people = tally.outcomes, len(tally.heads)
    fed = outcomes.total() - people
    saved, unchanged, held = (outcomes[status] for status in ("saved", "unchanged", "held"))
    for what, count in (("saved", saved), ("unchanged", unchanged), ("versions", audit.versions)):
        add(what, count)
    add("held", held, None if run == "replaced" else 0)
    if run == "replaced":  # the first session of each person replaces nothing
        add("replaced summaries that the guard held", held / (fed - people), unit="x")
    add("runs that ended in another way", fed - saved - unchanged - held, 0)
    add("sessions given again of which something was new", people - outcomes["again nothing_new"], 0)
    add("versions more or fewer than saved", abs(audit.versions - saved), 0)
    add("versions that do not come back byte by byte", audit.differing, 0)
    add("versions that are not what the model answered", tally.other_than_answered, 0)
    add("versions without most of the summary before them", audit.summaries_lost, 0)
    add("pending versions more or fewer than held", abs(audit.pending - held), 0)
    add("list entries with the messages behind them", audit.cited)
    for column in ("patches", "checkpoints", "copies"):
        add(f"bytes of {'full ' * (column == 'copies')}{column}", getattr(audit, column), unit=" B")
    add("patches and checkpoints / full copies", (audit.patches + audit.checkpoints) / audit.copies, unit="x")
    between = tally.seconds["all"] - sum(tally.seconds[step] for step in STEPS)
    for stage, seconds in [*((step, tally.seconds[step]) for step in STEPS), ("between the stages", between)]:
        add(f"{stage}, a session", 1_000 * seconds / fed, unit=" ms")


def _add(report: Report, title: str, what: str, value: float, at_most: float | None = None, unit: str = "") -> None:
    report.add(f"{title}: {what}", value, at_most, unit)


@click.command()
@click.option("--conversations", type=click.IntRange(min=1), help="How many of the conversations.  [default: all]")
@click.option("--json", "save_to", help="Write the figures to this file.")
def main(conversations: int | None, save_to: str | None) -> None:
    """Replay the conversations on both databases, durable, and end with 1 when anything is not as it was."""
    if not DATA.exists():
        click.echo(f"The LoCoMo data is not here: {'/'.join(DATA.parts[-4:])}, beside the repository.", err=True)
        sys.exit(2)
    recorded = json.loads(DATA.read_text(encoding="utf-8"))[:conversations]
    sessions = [session for conversation in recorded for session in sessions_of(conversation)]
    report = Report("replay_locomo")
    report.add("sessions", len(sessions) / 2, unit="")
    report.add("messages, each kept for both speakers", sum(len(each.messages) for each in sessions) / 2, unit="")
    for opened in (sqlite_place, postgresql_place):
        with opened(durable=True) as place:
            for run in RUNS:
                tally = replay(place, run, sessions)
                tell(report, f"{place.name}, {run}", run, tally, audited(place, run, tally))
    report.finish(save_to)


if __name__ == "__main__":
    main()
