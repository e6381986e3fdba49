"""Person job: updates the document of one person with everything that is new (seed 001)."""

from typing import Any, ClassVar

from graphs.summarizer import Summarizer
from graphs.update import build_update_graph
from graphs.work.leased_job import Assignment, JobFailed, LeasedJob, Rules, Stopping
from graphs.work.leases import Leases
from memory_tools.memory import Memory
from storage.errors import SummarizerFailed
from storage.provenance import TokenUsage
from storage.work.jobs import JobKind, Outcome


class PersonJob(LeasedJob):
    """Runs the loop of `graphs.update` until nothing is left that is new."""

    kind: ClassVar[JobKind] = "person"
    operation: ClassVar[str] = "update_memory"
    store: ClassVar[str] = "document"

    def __init__(self, memory: Memory, leases: Leases, rules: Rules, summarizer: Summarizer) -> None:
        super().__init__(memory, leases, rules)
        self._graph = build_update_graph(memory, summarizer=summarizer)

    def do(self, job: Assignment) -> None:
        """Run the loop again and again; each run keeps its own outcome together with how far it has seen."""
        statuses: set[str] = set()
        more = True
        while more:
            if statuses and self._rules.stopping.is_set():
                raise Stopping
            result = self._run(job)
            statuses.add(result["status"])
            more = bool(result.get("more"))
            if more:
                with job.person.begin() as stores:
                    job.go_on(stores)
                job.tokens = None
        if "failed" in statuses:  # the messages count as seen: the same would fail again
            raise JobFailed(SummarizerFailed.code, for_good=True)
        with job.person.begin() as stores:
            job.finish(stores, _outcome(statuses))

    def _run(self, job: Assignment) -> dict[str, Any]:
        context: Any = job.person
        result: dict[str, Any] = self._graph.invoke({"messages": [], "conversation": None}, context=context)
        if result.get("tokens") is not None:
            job.spend(TokenUsage(**result["tokens"]))
        if result["status"] == "failed" and result["error"] != SummarizerFailed.code:
            raise JobFailed(result["error"])
        return result


def _outcome(statuses: set[str]) -> Outcome:
    if "held" in statuses:
        return "held"
    return "updated" if "saved" in statuses else "unchanged"
