"""Writers: many at once on one person and on many, durable, against what PostgreSQL does with the bare statement.

Each writer is a process. On PostgreSQL ours and the bare statement (compare-and-set of the head and the log row in
one statement, no diff, no row security, no guard) take turns. On SQLite nothing may be lost and no writer may ever
see "database is locked".
"""

import multiprocessing
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import click
import psycopg

from benchmarks.documents import document_of
from benchmarks.measuring import Report
from benchmarks.places import Place, postgresql_place, sqlite_place
from memory_tools import Memory
from storage.directory import find
from storage.identity import Identity
from storage.last_seen import LastSeen
from storage.settings import DatabaseSettings

BARE_TABLES = """
CREATE TABLE IF NOT EXISTS heads (owner_id int PRIMARY KEY, version bigint NOT NULL, document text NOT NULL);
CREATE TABLE IF NOT EXISTS snapshots (
  owner_id int, version bigint, patch text NOT NULL, PRIMARY KEY (owner_id, version));
ALTER TABLE heads ALTER COLUMN document SET STORAGE EXTERNAL;
"""

BARE_APPEND = """
WITH head AS (
  UPDATE heads SET version = version + 1, document = %s WHERE owner_id = %s RETURNING owner_id, version)
INSERT INTO snapshots (owner_id, version, patch) SELECT owner_id, version, %s FROM head RETURNING version
"""


def our_writer(url: str, writer: int, people: int, seconds: float, start: Any, done: Any) -> None:
    """Append one fact after the other to one person after the other until the time is up."""
    with Memory.open(url, settings=DatabaseSettings(pool_size=1)) as memory:
        retries = count_retries()
        bound = [memory.of(user=f"person-{people}-{number}") for number in range(people)]
        start.wait()
        end, appended = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            person = bound[(writer * 7 + appended) % people]
            fact = {"fact": f"{writer} {appended} {time.monotonic_ns()}"}
            person.document.append([{"op": "add", "path": f"/parts/writer-{writer}", "value": fact}])
            appended += 1
        done.put((appended, retries()))


def count_retries() -> Callable[[], int]:
    """Return a function that says how many saves of this process were tried again."""
    retried = [0]
    for name in ("guessed_wrong", "race_lost"):
        noted = getattr(LastSeen, name)

        def counting(last_seen: LastSeen, noted: Callable[[LastSeen], None] = noted) -> None:
            retried[0] += 1
            noted(last_seen)

        setattr(LastSeen, name, counting)
    return lambda: retried[0]


def bare_writer(url: str, writer: int, people: int, seconds: float, start: Any, done: Any) -> None:
    """Run the bare statement until the time is up."""
    document = "x" * 2_600
    with psycopg.connect(url, autocommit=True) as connection:
        start.wait()
        end, appended = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            person = (writer * 7 + appended) % people
            connection.execute(BARE_APPEND, (document, person, '[{"op":"add"}]'))
            appended += 1
        done.put((appended, 0))


BOUND_APPEND = """
WITH head AS (
  UPDATE usermemory.heads SET version = version + 1, document = %s, updated_at = now()
  WHERE owner_id = usermemory.bound_owner() RETURNING owner_id, version)
INSERT INTO usermemory.snapshots (owner_id, version, patch, provenance, created_at)
  SELECT owner_id, version, %s, '{"actor":"user","through":"bare","trust":"user"}', now() FROM head
"""


def bound_writer(url: str, writer: int, people: int, seconds: float, start: Any, done: Any) -> None:
    """Run the same statement on our tables: bound, with row security and foreign keys, in a transaction."""
    document = "x" * 2_600
    with Memory.open(url, settings=DatabaseSettings(pool_size=1)) as memory:
        owners = [find_owner(memory, f"bare-{people}-{number}") for number in range(people)]
    with psycopg.connect(url, autocommit=True) as connection:
        start.wait()
        end, appended = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            person = owners[(writer * 7 + appended) % people]
            with connection.transaction():
                connection.execute("SELECT usermemory.bind_to_write(%s)", (person,))
                connection.execute(BOUND_APPEND, (document, '[{"op":"add"}]'))
            appended += 1
        done.put((appended, 0))


def find_owner(memory: Memory, user: str) -> UUID:
    """Return the stored id of a person who is known."""
    found = find(memory.database, Identity.of(user=user))
    assert found is not None
    return found.owner


def run(writer: Callable[..., None], url: str, people: int, seconds: float, writers: int = 8) -> tuple[float, int, int]:
    """Let the writers work at once; return appends per second, appends, and retries."""
    context = multiprocessing.get_context("spawn")
    start, done = context.Barrier(writers + 1), context.Queue()
    processes = [
        context.Process(target=writer, args=(url, number, people, seconds, start, done)) for number in range(writers)
    ]
    for process in processes:
        process.start()
    start.wait()
    began = time.monotonic()
    results = [done.get(timeout=seconds + 60) for _ in processes]
    elapsed = time.monotonic() - began
    for process in processes:
        process.join()
    appended = sum(count for count, _ in results)
    return appended / elapsed, appended, sum(retries for _, retries in results)


def on_postgresql(place: Place, report: Report, seconds: float, rounds: int) -> None:
    """Ours and the bare statement in turns, on one person and over 50."""
    place.plain.execute(BARE_TABLES)
    bare_url = place.plain.info.dsn
    place.plain.execute("INSERT INTO heads SELECT n, 0, '' FROM generate_series(0, 49) n")
    for people in (1, 50):
        ours, bare, bound, appended, retried = [], [], [], 0, 0
        for number in range(people):
            place.memory.of(user=f"person-{people}-{number}").document.append({**document_of(2_000)})
            place.memory.of(user=f"bare-{people}-{number}").document.append({**document_of(2_000)})
        for _ in range(rounds):
            rate, count, retries = run(our_writer, place.url, people, seconds)
            ours.append(rate)
            appended, retried = appended + count, retried + retries
            bare.append(run(bare_writer, bare_url, people, seconds)[0])
            bound.append(run(bound_writer, place.url, people, seconds)[0])
        kept = sum(
            place.memory.of(user=f"person-{people}-{number}").document.current().version - 1 for number in range(people)
        )
        where = "one person" if people == 1 else f"{people} people"
        report.add(f"PostgreSQL, 8 writers, {where}: appends per second", max(ours), unit="/s")
        report.add(f"PostgreSQL, 8 writers, {where}: the bare statement", max(bare), unit="/s")
        report.add(f"PostgreSQL, 8 writers, {where}: the same statement, bound on our tables", max(bound), unit="/s")
        of_bound = sorted(bound)[len(bound) // 2] / sorted(ours)[len(ours) // 2]
        report.add(f"PostgreSQL, 8 writers, {where}: the bound statement / ours", of_bound)
        share = sorted(bare)[len(bare) // 2] / sorted(ours)[len(ours) // 2]
        report.add(f"PostgreSQL, 8 writers, {where}: bare / ours", share, 1 / 0.6)
        report.add(f"PostgreSQL, 8 writers, {where}: retries per append", retried / appended, 1)
        report.add(f"PostgreSQL, 8 writers, {where}: acknowledged and lost", appended - kept, 0, "")


def on_sqlite(place: Place, report: Report, seconds: float) -> None:
    """Eight processes on one file: all is kept, and nobody is told that the database is locked."""
    for people in (1, 50):
        for number in range(people):
            place.memory.of(user=f"person-{people}-{number}").document.append({**document_of(2_000)})
        rate, appended, _ = run(our_writer, place.url, people, seconds)
        kept = sum(
            place.memory.of(user=f"person-{people}-{number}").document.current().version - 1 for number in range(people)
        )
        where = "one person" if people == 1 else f"{people} people"
        report.add(f"SQLite, 8 processes, {where}: appends per second", rate, unit="/s")
        report.add(f"SQLite, 8 processes, {where}: acknowledged and lost", appended - kept, 0, "")


@click.command()
@click.option("--seconds", default=4.0, help="How long each run lasts.")
@click.option("--rounds", default=3, help="Turns of ours and the bare statement.")
@click.option("--json", "save_to", help="Write the figures to this file.")
def main(seconds: float, rounds: int, save_to: str | None) -> None:
    """Measure concurrent durable writers."""
    report = Report("writers")
    with postgresql_place(durable=True) as place:
        on_postgresql(place, report, seconds, rounds)
    with sqlite_place(durable=True) as place:
        on_sqlite(place, report, seconds)
    report.finish(save_to)


if __name__ == "__main__":
    main()
