"""What tests of the worker share: people who said something, and a look at what became of it."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeAlias
from uuid import UUID

from graphs.work.worker import Worker
from memory_tools.memory import Memory, UserMemory
from memory_tools.upkeep import Upkeep
from storage.json_types import Document, Json
from storage.work.jobs import Job, get_job
from storage.work.sql_queue import SqlQueue
from tests.clock import Clock

RECAP: Document = {"summary": "Ada moves to Bonn."}
"""What a scripted model makes of a conversation."""

QUIET = timedelta(hours=3).total_seconds()
"""Seconds after which every conversation has ended."""

SECONDS = 30
"""Nothing here takes so long: who waits longer has met a fault."""

Running: TypeAlias = Callable[[Worker], tuple[threading.Thread, threading.Event]]
"""Lets a worker run: its thread comes back, and what tells it to stop."""


@dataclass
class Workplace:
    """A database with a clock that the test moves: the application's door to it, the worker's, and their queue."""

    app: Memory
    memory: Memory
    clock: Clock
    queue: SqlQueue = field(init=False)
    upkeep: Upkeep = field(init=False)

    def __post_init__(self) -> None:
        self.queue = SqlQueue(self.memory.database)
        self.upkeep = Upkeep(self.memory, self.queue)

    def worker(self, **options: Any) -> Worker:
        """Return a worker that hardly waits for an empty queue."""
        return Worker(self.memory, self.queue, **{"wait": 0.05, **options})

    def say(self, user: str, *said: str, conversation: str = "call-1") -> UserMemory:
        """Let somebody say something; their memory comes back."""
        person = self.app.of(user=user)
        person.conversations.append(conversation, [{"role": "user", "content": text} for text in said])
        return person

    def ended(self, *users: str) -> list[UUID]:
        """Return the ids of a conversation of each, which has ended."""
        ids = [conversation_id(self.say(user, f"I am {user}.")) for user in users]
        self.clock.move(QUIET)
        return ids

    def job(self, conversation: UUID) -> Job:
        """Return what is on record about the job of a conversation."""
        return get_job(self.memory.database, "conversation", conversation)


def conversation_id(person: UserMemory, name: str = "call-1") -> UUID:
    """Return the id of a conversation."""
    return next(each.id for each in person.conversations.all().entries if each.name == name)


def memory_of(person: UserMemory, conversation: str = "call-1") -> Any:
    """Return what is remembered of a conversation."""
    with person.read() as stores:
        return stores.conversation_memories.get(conversation).data


def batch_of(ids: Sequence[UUID]) -> dict[str, Json]:
    """Return the message of seed 003."""
    return {"task_type": "GENERATE_MEMORY_BATCH", "conversation_ids": [str(each) for each in ids]}
