"""What tests of the upkeep share: people who talk, jobs that fail, and a look at what was sent."""

from uuid import UUID

from memory_tools.memory import Memory
from storage.conversations import NewMessage
from storage.database import Database
from storage.directory import resolve
from storage.identity import Identity
from storage.json_types import Json
from storage.work.job_store import Lease
from storage.work.jobs import fail
from storage.work.queue import Queue


def talk(memory: Memory, user: str, name: str = "call-1", organization: str = "default") -> UUID:
    """Say something now, and return the id of the conversation."""
    person = memory.of(user=user, organization=organization)
    person.conversations.append(name, [NewMessage("user", "x")])
    return next(each.id for each in person.conversations.all().entries if each.name == name)


def taken(queue: Queue) -> list[dict[str, Json]]:
    """Take everything out of the queue."""
    bodies = []
    while deliveries := queue.receive(limit=10):
        for delivery in deliveries:
            bodies.append(delivery.body)
            queue.acknowledge(delivery)
    return bodies


def owner_of(memory: Memory, user: str, organization: str = "default") -> UUID:
    """Return the owner of somebody's memory."""
    return resolve(memory.database, Identity.of(user=user, organization=organization)).owner


def fail_at(database: Database, held: object) -> None:
    """Let the job that is held fail now."""
    assert isinstance(held, Lease)
    assert fail(database, held, "timed_out") is not None
