"""The worker: 300 jobs by three worker processes, one of them killed with -9 again and again; and what a job costs.

The model answers at once. People are updated (300 messages of `sql`), and conversations are summarized (one message
with 300 ids). Every effect must be there exactly once; what a job costs beyond the same work done directly, by as
many processes and threads and without queue, lease and record, has a bound. That is CPU of the workers, once they have
done something, and of PostgreSQL, with fsync off.
"""

import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import click

from benchmarks.alone import cpu_alone
from benchmarks.jobs import KINDS, WARMING, Conversations, Kind, Site, site_at
from benchmarks.measuring import Report
from benchmarks.over_http.places import Place, places
from benchmarks.working import AT_ONCE, VISIBILITY, Asked, Working
from memory_tools.memory import Memory
from memory_tools.upkeep import Upkeep
from storage.work.batches import Batch, get_batch
from storage.work.queues import open_queue

AT_MOST: Final = 5.0
"""Milliseconds of CPU that a job may cost beyond its work."""

WORKERS: Final = 3

KILL_AFTER: Final = (0.05, 0.4)
"""Seconds for which the one that is killed may work, once it is ready."""

DONE_WITHIN: Final = 300.0
"""Seconds after which what is not done counts as lost."""

POLLED_EVERY: Final = 0.1
"""Seconds between two looks at what has been done."""


def directly(place: Place, kind: Kind, jobs: int) -> float:
    """Do the work without workers and return the seconds of CPU."""
    return cpu_alone(place, site_at(place, jobs), kind.name, WORKERS)


@dataclass
class Ran:
    """What became of one batch."""

    site: Site
    batch: Batch
    kills: int
    in_vain: int
    """How much more often the model was asked than there are jobs."""

    cpu: float
    """Seconds of the workers, of PostgreSQL, and of opening the batch."""

    seconds: float
    waiting: int
    """Messages left in the queue."""


def by_workers(place: Place, kind: Kind, jobs: int, *, killing: bool) -> Ran:
    """Have three workers do it, and return what was seen."""
    site = site_at(place, jobs)
    working = Working(site.url, site.asked)
    with site.opened() as memory:
        queue = open_queue(None, memory.database)
        upkeep = Upkeep(memory, queue, inactivity=AT_ONCE)
        working.start(WORKERS)
        try:
            for batch in [kind.open(upkeep, organization) for organization in WARMING]:
                _wait(memory, batch)
            asked = site.asked.times
            before, began = working.cpu() + place.cpu(), time.monotonic()
            own = time.process_time()
            batch = kind.open(upkeep)
            own = time.process_time() - own
            assert batch.total == jobs
            kills = 0
            while killing and _waits(memory, batch) and time.monotonic() < began + DONE_WITHIN:
                time.sleep(random.uniform(*KILL_AFTER))
                working.kill()
                working.start()
                kills += 1
            _wait(memory, batch)
            cpu, took = working.cpu() + place.cpu() + own - before, time.monotonic() - began
            while queue.waiting() and time.monotonic() < began + took + 10 * VISIBILITY:
                time.sleep(POLLED_EVERY)  # a killed worker's message comes again, and is about nothing any more
        finally:
            working.stop()
        batch, in_vain = get_batch(memory.database, batch.id), site.asked.times - asked - jobs
        return Ran(site, batch, kills, in_vain, cpu, took, queue.waiting())


def _wait(memory: Memory, batch: Batch) -> None:
    """Wait until a batch is done, or counts as lost."""
    end = time.monotonic() + DONE_WITHIN
    while _waits(memory, batch) and time.monotonic() < end:
        time.sleep(POLLED_EVERY)


def _waits(memory: Memory, batch: Batch) -> bool:
    return get_batch(memory.database, batch.id).waiting > 0


def measure(place: Place, kind: Kind, report: Report, jobs: int, rounds: int) -> None:
    """Compare three workers with the work alone, in turns; then kill one of them again and again."""
    where = f"{place.name}, {kind.name}"
    alone, worked = [], []
    for _ in range(rounds):
        alone.append(1e3 * directly(place, kind, jobs) / jobs)
        ran = by_workers(place, kind, jobs, killing=False)
        check(report, f"{where}, nobody killed", kind, ran)
        worked.append(1e3 * ran.cpu / jobs)
    report.add(f"{where}: the work alone, CPU for each", median(alone), unit=" ms")
    report.add(f"{where}: by {WORKERS} workers, CPU for each", median(worked), unit=" ms")
    report.add(f"{where}: what a job costs beyond its work", median(worked) - median(alone), AT_MOST, " ms")
    report.add(f"{where}: jobs per second", jobs / ran.seconds, unit="/s")
    killed = by_workers(place, kind, jobs, killing=True)
    report.add(f"{where}, one killed: times", killed.kills, unit="")
    report.add(f"{where}, one killed: the model was asked in vain, times", killed.in_vain, unit="")
    report.add(f"{where}, one killed: seconds in all", killed.seconds, unit=" s")
    report.add(f"{where}, one killed: CPU for each, its starts too", 1e3 * killed.cpu / jobs, unit=" ms")
    check(report, f"{where}, one killed", kind, killed)


def check(report: Report, where: str, kind: Kind, ran: Ran) -> None:
    """Look at every effect, at the sums of the batch, and at what is left in the queue."""
    site, batch = ran.site, ran.batch
    with site.opened() as memory:
        effects = [kind.effects(memory, f"user-{number}", site.said(number)) for number in range(site.people)]
        dead = len(open_queue(None, memory.database).dead())
    report.add(f"{where}: effects lost", effects.count(0), 0, "")
    report.add(f"{where}: effects had more than once", sum(each > 1 for each in effects), 0, "")
    report.add(f"{where}: jobs not counted once as done", abs(site.people - batch.updated - batch.unchanged), 0, "")
    report.add(f"{where}: jobs that failed, messages dead or left", batch.failed + dead + ran.waiting, 0, "")
    if kind.name == Conversations.name:  # a document is kept before its job ends, and what is done again costs nothing
        report.add(f"{where}: tokens not counted once", abs(site.people - batch.input_tokens), 0, "")


def measure_redelivery(place: Place, kind: Kind, report: Report, times: int) -> None:
    """Kill a worker in whose hands the model hangs, and see how long it takes until another one has done the job."""
    took = []
    for _ in range(times):
        site = site_at(place, 1)
        hanging = Asked(site.asked.file, hangs=True)
        stuck, other = Working(site.url, hanging), Working(site.url, site.asked)
        with site.opened() as memory:
            stuck.start()
            batch = kind.open(Upkeep(memory, open_queue(None, memory.database), inactivity=AT_ONCE))
            while not site.asked.times:
                time.sleep(0.01)
            other.start()
            stuck.kill()
            began = time.monotonic()
            while _waits(memory, batch) and time.monotonic() < began + DONE_WITHIN:
                time.sleep(0.02)
            took.append(time.monotonic() - began)
            other.stop()
    where = f"{place.name}, {kind.name}: done after kill -9, visibility {VISIBILITY:g} s"
    report.add(f"{where}, median", median(took), unit=" s")
    report.add(f"{where}, longest", max(took), unit=" s")


@click.command()
@click.option("--jobs", default=300, help="Jobs of each run.")
@click.option("--rounds", default=3, help="Turns of the workers and the work alone.")
@click.option("--redeliveries", default=5, help="How often a worker is killed whose model hangs.")
@click.option("--json", "save_to", help="Write the figures to this file.")
def main(jobs: int, rounds: int, redeliveries: int, save_to: str | None) -> None:
    """Measure workers on the queue in the database itself."""
    report = Report("worker")
    with (
        tempfile.TemporaryDirectory(prefix="usermemory-bench-", ignore_cleanup_errors=True) as folder,
        places(Path(folder), durable=False) as where,
    ):
        for place in where:
            for kind in KINDS:
                measure(place, kind, report, jobs, rounds)
                measure_redelivery(place, kind, report, redeliveries)
    report.finish(save_to)


if __name__ == "__main__":
    main()
