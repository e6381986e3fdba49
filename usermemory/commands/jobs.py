"""`usermemory jobs`: what waits, how far it is, and what failed."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import click

from memory_tools.answer import as_json
from memory_tools.memory import Memory
from storage.errors import InvalidInput, NotFound
from storage.json_types import Json
from storage.work.batches import Batch, get_batch, list_batches
from storage.work.job_counts import JobCounts, count_jobs
from storage.work.jobs import Job, JobKind, dead_jobs, retry
from storage.work.queue import DeadLetter
from usermemory.commands.answers import moment
from usermemory.commands.batch_lines import batch_as_json, follow, summary, title
from usermemory.commands.group import examples
from usermemory.commands.options import Number
from usermemory.commands.visible import visible
from usermemory.commands.work import Work, on_work

LETTERS = 100
"""Dead letters shown at the most."""

_follow = click.option("--follow", is_flag=True, help="Look on until it has ended.")


@click.group(
    epilog=examples(
        "usermemory jobs list",
        "usermemory jobs trigger --follow",
        "usermemory jobs dead",
        "usermemory jobs retry --all",
    )
)
def command() -> None:
    """See what waits and how far it is, and try again what failed.

    A batch is what was begun together: conversations that ended, or everybody's daily update. On PostgreSQL these
    commands take the worker's URL.
    """


@command.command("list", epilog=examples("usermemory jobs list", "usermemory jobs list --organization acme --limit 5"))
@click.option("--organization", metavar="ID", help="Only those begun for one organization.")
@click.option("--limit", type=Number, default=20, show_default=True, help="Batches at the most, up to 100.")
@click.option("--after", metavar="ID", help="Only those behind this one.")
@on_work
def list_all(work: Work, organization: str | None, limit: int, after: str | None) -> None:
    """List the batches, newest first, and how far each is."""
    page = list_batches(work.memory.database, organization=organization, limit=limit, after=after)
    work.screen.answer([batch_as_json(batch) for batch in page.entries], lambda: _list_lines(page.entries))
    if page.next is not None:
        work.screen.note(f"More: --after {page.next}")


@command.command(epilog=examples("usermemory jobs show BATCH", "usermemory jobs show BATCH --follow"))
@click.argument("batch_id", metavar="BATCH")
@_follow
@on_work
def show(work: Work, batch_id: str, follow: bool) -> None:
    """Show one batch: what became of its jobs, and what they cost."""
    _answer(work, get_batch(work.memory.database, _id(batch_id)), follow)


@command.command(epilog=examples("usermemory jobs dead"))
@on_work
def dead(work: Work) -> None:
    """List what was given up: jobs that failed too often, and messages that nobody could do anything with."""
    jobs, letters = list(_all_dead(work.memory)), work.queue.dead(limit=LETTERS)
    said: Json = {"jobs": [as_json(job) for job in jobs], "letters": [_letter_as_json(each) for each in letters]}
    work.screen.answer(said, lambda: _dead_lines(jobs, letters))


@command.command(
    "retry",
    epilog=examples("usermemory jobs retry 0199f3c2-8c1e-7d43-9a55-0d9f4c6b1e21", "usermemory jobs retry --all"),
)
@click.argument("dead_id", metavar="[ID]", required=False)
@click.option("--all", "every", is_flag=True, help="Every dead job and every dead letter.")
@on_work
def again(work: Work, dead_id: str | None, every: bool) -> None:
    """Let what was given up be tried again, as if never before: one thing by its id, or everything.

    ID is that of a conversation, of a person or of a dead letter, as `usermemory jobs dead` shows it.
    """
    if (dead_id is None) != every:
        raise click.UsageError("Give an ID, or --all.")
    retried = _retry_all(work) if dead_id is None else _retry_one(work, dead_id)
    work.upkeep.resume()
    work.screen.answer({"retried": retried}, lambda: [f"{retried:,} to be tried again."])


@command.command(epilog=examples("usermemory jobs trigger", "usermemory jobs trigger --inactivity 30m --follow"))
@click.option("--organization", metavar="ID", help="Only the conversations of one organization.")
@_follow
@on_work
def trigger(work: Work, organization: str | None, follow: bool) -> None:
    """Have the conversations summarized that have ended: find them and put them into the queue."""
    batch = work.upkeep.conversations_ended(organization=organization)
    if batch is None:
        there = count_jobs(work.memory.database, kind="conversation", organization=organization)
        work.screen.answer(None, lambda: _nothing_lines(there))
        return
    _answer(work, batch, follow)


def _answer(work: Work, batch: Batch, follow_it: bool) -> None:
    shown = follow(work.memory.database, batch.id, work.screen) if follow_it else batch
    work.screen.answer(batch_as_json(shown), lambda: [title(shown), *summary(shown)])


def _id(written: str) -> UUID:
    try:
        return UUID(written)
    except ValueError:
        raise InvalidInput("this is no id of a batch") from None


def _all_dead(memory: Memory) -> Iterator[Job]:
    after: tuple[str, str] | None = None
    while True:
        page = dead_jobs(memory.database, after=after)
        yield from page.entries
        after = page.next
        if after is None:
            return


def _retry_one(work: Work, dead_id: str) -> int:
    """Try again the dead job about the subject, else the dead letter. Raises NotFound where there is neither."""
    kinds: tuple[JobKind, ...] = ("conversation", "person")
    try:
        subject = UUID(dead_id)
    except ValueError:
        kinds = ()
    for kind in kinds:
        try:
            retry(work.memory.database, kind, subject)
            return 1
        except NotFound:
            continue
    try:
        work.queue.revive(dead_id)
    except NotFound:
        raise NotFound("there is no dead job and no dead letter of this id") from None
    return 1


def _retry_all(work: Work) -> int:
    retried = 0
    for job in list(_all_dead(work.memory)):
        with suppress(NotFound):  # somebody else was faster
            retry(work.memory.database, job.kind, job.subject)
            retried += 1
    seen: set[str] = set()
    while letters := [each.id for each in work.queue.dead(limit=LETTERS) if each.id not in seen]:
        seen.update(letters)
        for letter in letters:
            with suppress(NotFound):
                work.queue.revive(letter)
                retried += 1
    return retried


def _letter_as_json(letter: DeadLetter) -> dict[str, Any]:
    """Return a dead letter: its body holds ids, and where it is a host's, whatever the host sends."""
    return {
        "id": letter.id,
        "body": letter.body,
        "reason": letter.reason,
        "receives": letter.receives,
        "dead_at": None if letter.dead_at is None else letter.dead_at.isoformat(),
        "raw": letter.raw,
    }


def _list_lines(batches: Sequence[Batch]) -> Iterator[str]:
    if not batches:
        yield "There are no batches."
    for batch in batches:
        yield title(batch)
        yield f"  {next(summary(batch))}"


def _nothing_lines(there: JobCounts) -> Iterator[str]:
    yield "Nothing to do: no conversation has ended that is neither remembered nor known already."
    known = {"on their way": there.on_their_way, "to be tried again": there.to_retry, "dead": there.dead}
    said = ", ".join(f"{number:,} {name}" for name, number in known.items() if number)
    if said:
        yield f"Known already: {said}." + (" See `usermemory jobs dead`." if there.dead else "")


def _dead_lines(jobs: Iterable[Job], letters: Sequence[DeadLetter]) -> Iterator[str]:
    nothing = True
    for job in jobs:
        nothing = False
        tried = f"{visible(job.error or 'unknown')}  {_times(job.attempts, 'attempt')}, {moment(job.updated_at)}"
        yield f"{click.style(str(job.subject), bold=True)}  {job.kind}  {tried}"
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


def _times(number: int, one: str) -> str:
    return f"{number:,} {one}{'' if number == 1 else 's'}"
