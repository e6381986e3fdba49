"""Backlog: what it takes to begin and end one job with 300 people waiting behind it, and with 100,000.

One batch is opened for all. Then messages are received, and jobs leased, finished and acknowledged, one by one. On
PostgreSQL messages are received once more where the queue has grown since its rows were last counted as a few.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Final
from uuid import UUID, uuid4

import click
import sqlalchemy as sa

from benchmarks.measuring import Report
from benchmarks.over_http.places import Place, places
from benchmarks.working import WITHOUT_FSYNC
from memory_tools.memory import Memory
from memory_tools.upkeep import Upkeep
from storage.database import Database
from storage.tables import owners, queue_messages
from storage.transaction import utc_now
from storage.work.job_store import Lease
from storage.work.leases import lease
from storage.work.queues import open_queue
from tests.contents import administrators_engine

FEW: Final = 300

AT_MOST: Final = 2.0
"""How many times longer anything may take with many people than with few."""

LEFT: Final = 3
"""Messages that are there while the rows are counted."""


def timed(act: Callable[[], object]) -> float:
    """Return the milliseconds that something takes."""
    began = time.perf_counter()
    act()
    return 1e3 * (time.perf_counter() - began)


class Backlog:
    """A database in which so many people wait to be updated."""

    def __init__(self, place: Place, people: int, memory: Memory, administrator: sa.Engine) -> None:
        self.name = f"{place.name}, {people:,} people"
        self.database: Database = memory.database
        self.queue = open_queue(None, memory.database)
        self.upkeep = Upkeep(memory, self.queue)
        self.administrator = administrator
        now = utc_now()
        rows = [{"id": each, "survivor_id": each} for each in (uuid4() for _ in range(people))]
        known = {"organization_id": "default", "created_at": now, "last_active_at": now}
        with administrator.begin() as connection:
            connection.execute(sa.insert(owners), [row | known for row in rows])
        self.opened = timed(self.upkeep.daily)

    def steps(self, times: int) -> dict[str, float]:
        """Return the milliseconds of each step of a job, in the median."""
        took: dict[str, list[float]] = {"receive": [], "lease": [], "finish": [], "acknowledge": []}
        for _ in range(times):
            began = time.perf_counter()
            [delivery] = self.queue.receive(limit=1)
            took["receive"].append(1e3 * (time.perf_counter() - began))
            began = time.perf_counter()
            held = lease(self.database, "person", UUID(str(delivery.body["owner_id"])), seconds=60)
            took["lease"].append(1e3 * (time.perf_counter() - began))
            assert isinstance(held, Lease)
            took["finish"].append(timed(lambda held=held: self._finish(held)))  # type: ignore[misc]
            took["acknowledge"].append(timed(lambda it=delivery: self.queue.acknowledge(it)))  # type: ignore[misc]
        return {name: median(each) for name, each in took.items()}

    def miscount(self) -> None:
        """Have PostgreSQL count the rows while few are there, before as many as before come again."""
        newest = sa.select(sa.func.max(queue_messages.c.id)).scalar_subquery()
        with self.administrator.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(sa.delete(queue_messages).where(queue_messages.c.id <= newest - LEFT))
            connection.exec_driver_sql("VACUUM ANALYZE usermemory.queue_messages")
        self.upkeep.daily()

    def receives(self, times: int) -> float:
        """Return the milliseconds of receiving one message, in the median."""
        return median(timed(lambda: self.queue.receive(limit=1)) for _ in range(times))

    def _finish(self, held: Lease) -> None:
        with self.database.begin(held.owner) as stores:
            stores.jobs.finish(held, "unchanged")


def measure(place: Place, report: Report, sizes: Sequence[int], times: int) -> None:
    """Take the same steps with few and with many, in one run."""
    with ExitStack() as opened:
        backlogs = []
        for people in sizes:
            url = place.empty()
            memory = opened.enter_context(Memory.open(place.workers(url), settings=WITHOUT_FSYNC))
            administrators = administrators_engine(url.replace("usermemory_app@", "postgres@"))
            backlogs.append(Backlog(place, people, memory, administrators))
        steps = [each.steps(times) for each in backlogs]
        for backlog, took in zip(backlogs, steps, strict=True):
            report.add(f"{backlog.name}: opening the batch", backlog.opened / 1e3, unit=" s")
            for step, value in took.items():
                report.add(f"{backlog.name}: {step}", value, unit=" ms")
        for step in steps[0]:
            report.add(f"{place.name}: {step}, many / few", steps[1][step] / steps[0][step], AT_MOST)
        if place.cluster is not None:
            for backlog in backlogs:
                backlog.miscount()
                report.add(f"{backlog.name}: receive, counted as {LEFT}", backlog.receives(times), unit=" ms")


@click.command()
@click.option("--people", default=100_000, help="Many people.")
@click.option("--times", default=50, help="Messages received, and jobs done, of each.")
@click.option("--json", "save_to", help="Write the figures to this file.")
def main(people: int, times: int, save_to: str | None) -> None:
    """Measure the queue in the database itself."""
    report = Report("backlog")
    with (
        tempfile.TemporaryDirectory(prefix="usermemory-bench-", ignore_cleanup_errors=True) as folder,
        places(Path(folder), durable=False) as where,
    ):
        for place in where:
            measure(place, report, (FEW, people), times)
    report.finish(save_to)


if __name__ == "__main__":
    main()
