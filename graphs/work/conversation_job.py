"""Conversation job: keeps the memory of one conversation that has ended (seed 003)."""

from typing import ClassVar

from graphs.conversation_summarizer import ConversationSummarizer
from graphs.recaps import NewRecap, recap_conversation
from graphs.storing import storing
from graphs.work.leased_job import Assignment, LeasedJob, Rules, Stopping
from graphs.work.leases import Leases
from memory_tools.memory import Memory
from storage.errors import NotFound
from storage.stores import Stores
from storage.work.job_store import JobKind, Outcome


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
        while (recap := self._recap(job, name)) is not None:
            job.answered = True
            job.spend(recap.tokens)
            self._keep(job, recap)
            if not recap.more:
                return
            if self._rules.stopping.is_set():
                raise Stopping
            outcome = "updated"
        with job.person.begin() as stores:
            job.finish(stores, outcome)

    def _recap(self, job: Assignment, name: str) -> NewRecap | None:
        """Ask for the next round, unless memory was switched off since the last one."""
        job.require_enabled()
        return recap_conversation(job.person, name, self._summarizer)

    def _keep(self, job: Assignment, recap: NewRecap) -> None:
        for attempt in storing():
            with attempt:
                self._keep_once(job, recap)
        job.settled()

    def _keep_once(self, job: Assignment, recap: NewRecap) -> None:
        with job.keeping() as stores:
            if job.in_doubt and recap.more and _is_kept(stores, recap):
                return  # by the last try, whose commit went unanswered
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


def _is_kept(stores: Stores, recap: NewRecap) -> bool:
    try:
        kept = stores.conversation_memories.get(recap.conversation)
    except NotFound:
        return False
    return (kept.message_count, kept.data) == (recap.message_count, recap.data)
