"""Job lines: what the commands print of jobs that failed, of dead letters, and of what waits."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import click

from storage.work.batches import Batch
from storage.work.job_counts import JobCounts
from storage.work.jobs import Job
from storage.work.queue import DeadLetter
from usermemory.commands.answers import moment
from usermemory.commands.batch_lines import summary, title
from usermemory.commands.events import events_line
from usermemory.commands.visible import visible


def letter_as_json(letter: DeadLetter) -> dict[str, Any]:
    """Return a dead letter: its body holds ids, and where it is a host's, whatever the host sends."""
    return {
        "id": letter.id,
        "body": letter.body,
        "reason": letter.reason,
        "receives": letter.receives,
        "dead_at": None if letter.dead_at is None else letter.dead_at.isoformat(),
        "raw": letter.raw,
    }


def list_lines(batches: Sequence[Batch], events: int, since: datetime | None) -> Iterator[str]:
    """Yield the batches, and how many events have waited since when for somebody to be told of them."""
    if not batches:
        yield "There are no batches."
    for batch in batches:
        yield title(batch)
        yield f"  {next(summary(batch))}"
    if since is not None:
        yield events_line(events, since)


def nothing_lines(there: JobCounts) -> Iterator[str]:
    """Yield why nothing was begun."""
    yield "Nothing to do: no conversation has ended that is neither remembered nor known already."
    known = {"on their way": there.on_their_way, "to be tried again": there.to_retry, "dead": there.dead}
    said = ", ".join(f"{number:,} {name}" for name, number in known.items() if number)
    if said:
        yield f"Known already: {said}." + (" See `usermemory jobs dead`." if there.dead else "")


def failed_lines(jobs: Sequence[Job]) -> Iterator[str]:
    """Yield the jobs that failed and are to be tried again."""
    if not jobs:
        yield "Nothing waits for another attempt."
    for job in jobs:
        due = "on its way" if job.next_attempt_at is None else f"next {moment(job.next_attempt_at)}"
        yield f"{_failed(job)}, {due}"


def dead_lines(jobs: Iterable[Job], letters: Sequence[DeadLetter]) -> Iterator[str]:
    """Yield the jobs and the messages that were given up."""
    nothing = True
    for job in jobs:
        nothing = False
        yield f"{_failed(job)}, {moment(job.updated_at)}"
    for letter in letters:
        nothing = False
        when = "" if letter.dead_at is None else f", {moment(letter.dead_at)}"
        kind = letter.body.get("task_type")
        said = visible(kind) if isinstance(kind, str) else "no task type"
        reason = visible(letter.reason or "given up by SQS")
        received = f"received {_times(letter.receives, 'time')}{when}"
        yield f"{click.style(letter.id, bold=True)}  message  {said}  {reason}  {received}"
    if nothing:
        yield "Nothing was given up."


def _failed(job: Job) -> str:
    tried = f"  {_times(job.attempts, 'attempt')}" if job.attempts else "  something was left behind"
    return f"{click.style(str(job.subject), bold=True)}  {job.kind}  {visible(job.error or 'unknown')}{tried}"


def _times(number: int, one: str) -> str:
    return f"{number:,} {one}{'' if number == 1 else 's'}"
