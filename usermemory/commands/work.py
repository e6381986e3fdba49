"""Work: what the commands have in common that look after the work that waits: its database, its queue, its model."""

from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from typing import Any

import click

from memory_tools.host_imports import IMPORT_SECONDS
from memory_tools.memory import Memory
from memory_tools.upkeep import Upkeep
from storage.errors import UnsafeRole
from storage.settings import DatabaseSettings
from storage.work.eligible import INACTIVE_FOR
from storage.work.queue import Queue
from storage.work.queues import open_queue
from storage.work.unbound import require_workers_role
from usermemory.commands.durations import Duration
from usermemory.commands.hosts import opened_hosts
from usermemory.commands.options import default_database, json_option
from usermemory.commands.screen import Screen

SPARE = 8
"""Connections beside those of the things that a worker does at once: for queue, heartbeats, schedule and events."""

APPLICATIONS_URL = (
    "this is the application's URL, which opens one person's memory at a time: give the worker's, by --database or "
    "USERMEMORY_WORKER_DATABASE (postgresql://usermemory_worker:...)"
)


@dataclass(frozen=True)
class Work:
    """What is open while such a command runs."""

    memory: Memory
    queue: Queue
    upkeep: Upkeep
    screen: Screen


_database_option = click.option(
    "--database",
    metavar="URL",
    envvar=("USERMEMORY_WORKER_DATABASE", "USERMEMORY_DATABASE"),
    show_envvar=True,
    help="sqlite:///FILE, or postgresql://... of the worker.  [default: an SQLite file in your data folder]",
)

queue_option = click.option(
    "--queue",
    metavar="URL",
    envvar="USERMEMORY_QUEUE",
    show_envvar=True,
    help="`sql`, in the database, or the URL of an SQS queue.  [default: sql]",
)
"""Where the work waits; None is in the database."""

inactivity_option = click.option(
    "--inactivity",
    type=Duration(),
    metavar="TIME",
    envvar="USERMEMORY_INACTIVITY",
    show_envvar=True,
    default=INACTIVE_FOR,
    help="How long a conversation is quiet that counts as ended, such as 90m.  [default: 2h]",
)
"""When a conversation has ended, as a timedelta."""

dead_letters_option = click.option(
    "--dead-letters",
    metavar="URL",
    envvar="USERMEMORY_DEAD_LETTERS",
    show_envvar=True,
    help="The SQS queue of what was given up.  [default: the one of the redrive policy]",
)
"""Where dead letters go, where the queue is one of SQS."""


def on_workers_database(command: Callable[..., None]) -> Callable[..., None]:
    """Add `--database`, which is the worker's, and `--json`; the command is called with the URL and a Screen."""

    @wraps(command)
    def run(database: str | None, as_json: bool, **rest: Any) -> None:
        command(url=database or default_database(), screen=Screen(as_json), **rest)

    return _database_option(json_option(run))


def on_work(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of database and queue and `--json`; the command is called with a Work.

    Its options decide about the Work, too: `--concurrency` how many connections there are, `--host` who brings
    conversations, and without `--once` a command keeps a schedule, which must not wait for a host that hangs.
    """

    @json_option
    @wraps(command)
    def run(
        database: str | None,
        queue: str | None,
        dead_letters: str | None,
        inactivity: timedelta,
        as_json: bool,
        **rest: Any,
    ) -> None:
        hosts = opened_hosts(rest.pop("hosts", ()))
        waited = None if rest.get("once", True) else IMPORT_SECONDS
        with (
            _memory(database or default_database(), rest.get("concurrency", 0) + len(hosts)) as memory,
            closing(open_queue(queue, memory.database, dead_letters=dead_letters)) as opened,
        ):
            upkeep = Upkeep(memory, opened, inactivity=inactivity, hosts=hosts, import_seconds=waited)
            command(work=Work(memory, opened, upkeep, Screen(as_json)), **rest)

    for option in (inactivity_option, dead_letters_option, queue_option, _database_option):
        run = option(run)
    return run


@contextmanager
def _memory(url: str, at_once: int) -> Generator[Memory]:
    settings = DatabaseSettings(pool_size=max(DatabaseSettings().pool_size, at_once + SPARE))
    with Memory.open(url, settings=settings, through="worker") as memory:
        try:
            require_workers_role(memory.database)
        except UnsafeRole:
            raise UnsafeRole(APPLICATIONS_URL) from None
        yield memory
