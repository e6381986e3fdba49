"""`usermemory worker`: does what waits, and keeps the schedule."""

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import time, timedelta
from typing import Any

import click

from graphs.work.companion import Companion
from graphs.work.host_task import Handler
from graphs.work.prices import Prices
from graphs.work.schedule import CONVERSATIONS_EVERY, DAILY_AT, Schedule
from graphs.work.worker import CONCURRENCY, GRACE, VISIBILITY, Worker
from memory_tools.relay import Relay, open_relay
from storage.errors import InvalidInput
from storage.identity import DEFAULT_ORGANIZATION
from storage.work.job_counts import JobCounts, count_jobs
from storage.work.leases import ATTEMPTS
from usermemory.commands.durations import Duration
from usermemory.commands.events import waiting_events
from usermemory.commands.failure import REFUSED
from usermemory.commands.group import examples
from usermemory.commands.handler import handler_option
from usermemory.commands.hosts import host_option
from usermemory.commands.models import model_options
from usermemory.commands.patience import patience_option
from usermemory.commands.stopping import until_signalled
from usermemory.commands.work import Work, on_work


class TimeOfDay(click.ParamType[time]):
    """A time of day such as `03:00`."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> time:
        """Return the time; anything else is wrong usage."""
        if isinstance(value, time):
            return value
        try:
            written = time.fromisoformat(value)
        except ValueError:
            written = None
        if written is None or written.tzinfo is not None or len(value) != len("03:00"):
            self.fail(f"{value!r} is no time of day: write 03:00, in UTC", param, ctx)
        return written


@click.command(
    epilog=examples(
        "usermemory worker",
        "usermemory worker --model openai:gpt-5-mini --concurrency 8 --daily-at 04:30",
        "usermemory worker --queue https://sqs.eu-central-1.amazonaws.com/123456789012/memory --publish redis://redis",
        "usermemory worker --once",
    )
)
@on_work
@host_option
@model_options
@click.option(
    "--concurrency",
    type=click.IntRange(1, 256),
    default=CONCURRENCY,
    help=f"Conversations and people at once.  [default: {CONCURRENCY}]",
)
@click.option(
    "--visibility",
    type=Duration(),
    metavar="TIME",
    default=timedelta(seconds=VISIBILITY),
    help=f"How long others wait for a worker that says nothing any more.  [default: {VISIBILITY:.0f}s]",
)
@click.option(
    "--attempts",
    type=click.IntRange(1, 100),
    default=ATTEMPTS,
    help=f"How often one thing is tried before it is dead.  [default: {ATTEMPTS}]",
)
@patience_option
@click.option(
    "--grace",
    type=Duration(),
    metavar="TIME",
    default=timedelta(seconds=GRACE),
    help=f"How long it finishes what it has begun when it is to stop.  [default: {GRACE:.0f}s]",
)
@click.option(
    "--daily-at",
    type=TimeOfDay(),
    metavar="HH:MM",
    default=DAILY_AT,
    help=f"When the daily job is due, in UTC.  [default: {DAILY_AT:%H:%M}]",
)
@click.option("--no-daily", is_flag=True, help="Leave the daily job to `usermemory daily` or the cron route.")
@click.option(
    "--conversations-every",
    type=Duration(),
    metavar="TIME",
    default=CONVERSATIONS_EVERY,
    help="How often to look for conversations that have ended; 0 is never.  [default: 10m]",
)
@click.option(
    "--publish",
    metavar="URL",
    envvar="USERMEMORY_PUBLISH",
    show_envvar=True,
    help="Who is told of changes: redis://..., a webhook at https://... (http:// on this machine alone), or `none` to"
    " write none down any more.",
)
@click.option(
    "--webhook-secret",
    metavar="SECRET",
    envvar="USERMEMORY_WEBHOOK_SECRET",
    show_envvar=True,
    help="What requests to a webhook are signed with; better in the environment.",
)
@click.option(
    "--upgrades",
    metavar="URL",
    envvar="USERMEMORY_UPGRADES",
    show_envvar=True,
    help="The redis://... on which people are said to be premium now; the time is kept as their item meta/upgradedAt.",
)
@click.option(
    "--organization",
    metavar="ID",
    default=DEFAULT_ORGANIZATION,
    help=f"Whose people --upgrades is about.  [default: {DEFAULT_ORGANIZATION}]",
)
@handler_option
@click.option("--once", "--drain", "once", is_flag=True, help="Do what is due and waits now, then end.")
def command(
    work: Work,
    model: Any,
    prices: Prices,
    concurrency: int,
    visibility: timedelta,
    attempts: int,
    patience: timedelta,
    grace: timedelta,
    daily_at: time,
    no_daily: bool,
    conversations_every: timedelta,
    publish: str | None,
    webhook_secret: str | None,
    upgrades: str | None,
    organization: str,
    handler: Handler | None,
    once: bool,
) -> None:
    """Do what waits: summarize conversations that ended, update people once a day.

    Takes messages from the queue, keeps the schedule, tries again what failed, and publishes changes. Any number of
    workers may run at once. SIGTERM or Ctrl-C lets it finish what it has begun; a second one ends it at once. On
    PostgreSQL it takes the worker's URL.

    With --once it prints what became of the jobs meanwhile, and, where changes are published, how many events wait. It
    ends with exit code 1 where jobs failed, whether or not they will be tried again.
    """
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="usermemory: %(message)s")
    relay = open_relay(work.memory.database, publish, webhook_secret)
    schedule = Schedule(
        work.upkeep,
        daily_at=None if no_daily else daily_at,
        conversations_every=conversations_every or None,
        clock=work.memory.database.clock,
    )
    worker = Worker(
        work.memory,
        work.queue,
        model=model,
        concurrency=concurrency,
        visibility=visibility.total_seconds(),
        attempts=attempts,
        patience=patience.total_seconds(),
        inactivity=work.upkeep.inactivity,
        grace=grace.total_seconds(),
        handler=handler,
        schedule=schedule,
        beside=[*([] if relay is None else [relay.run]), *_listening(work, upgrades, organization)],
        prices=prices,
    )
    began = work.memory.database.clock()
    if not once:
        work.screen.note("Working. Ctrl-C stops it.")
    try:
        until_signalled(_once(worker, schedule, relay) if once else worker.run, work.screen)
    finally:
        if relay is not None:
            relay.close()
    if once:
        _tell(work, count_jobs(work.memory.database, changed_since=began))


def _tell(work: Work, jobs: JobCounts) -> None:
    """Print what became of the jobs and what still waits, and end with exit code 1 where jobs failed."""
    left, failed = work.queue.waiting(), jobs.to_retry + jobs.dead
    said = f"Jobs: {jobs.done:,} done, {failed:,} failed. {left:,} {'message waits' if left == 1 else 'messages wait'}."
    events, lines = waiting_events(work.memory.database)
    work.screen.answer({"done": jobs.done, "failed": failed, "waiting": left, **events}, lambda: [said, *lines])
    if failed:
        click.get_current_context().exit(REFUSED)


def _listening(work: Work, url: str | None, organization: str) -> Iterator[Companion]:
    """Yield what listens to upgrades, where somebody says them."""
    if url is None:
        return
    try:
        from memory_tools.premium import PremiumSubscriber  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise InvalidInput("--upgrades needs Redis' client: pip install 'usermemory[redis]'") from error
    yield PremiumSubscriber(work.memory, url, organization=organization).run


def _once(worker: Worker, schedule: Schedule, relay: Relay | None) -> Callable[[threading.Event], None]:
    def do(until: threading.Event) -> None:
        schedule.tick()
        worker.drain(until)
        while relay is not None and not until.is_set() and relay.run_once(until):
            pass

    return do
