"""The worker: 300 jobs by three worker processes, of which one is killed with -9 again and again; and what a job costs.

The model answers at once. People are updated (300 messages of `sql`), and conversations are summarized (one message with
300 ids). Every effect must be there exactly once; what a job costs beyond the same work done directly, in one process
and without queue, lease and record, has a bound. That is CPU of the workers and of PostgreSQL with fsync off.
"""

import random
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any, Final

import click

from benchmarks.measuring import Report
from benchmarks.over_http.places import Place, places
from benchmarks.working import AT_ONCE, VISIBILITY, WITHOUT_FSYNC, Asked, InstantDocuments, InstantRecaps, Working
from graphs.recaps import recap_conversation
from graphs.update import build_update_graph
from memory_tools.memory import Memory
from memory_tools.upkeep import Upkeep
from storage.batches import Batch, get_batch
from storage.eligible import Found, active_people, ended_conversations
from storage.errors import NotFound
from storage.queue import open_queue
from storage.transaction import utc_now

AT_MOST: Final = 5.0
"""Milliseconds of CPU that a job may cost beyond its work."""

WORKERS: Final = 3

KILL_AFTER: Final = (0.05, 0.4)
"""Seconds for which the one that is killed may work, once it is ready."""

DONE_WITHIN: Final = 300.0
"""Seconds after which what is not done counts as lost."""

POLLED_EVERY: Final = 0.1
"""Seconds between two looks at what has been done."""

CONVERSATION: Final = "call-1"


@dataclass
class Site:
    """One database in which so many people have each said something."""

    url: str
    asked: Asked
    people: int

    def said(self, number: int) -> str:
        """Return what one of them said."""
        return f"I am number {number} and I have moved to Bonn."

    @contextmanager
    def opened(self) -> Generator[Memory]:
        """Open it as the worker does."""
        with Memory.open(self.url, settings=WITHOUT_FSYNC) as memory:
            yield memory


class Kind(ABC):
    """One kind of job: what finds it, the same work done directly, and what has to be there afterwards."""

    name: str

    @abstractmethod
    def open(self, upkeep: Upkeep) -> Batch | None:
        """Open a batch for everybody."""

    @abstractmethod
    def found(self, memory: Memory) -> list[Found]:
        """Return about whom or what there is something to do."""

    @abstractmethod
    def directly(self, memory: Memory, asked: Asked) -> Callable[[Found], None]:
        """Return what does one job without queue, lease and record."""

    @abstractmethod
    def effects(self, memory: Memory, user: str, said: str) -> int:
        """Return how often a job had its effect on somebody; 0 too where it is not the right one."""


class People(Kind):
    """UPDATE_MEMORY for each person."""

    name = "people"

    def open(self, upkeep: Upkeep) -> Batch | None:
        """Open a daily batch."""
        return upkeep.daily()

    def found(self, memory: Memory) -> list[Found]:
        """Return who was active."""
        return active_people(memory.database, since=utc_now() - timedelta(days=1))

    def directly(self, memory: Memory, asked: Asked) -> Callable[[Found], None]:
        """Run the loop on its own; the graph is built once, as the worker does."""
        graph = build_update_graph(memory, summarizer=InstantDocuments(asked))

        def do(found: Found) -> None:
            context: Any = memory.of_owner(found.owner, found.organization)
            graph.invoke({"messages": [], "conversation": None}, context=context)

        return do

    def effects(self, memory: Memory, user: str, said: str) -> int:
        """Return the versions of the document."""
        current = memory.of(user=user).document.current()
        return current.version if current.document.get("summary") == said else 0


class Conversations(Kind):
    """GENERATE_MEMORY_BATCH with all conversations."""

    name = "conversations"

    def open(self, upkeep: Upkeep) -> Batch | None:
        """Open a batch of those that have ended: all."""
        return upkeep.conversations_ended()

    def found(self, memory: Memory) -> list[Found]:
        """Return the conversations."""
        return ended_conversations(memory.database, inactive_for=AT_ONCE)

    def directly(self, memory: Memory, asked: Asked) -> Callable[[Found], None]:
        """Summarize and keep it."""
        recaps = InstantRecaps(asked)

        def do(found: Found) -> None:
            person = memory.of_owner(found.owner, found.organization)
            with person.read() as stores:
                name = stores.conversations.by_id(found.id).name
            recap = recap_conversation(person, name, recaps)
            assert recap is not None
            with person.begin() as stores:
                stores.conversation_memories.set(
                    name, recap.data, message_count=recap.message_count, provenance=recap.provenance
                )

        return do

    def effects(self, memory: Memory, user: str, said: str) -> int:
        """Return whether the memory was kept, and 2 where it was written over."""
        try:
            kept = memory.of(user=user).conversation_memories.get(CONVERSATION)
        except NotFound:
            return 0
        if kept.data.get("summary") != said:
            return 0
        return 1 if kept.created_at == kept.updated_at else 2


def site_at(place: Place, people: int) -> Site:
    """Return a new database in which each person said one thing."""
    url = place.empty()
    site = Site(place.workers(url), Asked(place.folder / f"asked-{place.made}"), people)
    with Memory.open(url, settings=WITHOUT_FSYNC) as memory:
        for number in range(people):
            said = [{"role": "user", "content": site.said(number)}]
            memory.of(user=f"user-{number}").conversations.append(CONVERSATION, said)
    return site


def directly(place: Place, kind: Kind, jobs: int) -> float:
    """Do the work in this process and return the seconds of CPU."""
    site = site_at(place, jobs)
    with site.opened() as memory:
        do, found = kind.directly(memory, site.asked), kind.found(memory)
        assert len(found) == jobs
        before = time.process_time() + place.cpu()
        for each in found:
            do(each)
        return time.process_time() + place.cpu() - before


@dataclass
class Ran:
    """What became of one batch."""

    site: Site
    batch: Batch
    kills: int
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
            before, began = working.cpu() + place.cpu(), time.monotonic()
            own = time.process_time()
            opened = kind.open(upkeep)
            own = time.process_time() - own
            assert opened is not None
            assert opened.total == jobs
            kills = 0
            while _waits(memory, opened) and time.monotonic() < began + DONE_WITHIN:
                if killing:
                    time.sleep(random.uniform(*KILL_AFTER))
                    working.kill()
                    working.start()
                    kills += 1
                else:
                    time.sleep(POLLED_EVERY)
            cpu, took = working.cpu() + place.cpu() + own - before, time.monotonic() - began
            while queue.waiting() and time.monotonic() < began + took + 10 * VISIBILITY:
                time.sleep(POLLED_EVERY)  # a killed worker's message comes again, and is about nothing any more
        finally:
            working.stop()
        return Ran(site, get_batch(memory.database, opened.id), kills, cpu, took, queue.waiting())


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
    report.add(f"{where}, one killed: the model was asked in vain, times", killed.site.asked.times - jobs, unit="")
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
            opened = kind.open(Upkeep(memory, open_queue(None, memory.database), inactivity=AT_ONCE))
            assert opened is not None
            while not site.asked.times:
                time.sleep(0.01)
            other.start()
            stuck.kill()
            began = time.monotonic()
            while _waits(memory, opened) and time.monotonic() < began + DONE_WITHIN:
                time.sleep(0.02)
            took.append(time.monotonic() - began)
            other.stop()
    where = f"{place.name}, {kind.name}: done after kill -9, visibility {VISIBILITY:g} s"
    report.add(f"{where}, median", median(took), unit=" s")
    report.add(f"{where}, longest", max(took), unit=" s")


KINDS: Final[Sequence[Kind]] = (People(), Conversations())


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
