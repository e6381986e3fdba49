"""Stores: every kind of memory of one person, inside one transaction."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from storage.activity import ActivityStore
from storage.append import Append
from storage.conversation_memories import ConversationMemoryStore
from storage.conversations import ConversationStore
from storage.cursors import CursorStore
from storage.idempotency import Answered, answer_once
from storage.items import ItemStore
from storage.json_types import Json
from storage.last_seen import LastSeen
from storage.nobody import NobodyHot
from storage.pending import PendingStore
from storage.policy import DocumentPolicy
from storage.profiles import ProfileStore
from storage.snapshots import SnapshotStore
from storage.transaction import Work
from storage.work.job_store import JobStore


class Stores:
    """What `Database.begin`, `read` and `single` give: one store for each kind of memory."""

    def __init__(self, work: Work, policy: DocumentPolicy, last_seen: LastSeen | None = None) -> None:
        self._work = work
        self._policy = policy
        self._last_seen = last_seen or LastSeen()

    @property
    def owners(self) -> tuple[UUID, ...]:
        """The person, and the branches that were merged into them; empty for a person nobody has met."""
        return () if isinstance(self._work.hot.statements, NobodyHot) else self._work.owners

    @property
    def now(self) -> datetime:
        """What time it is, in UTC."""
        return self._work.clock()

    def once(self, key: str, request: Json, act: Callable[[], Json]) -> Answered:
        """Answer a request under an idempotency key; see `storage.idempotency.answer_once`."""
        return answer_once(self._work, key, request, act)

    @property
    def items(self) -> ItemStore:
        """Small values under namespace and key."""
        return ItemStore(self._work)

    @property
    def snapshots(self) -> SnapshotStore:
        """The document and its versions."""
        append = Append(self._work, self.pending, self._policy, self._last_seen)
        return SnapshotStore(self._work, self.pending, append)

    @property
    def pending(self) -> PendingStore:
        """Changes that wait for somebody's word."""
        return PendingStore(self._work)

    @property
    def profile(self) -> ProfileStore:
        """The one text."""
        return ProfileStore(self._work)

    @property
    def conversations(self) -> ConversationStore:
        """Transcripts."""
        return ConversationStore(self._work)

    @property
    def conversation_memories(self) -> ConversationMemoryStore:
        """What is worth remembering of each conversation."""
        return ConversationMemoryStore(self._work)

    @property
    def activity(self) -> ActivityStore:
        """What the person did besides."""
        return ActivityStore(self._work)

    @property
    def cursors(self) -> CursorStore:
        """How far messages have been seen."""
        return CursorStore(self._work)

    @property
    def jobs(self) -> JobStore:
        """What is done about the person when nobody asks; with the worker's URL."""
        return JobStore(self._work)
