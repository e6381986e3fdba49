"""`usermemory jobs`: what waits, how far it is, and what failed."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final, TypeAlias
from uuid import UUID

import click

from memory_tools.answer import as_json
from storage import outbox
from storage.database import Database
from storage.errors import Conflict, InvalidInput, NotFound
from storage.json_types import Json
from storage.page import Page
from storage.work.batches import Batch, get_batch, list_batches
from storage.work.job_counts import count_jobs
from storage.work.jobs import Job, dead_jobs, failed_jobs, retry
from usermemory.commands.batch_lines import batch_as_json, follow, summary, title
from usermemory.commands.group import examples
from usermemory.commands.hosts import host_option
from usermemory.commands.job_lines import dead_lines, failed_lines, letter_as_json, list_lines, nothing_lines
from usermemory.commands.options import Number
from usermemory.commands.work import Work, on_work

LETTERS = 100
"""Dead letters shown at the most."""

Pages: TypeAlias = Callable[..., Page[Job, tuple[str, str]]]
"""Returns one page of jobs: `dead_jobs` or `failed_jobs`."""

_KINDS: Final = ("conversation", "person")

_follow = click.option("--follow", is_flag=True, help="Look on until it has ended.")


class ListingGroup(click.Group):
    """Commands of which `list` is meant where none is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put `list` before options that are not the group's own."""
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group(
    cls=ListingGroup,
    epilog=examples(
        "usermemory jobs",
        "usermemory jobs --follow",
        "usermemory jobs trigger --follow",
        "usermemory jobs failed",
        "usermemory jobs dead",
        "usermemory jobs retry --all",
    ),
)
def command() -> None:
    """See what waits and how far it is, and try again what failed.

    A batch is what was begun together: conversations that ended, or everybody's daily update. Without a command they
    are listed. On PostgreSQL these commands take the worker's URL.
    """


@command.command(
    "list",
    epilog=examples(
        "usermemory jobs list", "usermemory jobs list --organization acme --limit 5", "usermemory jobs list --follow"
    ),
)
@click.option("--organization", metavar="ID", help="Only those begun for one organization.")
@click.option("--limit", type=Number, default=20, show_default=True, help="Batches at the most, up to 100.")
@click.option("--after", metavar="ID", help="Only those behind this one.")
@click.option("--follow", "follow_it", is_flag=True, help="Look on until the newest of them that goes on has ended.")
@on_work
def list_all(work: Work, organization: str | None, limit: int, after: str | None, follow_it: bool) -> None:
    """List the batches, newest first, how far each is, and how many changes nobody was told of yet."""
    database = work.memory.database
    page = list_batches(database, organization=organization, limit=limit, after=after)
    goes_on = next((batch for batch in page.entries if batch.finished_at is None), None)
    if follow_it and goes_on is not None:
        follow(database, goes_on.id, work.screen)
        page = list_batches(database, organization=organization, limit=limit, after=after)
    events, since = outbox.waiting(database), outbox.waiting_since(database)
    work.screen.answer(
        [batch_as_json(batch) for batch in page.entries], lambda: list_lines(page.entries, events, since)
    )
    if page.next is not None:
        work.screen.note(f"More: --after {page.next}")


@command.command(epilog=examples("usermemory jobs show BATCH", "usermemory jobs show BATCH --follow"))
@click.argument("batch_id", metavar="BATCH")
@_follow
@on_work
def show(work: Work, batch_id: str, follow: bool) -> None:
    """Show one batch: what became of its jobs, and what they cost."""
    _answer(work, get_batch(work.memory.database, _id(batch_id)), follow)


@command.command(epilog=examples("usermemory jobs failed"))
@on_work
def failed(work: Work) -> None:
    """List what failed and is to be tried again: which job, why, how often, and when next."""
    jobs = list(_all(failed_jobs, work.memory.database))
    work.screen.answer({"jobs": [as_json(job) for job in jobs]}, lambda: failed_lines(jobs))


@command.command(epilog=examples("usermemory jobs dead"))
@on_work
def dead(work: Work) -> None:
    """List what was given up: jobs that failed too often, and messages that nobody could do anything with.

    A person is among them as long as something was left behind of what they said.
    """
    jobs, letters = list(_all(dead_jobs, work.memory.database)), work.queue.dead(limit=LETTERS)
    said: Json = {"jobs": [as_json(job) for job in jobs], "letters": [letter_as_json(each) for each in letters]}
    work.screen.answer(said, lambda: dead_lines(jobs, letters))


@command.command(
    "retry",
    epilog=examples("usermemory jobs retry 0199f3c2-8c1e-7d43-9a55-0d9f4c6b1e21", "usermemory jobs retry --all"),
)
@click.argument("failed_id", metavar="[ID]", required=False)
@click.option("--all", "every", is_flag=True, help="Every job that failed, dead or not, and every dead letter.")
@on_work
def again(work: Work, failed_id: str | None, every: bool) -> None:
    """Let what failed be tried again now and as if never before: one thing by its id, or everything.

    ID is that of a conversation, of a person or of a dead letter, as `usermemory jobs dead` and `usermemory jobs
    failed` show it. Of a person, what was left behind is read again.
    """
    if (failed_id is None) != every:
        raise click.UsageError("Give an ID, or --all.")
    retried = _retry_all(work) if failed_id is None else _retry_one(work, failed_id)
    work.upkeep.resume()
    work.screen.answer({"retried": retried}, lambda: [f"{retried:,} to be tried again."])


@command.command(epilog=examples("usermemory jobs trigger", "usermemory jobs trigger --inactivity 30m --follow"))
@click.option("--organization", metavar="ID", help="Only the conversations of one organization.")
@_follow
@on_work
@host_option
def trigger(work: Work, organization: str | None, follow: bool) -> None:
    """Have the conversations summarized that have ended: find them and put them into the queue."""
    batch = work.upkeep.conversations_ended(organization=organization)
    if batch is None:
        there = count_jobs(work.memory.database, kind="conversation", organization=organization)
        work.screen.answer(None, lambda: nothing_lines(there))
        return
    _answer(work, batch, follow)


def _answer(work: Work, batch: Batch, follow_it: bool) -> None:
    shown = follow(work.memory.database, batch.id, work.screen) if follow_it else batch
    work.screen.answer(batch_as_json(shown), lambda: [title(shown), *summary(shown)])


def _id(written: str) -> UUID:
    try:
        return UUID(written)
    except ValueError:
        raise InvalidInput("this is no id, as the other commands show them") from None


def _all(pages: Pages, database: Database) -> Iterator[Job]:
    after: tuple[str, str] | None = None
    while True:
        page = pages(database, after=after)
        yield from page.entries
        after = page.next
        if after is None:
            return


def _retry_one(work: Work, failed_id: str) -> int:
    """Try again the job about the subject, else the dead letter.

    Raises InvalidInput for what is no id, NotFound where there is neither, Conflict while a worker is at the job.
    """
    if failed_id.isascii() and failed_id.isdigit():  # of a dead letter in the database; those of SQS look like a job's
        work.queue.revive(failed_id)
        return 1
    subject = _id(failed_id)
    for kind in _KINDS:
        with suppress(NotFound):
            retry(work.memory.database, kind, subject)
            return 1
    try:
        work.queue.revive(failed_id)
    except NotFound:
        raise NotFound("there is no job that failed and no dead letter of this id") from None
    return 1


def _retry_all(work: Work) -> int:
    database = work.memory.database
    begun_at, retried = database.clock(), 0
    for job in [*_all(dead_jobs, database), *_all(failed_jobs, database)]:
        with suppress(NotFound, Conflict):  # somebody else was faster
            retry(database, job.kind, job.subject)
            retried += 1
    seen: set[str] = set()
    while letters := [each for each in work.queue.dead(limit=LETTERS) if each.id not in seen]:
        seen.update(each.id for each in letters)
        for letter in letters:
            if letter.dead_at is not None and letter.dead_at > begun_at:
                continue  # a worker buried it again meanwhile, on SQS under another id
            with suppress(NotFound):
                work.queue.revive(letter.id)
                retried += 1
    return retried
