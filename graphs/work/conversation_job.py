"""Conversation job: keeps the memory of one conversation that has ended (seed 003)."""

from typing import ClassVar

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from graphs.conversation_summarizer import ConversationSummarizer
from graphs.recaps import NewRecap, recap_conversation
from graphs.work.leased_job import Assignment, LeasedJob, Rules, Stopping
from graphs.work.leases import Leases
from memory_tools.memory import Memory
from storage.errors import DatabaseUnavailable
from storage.work.jobs import JobKind, Outcome

STORING_SECONDS = 60.0
"""For how long an answer that is paid for is kept at hand while the database cannot take it."""


class ConversationJob(LeasedJob):
    """Summarizes a conversation: a long one in several rounds, of which each is kept before the next is asked for.

    The model is asked outside of any transaction. Its last answer is kept in the transaction that ends the job.
    """

    kind: ClassVar[JobKind] = "conversation"
    operation: ClassVar[str] = "upsert_memory"
    store: ClassVar[str] = "conversation"

    def __init__(self, memory: Memory, leases: Leases, rules: Rules, summarizer: ConversationSummarizer) -> None:
        super().__init__(memory, leases, rules)
        self._summarizer = summarizer

    def do(self, job: Assignment) -> None:
        """Keep what the memory becomes; nothing where it covers everything already."""
        with job.person.read() as stores:
            name = stores.conversations.by_id(job.lease.subject).name
        outcome: Outcome = "unchanged"
        while (recap := recap_conversation(job.person, name, self._summarizer)) is not None:
            job.spend(recap.tokens)
            self._keep(job, recap)
            if not recap.more:
                return
            if self._rules.stopping.is_set():
                raise Stopping
            outcome = "updated"
        with job.person.begin() as stores:
            job.finish(stores, outcome)

    def _keep(self, job: Assignment, recap: NewRecap) -> None:
        """Keep one answer, patiently: asking for it again would cost as much again."""
        for attempt in Retrying(
            retry=retry_if_exception_type(DatabaseUnavailable),
            stop=stop_after_delay(STORING_SECONDS),
            wait=wait_random_exponential(max=5),
            reraise=True,
        ):
            with attempt, job.person.begin() as stores:
                stores.conversation_memories.set(
                    recap.conversation,
                    recap.data,
                    message_count=recap.message_count,
                    provenance=recap.provenance,
                )
                if recap.more:
                    job.go_on(stores)
                else:
                    job.finish(stores, "updated")
        job.tokens = None  # counted, now that it is committed
