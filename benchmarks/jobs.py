"""Jobs: 300 people of whom each said something, what finds the work, does it directly, and looks at what came of it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from benchmarks.over_http.places import Place
from benchmarks.working import AT_ONCE, WITHOUT_FSYNC, Asked, InstantDocuments, InstantRecaps
from graphs.recaps import recap_conversation
from graphs.update import build_update_graph
from memory_tools.memory import Memory
from memory_tools.upkeep import Upkeep
from storage.batches import Batch
from storage.eligible import Found, active_people, ended_conversations
from storage.errors import NotFound
from storage.transaction import utc_now

CONVERSATION: Final = "call-1"

MEASURED: Final = "default"
"""The organization whose people are counted."""

WARMING: Final = tuple(f"warming-{number}" for number in range(6))
"""Organizations whose people come first: so many messages, that no worker is left out."""

WARM: Final = 6
"""People in each of them."""


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
    def open(self, upkeep: Upkeep, organization: str = MEASURED) -> Batch:
        """Open a batch for everybody of an organization."""

    @abstractmethod
    def found(self, memory: Memory, organization: str = MEASURED) -> list[Found]:
        """Return about whom or what there is something to do."""

    @abstractmethod


KINDS: Final[tuple[Kind, ...]] = (People(), Conversations())
"""What is measured."""
