"""`usermemory daily`: the daily job, from its beginning to its end."""

import threading
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import click

from graphs.work.host_task import Handler
from graphs.work.prices import Prices
from graphs.work.worker import CONCURRENCY, Worker
from storage.database import Database
from storage.work.batches import waiting_subjects
from storage.work.jobs import get_job
from usermemory.commands.batch_lines import LOOK_EVERY, Followed, batch_as_json, summary
from usermemory.commands.failure import REFUSED
from usermemory.commands.group import examples
from usermemory.commands.handler import handler_option
from usermemory.commands.hosts import host_option
from usermemory.commands.models import model_options
from usermemory.commands.patience import patience_option
from usermemory.commands.stopping import until_signalled
from usermemory.commands.work import Work, on_work


@click.command(
    epilog=examples(
        "usermemory daily",
        "usermemory daily --model openai:gpt-5-mini --price-in 0.25 --price-out 2",
        "usermemory daily --organization acme --json",
    )
)
@on_work
@host_option
@model_options
@handler_option
@patience_option
@click.option("--organization", metavar="ID", help="Only the people of one organization.")
@click.option(
    "--concurrency",
    type=click.IntRange(1, 256),
    default=CONCURRENCY,
    help=f"People at once.  [default: {CONCURRENCY}]",
)
def command(
    work: Work,
    model: Any,
    prices: Prices,
    handler: Handler | None,
    patience: timedelta,
    organization: str | None,
    concurrency: int,
) -> None:
    """Update everybody who was active in the last 24 hours, now.

    Puts the daily job into the queue, works the queue off, whatever else is in it too, and prints what became of
    everybody. What failed before and is due again comes first. Workers that run meanwhile help. Ends with exit code 1
    where somebody failed, or could not be finished: who failed is tried again by a worker, or by the next
    `usermemory daily`.
    """
    batch = work.upkeep.daily(organization=organization)
    assert batch is not None  # without a due time nobody can have claimed it before
    work.upkeep.resume()
    worker = Worker(
        work.memory,
        work.queue,
        model=model,
        concurrency=concurrency,
        inactivity=work.upkeep.inactivity,
        patience=patience.total_seconds(),
        handler=handler,
        prices=prices,
    )
    followed = Followed(work.memory.database, batch, work.screen)
    try:
        until_signalled(partial(_work_off, work, worker, batch.id), work.screen, meanwhile=followed.look)
    finally:
        done = followed.end()
    work.screen.answer(batch_as_json(done), lambda: summary(done))
    if done.failed or done.waiting:
        click.get_current_context().exit(REFUSED)


def _work_off(work: Work, worker: Worker, batch_id: UUID, until: threading.Event) -> None:
    """Work until everybody was tried, also whom other workers are busy with, or were when they were killed."""
    worker.drain(until)
    while _is_in_work(work.memory.database, batch_id) and not until.wait(LOOK_EVERY):
        work.upkeep.resume()
        worker.drain(until)


def _is_in_work(database: Database, batch_id: UUID) -> bool:
    """Tell whether anybody of the batch was not tried yet: who failed waits for a next attempt."""
    waiting = waiting_subjects(database, batch_id)
    return any(get_job(database, "person", each.id).next_attempt_at is None for each in waiting)
