"""Paying: jobs whose answers are paid for, what is on record of that, and a disk that takes no more."""

import re
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
import sqlalchemy as sa

from graphs.testing import Answer, said
from memory_tools.memory import UserMemory
from storage.database import Database
from storage.errors import NotFound
from storage.work.batches import Batch, get_batch
from storage.work.job_store import JobKind
from storage.work.jobs import Job, get_job
from tests.graphs.workers import QUIET, Workplace, conversation_id

TEA = '{"summary": "Tea."}'
"""What a model answers, at a price of 10 tokens in and 5 out."""


class Disk:
    """Refuses what is written to one table, as a full disk does, from the moment that it is full."""

    def __init__(self, database: Database, table: str) -> None:
        self.full = False
        self.refused = 0
        self.limit = 1_000
        """How often it refuses at the most."""

        self._writes = re.compile(rf"(INSERT INTO|UPDATE) (\w+\.)?{table}\b")
        self.error: type[Exception] = psycopg.errors.DiskFull if database.on_postgresql else sqlite3.OperationalError

    def look(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if self.full and self.refused < self.limit and self._writes.match(statement):
            self.refused += 1
            error = self.error("no")
            if isinstance(error, sqlite3.OperationalError):
                error.sqlite_errorname = "SQLITE_FULL"
            raise error

    def fill(self, _: Any = None) -> Answer:
        """Be full, and let a model answer only then."""
        self.full = True
        return said(TEA)


@contextmanager
def disk(works: Workplace, table: str) -> Generator[Disk]:
    engine, found = works.memory.database.engine, Disk(works.memory.database, table)
    sa.event.listen(engine, "before_cursor_execute", found.look)
    yield found
    sa.event.remove(engine, "before_cursor_execute", found.look)


def begun(works: Workplace, kind: JobKind, *said_by_ada: str) -> tuple[UserMemory, UUID, Batch]:
    """Begin a job about ada; her memory, what the job is about and its batch come back."""
    person = works.say("ada", *(said_by_ada or ("I drink tea.",)))
    works.clock.move(QUIET)
    batch = works.upkeep.daily() if kind == "person" else works.upkeep.conversations_ended()
    assert batch is not None
    with person.read() as stores:
        subject = stores.owners[0] if kind == "person" else conversation_id(person)
    return person, subject, batch


def job(works: Workplace, kind: JobKind, subject: UUID) -> Job:
    return get_job(works.memory.database, kind, subject)


def paid_for(works: Workplace, batch: Batch) -> tuple[int, int, int]:
    found = get_batch(works.memory.database, batch.id)
    return found.input_tokens, found.output_tokens, found.cost_micros


def remembered(person: UserMemory, kind: JobKind) -> Any:
    if kind == "person":
        return person.document.current().document.get("summary")
    try:
        return person.conversation_memories.get("call-1").data["summary"]
    except NotFound:
        return None
