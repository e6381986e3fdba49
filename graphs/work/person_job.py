"""Person job: updates the document of one person with everything that is new (seed 001)."""

from typing import Any, ClassVar, Final

from graphs.answer import Reason
from graphs.summarizer import Summarizer
from graphs.update import RESULT, build_update_graph
from graphs.work.leased_job import Assignment, JobFailed, LeasedJob, Rules, Stopping
from graphs.work.leases import Leases
from memory_tools.memory import Memory
from storage.errors import SummarizerFailed
from storage.provenance import TokenUsage
from storage.work.job_store import JobKind, Outcome

ANSWER: Final = "summary"
"""Where the loop has what a summarizer answered."""


class PersonJob(LeasedJob):
    """Runs the loop of `graphs.update` until nothing is left that is new."""

    kind: ClassVar[JobKind] = "person"
    operation: ClassVar[str] = "update_memory"
    store: ClassVar[str] = "document"

    def __init__(self, memory: Memory, leases: Leases, rules: Rules, summarizer: Summarizer) -> None:
        super().__init__(memory, leases, rules)
        self._graph = build_update_graph(memory, summarizer=summarizer, patient=True)

    def do(self, job: Assignment) -> None:
        """Run the loop again and again; each run keeps its own outcome together with how far it has seen."""
        statuses: set[str] = set()
        reason: Reason | None = None
        more = True
        while more:
            if statuses and self._rules.stopping.is_set():
                raise Stopping
            job.require_enabled()
            result = self._run(job)
            statuses.add(result["status"])
            reason = reason or result["reason"]
            more = bool(result.get("more"))
            if more:
                with job.person.begin() as stores:
                    job.go_on(stores)
                job.settled()
        if "failed" in statuses:  # what failed counts as seen and is left behind: the same would fail again
            raise JobFailed(SummarizerFailed.code, for_good=True, reason=reason)
        with job.person.begin() as stores:
            job.finish(stores, _outcome(statuses))

    def _run(self, job: Assignment) -> dict[str, Any]:
        """Run the loop once, and note what it cost, also where it breaks off."""
        context: Any = job.person
        result: dict[str, Any] = {}
        steps: Any = self._graph.stream(
            {"messages": [], "conversation": None}, context=context, stream_mode="values", output_keys=[*RESULT, ANSWER]
        )
        try:
            for result in steps:
                answer = result.pop(ANSWER, None)
                if result.get("error") or (answer is not None and answer.value is not None):  # of none or of use
                    job.answered = True
        finally:
            spent = result.get("tokens")
            job.spend(None if spent is None else TokenUsage(**spent))
        if result["status"] == "failed" and result["error"] != SummarizerFailed.code:
            raise JobFailed(result["error"])
        return result


def _outcome(statuses: set[str]) -> Outcome:
    if "held" in statuses:
        return "held"
    return "updated" if "saved" in statuses else "unchanged"
