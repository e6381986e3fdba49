"""Batch lines: what the commands print of a batch, and how one is followed until it has ended."""

import sys
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import click

from memory_tools.answer import as_json
from storage.database import Database
from storage.json_types import Json
from storage.work.batches import Batch, get_batch
from storage.work.job_counts import is_untouched
from usermemory.commands.answers import moment
from usermemory.commands.screen import Screen
from usermemory.commands.visible import visible

LOOK_EVERY = 0.5
"""Seconds between two looks at a batch that is followed."""

UNTOUCHED_AFTER = 5.0
"""Seconds after which it is said that no worker has taken a batch that is followed."""

_WHAT = {"conversations": ("conversation", "conversations"), "daily": ("person", "people")}


def batch_as_json(batch: Batch) -> dict[str, Json]:
    """Return a batch as `--json` shows it."""
    return {**as_json(batch), "waiting": batch.waiting}


def title(batch: Batch) -> str:
    """Return one line that says what was begun when, and how far it is."""
    where = "" if batch.organization is None else f"  {visible(batch.organization)}"
    ended = batch.total - batch.waiting
    when = moment(batch.created_at)
    return f"{click.style(str(batch.id), bold=True)}  {batch.kind}{where}  {when}  {ended:,} of {batch.total:,}"


def summary(batch: Batch) -> Iterator[str]:
    """Yield what became of a batch."""
    one, many = _WHAT[batch.kind]
    counted = {
        "updated": batch.updated,
        "unchanged": batch.unchanged,
        "held": batch.held,
        "skipped": batch.skipped,
        "failed": batch.failed,
        "waiting": batch.waiting,
    }
    said = ", ".join(f"{number:,} {name}" for name, number in counted.items() if number) or "nothing to do"
    yield f"{batch.total:,} {one if batch.total == 1 else many}: {said}."
    if batch.input_tokens or batch.output_tokens:
        cost = f", at a cost of {_cost(batch.cost_micros)}" if batch.cost_micros else ""
        yield f"{batch.input_tokens:,} tokens in, {batch.output_tokens:,} out{cost}."


def _cost(micros: int) -> str:
    """Return millionths of a currency as people read them: two digits at least, and none that says nothing."""
    whole, _, part = f"{micros / 1_000_000:,.6f}".partition(".")
    return f"{whole}.{part.rstrip('0').ljust(2, '0')}"


class Followed:
    """A bar on stderr that grows with a batch; nothing at all where the answer is JSON."""

    def __init__(self, database: Database, batch: Batch, screen: Screen) -> None:
        self.batch = batch
        self._database = database
        self._screen = screen
        self._next = 0.0
        self._bar: Any = None
        if not screen.as_json and batch.total:
            label = _WHAT[batch.kind][1]
            self._bar = click.progressbar(length=batch.total, label=label, file=sys.stderr, show_pos=True)
            self._bar.render_progress()

    def look(self) -> Batch:
        """Read the batch again, unless that was done a moment ago, and let the bar grow."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + LOOK_EVERY
            self.batch = get_batch(self._database, self.batch.id)
            if self._bar is not None:
                self._bar.update(self.batch.total - self.batch.waiting - self._bar.pos)
        return self.batch

    def warn(self, text: str) -> None:
        """Say something below the bar, which goes on in the next line."""
        if self._bar is not None:
            click.echo(err=True)
            self._screen.note(text)

    def end(self) -> Batch:
        """Read the batch for the last time, and leave the bar as it is then."""
        self._next = 0.0
        batch = self.look()
        if self._bar is not None:
            self._bar.render_finish()
        return batch


def follow(database: Database, batch_id: UUID, screen: Screen) -> Batch:
    """Look on until the batch has finished, and return it. Ctrl-C ends the looking, and not the batch."""
    followed = Followed(database, get_batch(database, batch_id), screen)
    warn_at: float | None = time.monotonic() + UNTOUCHED_AFTER
    while followed.look().finished_at is None:
        if warn_at is not None and time.monotonic() >= warn_at:
            warn_at = None
            if is_untouched(database, batch_id):
                followed.warn("No worker has taken it yet: is one running? usermemory worker")
        time.sleep(LOOK_EVERY)
    return followed.end()
