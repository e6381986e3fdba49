"""Work: what the commands have in common that look after the work that waits: its database, its queue, its model."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import wraps
from typing import Any

import click

from memory_tools.memory import Memory
from memory_tools.upkeep import Upkeep
from storage.errors import UnsafeRole
from storage.settings import DatabaseSettings
from storage.work.eligible import INACTIVE_FOR
from storage.work.queue import Queue
from storage.work.queues import open_queue
from storage.work.sql_queue import SqlQueue
from storage.work.unbound import require_workers_role
from usermemory.commands.durations import Duration
from usermemory.commands.options import default_database, json_option
from usermemory.commands.screen import Screen

SPARE = 6
"""Connections beside those of the things that a worker does at once: for its queue, its heartbeat and its schedule."""

DRAINING_WAIT = 1.0
"""Seconds for which an SQS queue has to give nothing until it counts as worked off."""

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

    @property
    def draining_wait(self) -> float:
        """For how many seconds an empty queue is listened to until it counts as worked off."""
        return 0.0 if isinstance(self.queue, SqlQueue) else DRAINING_WAIT


_database_option = click.option(
    "--database",
    metavar="URL",
    envvar=("USERMEMORY_WORKER_DATABASE", "USERMEMORY_DATABASE"),
    show_envvar=True,
    help="sqlite:///FILE, or postgresql://... of the worker.  [default: an SQLite file in your data folder]",
)

_OPTIONS = (
    _database_option,
    click.option(
        "--queue",
        metavar="URL",
        envvar="USERMEMORY_QUEUE",
        show_envvar=True,
        help="`sql`, in the database, or the URL of an SQS queue.  [default: sql]",
    ),
    click.option(
        "--dead-letters",
        metavar="URL",
        envvar="USERMEMORY_DEAD_LETTERS",
        show_envvar=True,
        help="The SQS queue of what was given up.  [default: the one of the redrive policy]",
    ),
    click.option(
        "--inactivity",
        type=Duration(),
        metavar="TIME",
        envvar="USERMEMORY_INACTIVITY",
        show_envvar=True,
        default=INACTIVE_FOR,
        help="How long a conversation is quiet that counts as ended, such as 90m.  [default: 2h]",
    ),
)


def on_workers_database(command: Callable[..., None]) -> Callable[..., None]:
    """Add `--database`, which is the worker's, and `--json`; the command is called with the URL and a Screen."""

    @wraps(command)
    def run(database: str | None, as_json: bool, **rest: Any) -> None:
        command(url=database or default_database(), screen=Screen(as_json), **rest)

    return _database_option(json_option(run))


def on_work(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of database and queue and `--json`; the command is called with a Work."""

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
        settings = DatabaseSettings(pool_size=max(DatabaseSettings().pool_size, rest.get("concurrency", 0) + SPARE))
        with _opened(database or default_database(), settings, queue, dead_letters, inactivity, as_json) as work:
            command(work=work, **rest)

    for option in reversed(_OPTIONS):
        run = option(run)
    return run


@contextmanager
def _opened(
    url: str,
    settings: DatabaseSettings,
    queue: str | None,
    dead_letters: str | None,
    inactivity: timedelta,
    as_json: bool,
) -> Generator[Work]:
    with Memory.open(url, settings=settings, through="worker") as memory:
        try:
            require_workers_role(memory.database)
        except UnsafeRole:
            raise UnsafeRole(APPLICATIONS_URL) from None
        opened = open_queue(queue, memory.database, dead_letters=dead_letters)
        try:
            yield Work(memory, opened, Upkeep(memory, opened, inactivity=inactivity), Screen(as_json))
        finally:
            opened.close()
