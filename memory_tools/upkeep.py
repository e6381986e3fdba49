"""Upkeep: how memory keeps itself up to date: what there is to do is found, counted as a batch, and put into the queue.

Every door calls this: the trigger route, the cron route, the command line and the worker's own schedule. On PostgreSQL
the memory is opened with the worker's URL. The queue `sql` is the one in the memory's own database: there a batch, its
jobs and its messages are one transaction. Any other queue gets the messages after that, and `resume` sends what a
process that ended in between has not.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

import sqlalchemy as sa
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from memory_tools.host_conversations import HostConversations
from memory_tools.host_imports import IMPORT_SECONDS, HostImports
from memory_tools.memory import Memory
from storage.database import Database
from storage.errors import Conflict, Erased, InvalidInput
from storage.moment import checked_moment
from storage.work.batches import (
    JOB_KINDS,
    Batch,
    BatchKind,
    earlier_batch,
    get_batch,
    last_daily,
    mark_sent,
    mark_unsent,
    settle_batches,
    unsent,
    waiting_subjects,
)
from storage.work.eligible import INACTIVE_FOR, Subject, active_people, ended_conversations
from storage.work.job_store import JobKind
from storage.work.jobs import Due, due_retries, put_back
from storage.work.opening import open_batch
from storage.work.queue import Message, Queue
from storage.work.sql_queue import SqlQueue

GENERATE_MEMORY_BATCH: Final = "GENERATE_MEMORY_BATCH"
"""The task of a message that names conversations which have ended (seed 003)."""

UPDATE_MEMORY: Final = "UPDATE_MEMORY"
"""The task of a message that names a person whose memory is to be updated."""

IDS_AT_ONCE: Final = 5_000
"""Conversations named by one message: SQS takes 1 MiB."""

ACTIVE_WITHIN: Final = timedelta(hours=24)
"""How long before the due time somebody was active whose memory the daily job updates (seed 001)."""

LOOKED_BACK: Final = timedelta(days=30)
"""How far the daily job looks back at the most, where it was missed."""

EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""When anything can have been due at the earliest."""

RETRIES_AT_ONCE: Final = 1_000
"""Jobs that are sent again by one transaction."""

LOOKS: Final = 3
"""How often it is looked for what there is to do where somebody is erased at that very moment."""

_LOOKING: Final = Retrying(
    retry=retry_if_exception_type((Erased, Conflict)), stop=stop_after_attempt(LOOKS), reraise=True
)
"""PostgreSQL calls it a conflict where the erasure and the sending wait for each other."""


class Upkeep:
    """What finds work and puts it into the queue."""

    def __init__(
        self,
        memory: Memory,
        queue: Queue,
        inactivity: timedelta = INACTIVE_FOR,
        hosts: Sequence[HostConversations] = (),
        import_seconds: float | None = IMPORT_SECONDS,
    ) -> None:
        """`inactivity` is how long nothing was said in a conversation that has ended, `hosts` who brings their own.

        What hosts bring is waited for `import_seconds`, or for as long as it takes where that is None: whoever keeps a
        schedule must not wait for a host that hangs.
        """
        self.inactivity = inactivity
        self.database = memory.database
        self._queue = queue
        self._imports = HostImports(memory, hosts, seconds=import_seconds)

    def conversations_ended(self, organization: str | None = None, idempotency_key: str | None = None) -> Batch | None:
        """Have the conversations summarized that have ended, of one organization or of all.

        Returns the batch, whose ids are in one message, and a further one per IDS_AT_ONCE; None, and no message, where
        there is nothing to do that is not being done already. Under a key that made a batch before, that one comes
        back. First, and also then, what is new in the conversations of hosts is copied.
        """
        self._import_ended()
        earlier = self._earlier("conversations", idempotency_key, organization, None)
        if earlier is not None:
            return earlier
        find = partial(ended_conversations, inactive_for=self.inactivity, organization=organization)
        opened = self._open("conversations", find, organization, idempotency_key=idempotency_key)
        return opened or self._earlier("conversations", idempotency_key, organization, None)

    def daily(
        self,
        due_at: datetime | None = None,
        organization: str | None = None,
        idempotency_key: str | None = None,
    ) -> Batch | None:
        """Have the memory of everybody updated who was active in the 24 hours before `due_at`: a message for each.

        Where the last daily job lies further back, because nothing ran, since that one, at most LOOKED_BACK.
        A due time counts once for all organizations, and once for each that is named: whoever comes later gets None.
        Without one it is now, and a new batch each time. Under a key that made a batch before, that one comes back.
        First, what is new in the conversations of hosts is copied, so that whoever spoke there was active too.
        Raises InvalidInput for a time without zone or before EARLIEST, IdempotencyKeyReused for a key that came with
        another time.
        """
        due_at = None if due_at is None else checked_moment(due_at)
        if due_at is not None and due_at < EARLIEST:
            raise InvalidInput(f"a job is due at {EARLIEST:%Y-%m-%d} or later")
        self._import_ended()
        since = self._active_since(due_at or self.database.clock(), organization)
        claimed_by = idempotency_key
        if organization is not None and due_at is not None:  # the due time itself is everybody's
            claimed_by = idempotency_key or f"due {due_at.isoformat()}"
            due_at = None
        earlier = self._earlier("daily", idempotency_key, organization, due_at)
        if earlier is not None:
            return earlier
        find = partial(active_people, since=since, organization=organization)
        opened = self._open("daily", find, organization, due_at=due_at, idempotency_key=claimed_by)
        return opened or self._earlier("daily", idempotency_key, organization, due_at)

    def resume(self) -> int:
        """Send what is to be tried again or was never sent, and finish batches whose people were erased.

        Returns how many jobs were sent. Every worker's schedule does this every few seconds, and each job is sent once.
        """
        sent = 0
        for batch in unsent(self.database):
            if mark_sent(self.database, batch.id):  # before it is, so that only one sends it
                sent += self._send_late(batch)
        while due := self._claimed():
            sent += len(due)
            if len(due) < RETRIES_AT_ONCE:
                break
        settle_batches(self.database)
        return sent

    def _import_ended(self) -> None:
        self._imports.copy(self.database.clock() - self.inactivity)

    def _active_since(self, due_at: datetime, organization: str | None) -> datetime:
        since, last = due_at - ACTIVE_WITHIN, last_daily(self.database, organization, before=due_at)
        return since if last is None else max(min(since, last), due_at - LOOKED_BACK)

    def _earlier(
        self, kind: BatchKind, idempotency_key: str | None, organization: str | None, due_at: datetime | None
    ) -> Batch | None:
        if idempotency_key is None:
            return None
        return earlier_batch(self.database, kind, idempotency_key, organization=organization, due_at=due_at)

    def _open(
        self,
        kind: BatchKind,
        find: Callable[[Database], list[Subject]],
        organization: str | None,
        *,
        due_at: datetime | None = None,
        idempotency_key: str | None = None,
    ) -> Batch | None:
        """Open a batch of what is found, and send its messages, in the same transaction where that is possible."""
        queue = self._queue
        send = partial(_send_within, queue, JOB_KINDS[kind]) if isinstance(queue, SqlQueue) else None
        open_now = partial(open_batch, self.database, kind, due_at=due_at, organization=organization)

        def look() -> Batch | None:
            found_at = self.database.clock()
            return open_now(find(self.database), idempotency_key=idempotency_key, found_at=found_at, send=send)

        batch = _LOOKING.copy()(look)
        if batch is not None and batch.sent_at is None:
            self._send(batch)
            mark_sent(self.database, batch.id)
            return get_batch(self.database, batch.id)
        return batch

    def _send(self, batch: Batch) -> int:
        """Send the messages of a batch that is open already; return for how many jobs."""
        waiting = waiting_subjects(self.database, batch.id)
        self._queue.send(messages_about(JOB_KINDS[batch.kind], [(each.id, each.owner) for each in waiting]))
        return len(waiting)

    def _send_late(self, batch: Batch) -> int:
        """Send the messages of a batch that somebody else opened, or let another try again."""
        try:
            return self._send(batch)
        except BaseException:
            mark_unsent(self.database, batch.id)
            raise

    def _claimed(self) -> list[Due]:
        """Send some of the jobs that are due again, and return them."""
        queue = self._queue
        if isinstance(queue, SqlQueue):
            send = partial(_send_due_within, queue)
            return _LOOKING.copy()(partial(due_retries, self.database, RETRIES_AT_ONCE, send=send))
        due = due_retries(self.database, RETRIES_AT_ONCE)
        try:
            queue.send(_messages_due(due))
        except BaseException:
            put_back(self.database, due)
            raise
        return due


def messages_about(kind: JobKind, subjects: Sequence[tuple[UUID, UUID]]) -> list[Message]:
    """Return the messages that ask for jobs of a kind, each given by what it is about and by whose it is.

    Conversations are named together; a person's message waits for the earlier ones of the same person.
    """
    if kind == "person":
        return [Message({"task_type": UPDATE_MEMORY, "owner_id": str(each)}, group=owner) for each, owner in subjects]
    ids = [str(each) for each, _ in subjects]
    return [
        Message({"task_type": GENERATE_MEMORY_BATCH, "conversation_ids": [*ids[start : start + IDS_AT_ONCE]]})
        for start in range(0, len(ids), IDS_AT_ONCE)
    ]


def _messages_due(due: Sequence[Due]) -> list[Message]:
    return [
        message
        for kind in JOB_KINDS.values()
        for message in messages_about(kind, [(subject, owner) for each, subject, owner in due if each == kind])
    ]


def _send_within(queue: SqlQueue, kind: JobKind, connection: sa.Connection, subjects: Sequence[Subject]) -> None:
    queue.send_within(connection, messages_about(kind, [(each.id, each.owner) for each in subjects]))


def _send_due_within(queue: SqlQueue, connection: sa.Connection, due: Sequence[Due]) -> None:
    queue.send_within(connection, _messages_due(due))
