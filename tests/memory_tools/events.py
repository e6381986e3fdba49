"""Events for tests: somebody whose memory changes, and somebody who is told."""

import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from memory_tools.publisher import PublishFailed
from storage import outbox
from storage.database import Database
from storage.outbox import Event

PATIENCE = 30.0
"""Seconds for what should take none, on a busy machine."""


class Told:
    """Whoever is told of events, and does not hear those that `refuses` refuses."""

    def __init__(self, refuses: Callable[[Event], bool] = lambda _: False) -> None:
        self.events: list[Event] = []
        self.refuses = refuses
        self.closed = False

    def publish(self, event: Event) -> None:
        if self.refuses(event):
            raise PublishFailed("it was not heard")
        self.events.append(event)

    def close(self) -> None:
        self.closed = True


def eventually(look: Callable[[], bool]) -> None:
    """Wait until it is so."""
    waiting = threading.Event()
    for _ in range(int(PATIENCE / 0.02)):
        if look():
            return
        waiting.wait(0.02)
    pytest.fail("it never came to be")


def change(database: Database, owner: UUID, value: Any) -> None:
    """Change one item of the person: one event."""
    with database.begin(owner) as stores:
        stores.items.set("prefs", "tone", value)


def changes(database: Database, published: Database, owner: UUID, count: int) -> list[int]:
    """Change the person's memory so many times, while changes are written down; return the ids of the events."""
    outbox.enable(published)
    before = {event.id for event in outbox.take(published, 1_000)}
    for number in range(count):
        change(database, owner, number)
    return [event.id for event in outbox.take(published, 1_000) if event.id not in before]
