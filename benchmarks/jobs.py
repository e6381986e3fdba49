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
from storage.errors import NotFound
from storage.transaction import utc_now
from storage.work.batches import Batch
from storage.work.eligible import Subject, active_people, ended_conversations

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
    def found(self, memory: Memory, organization: str = MEASURED) -> list[Subject]:
        """Return about whom or what there is something to do."""

    @abstractmethod
    def directly(self, memory: Memory, asked: Asked) -> Callable[[Subject], None]:
        """Return what does one job without queue, lease and record."""

    @abstractmethod
    def effects(self, memory: Memory, user: str, said: str) -> int:
        """Return how often a job had its effect on somebody; 0 too where it is not the right one."""


class People(Kind):
    """UPDATE_MEMORY for each person."""

    name = "people"

    def open(self, upkeep: Upkeep, organization: str = MEASURED) -> Batch:
        """Open a daily batch."""
        return opened(upkeep.daily(organization=organization))

    def found(self, memory: Memory, organization: str = MEASURED) -> list[Subject]:
        """Return who was active."""
        return active_people(memory.database, since=utc_now() - timedelta(days=1), organization=organization)

    def directly(self, memory: Memory, asked: Asked) -> Callable[[Subject], None]:
        """Run the loop on its own; the graph is built once, as the worker does."""
        graph = build_update_graph(memory, summarizer=InstantDocuments(asked))

        def do(found: Subject) -> None:
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

    def open(self, upkeep: Upkeep, organization: str = MEASURED) -> Batch:
        """Open a batch of those that have ended: all."""
        return opened(upkeep.conversations_ended(organization))

    def found(self, memory: Memory, organization: str = MEASURED) -> list[Subject]:
        """Return the conversations."""
        return ended_conversations(memory.database, inactive_for=AT_ONCE, organization=organization)

    def directly(self, memory: Memory, asked: Asked) -> Callable[[Subject], None]:
        """Summarize and keep it."""
        recaps = InstantRecaps(asked)

        def do(found: Subject) -> None:
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


def opened(batch: Batch | None) -> Batch:
    """Return a batch, which has to be there."""
    assert batch is not None
    return batch


def site_at(place: Place, people: int) -> Site:
    """Return a new database in which each person said one thing."""
    url = place.empty()
    site = Site(place.workers(url), Asked(place.folder / f"asked-{place.name}-{place.made}"), people)
    warming = [(organization, number) for organization in WARMING for number in range(WARM)]
    with Memory.open(url, settings=WITHOUT_FSYNC) as memory:
        for organization, number in (*warming, *((MEASURED, number) for number in range(people))):
            person = memory.of(user=f"user-{number}", organization=organization)
            person.conversations.append(CONVERSATION, [{"role": "user", "content": site.said(number)}])
    return site


KINDS: Final[tuple[Kind, ...]] = (People(), Conversations())
"""What is measured."""
