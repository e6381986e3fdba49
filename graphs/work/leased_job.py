"""Leased job: one thing to do, by the one worker that has the lease of it, with its failure kept to itself."""

import logging
import threading
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Final
from uuid import UUID

from graphs.asking import added
from graphs.work.leases import Leases
from graphs.work.pauses import code_of
from graphs.work.prices import Prices
from memory_tools.memory import Memory, UserMemory
from memory_tools.telemetry import observed
from storage.errors import DatabaseUnavailable, Erased, NotFound
from storage.provenance import TokenUsage
from storage.stores import Stores
from storage.work import jobs
from storage.work.jobs import Busy, JobKind, Lease, LeaseLost, NotEligible, Outcome

DOOR: Final = "worker"
"""The door that telemetry names."""

_log = logging.getLogger(__name__)


class Stopping(Exception):
    """The job is left where it is, because its worker is to stop; whoever takes it next goes on from there."""


class JobFailed(Exception):
    """The job failed without an error of its own."""

    def __init__(self, code: str, *, for_good: bool = False) -> None:
        """`code` is what is on record; `for_good` where another attempt would find nothing to do."""
        super().__init__(code)
        self.code = code
        self.for_good = for_good


@dataclass(frozen=True, slots=True)
class Rules:
    """By which rules a worker does all jobs."""

    attempts: int
    prices: Prices
    stopping: threading.Event
    """Set when nothing new shall be begun."""


@dataclass(slots=True)
class Assignment:
    """One job while it is done."""

    lease: Lease
    person: UserMemory
    prices: Prices
    tokens: TokenUsage | None = None
    """What models were paid for and is not counted yet, also in vain; None where nobody knows."""

    def spend(self, tokens: TokenUsage | None) -> None:
        """Note what a model was paid for."""
        self.tokens = added(self.tokens, tokens)

    def finish(self, stores: Stores, outcome: Outcome) -> None:
        """End the job in the transaction that keeps its effect; raises LeaseLost where it is not ours any more."""
        stores.jobs.finish(self.lease, outcome, self.tokens, cost_micros=self.prices.micros(self.tokens))

    def go_on(self, stores: Stores) -> None:
        """Count what was spent so far in the transaction that keeps a part of the effect; LeaseLost as `finish`."""
        stores.jobs.go_on(self.lease, self.tokens, cost_micros=self.prices.micros(self.tokens))


class LeasedJob(ABC):
    """All jobs of one kind; called with a conversation or a person, it does the job about them."""

    kind: ClassVar[JobKind]
    operation: ClassVar[str]
    """What the conventions of telemetry call it."""

    store: ClassVar[str]
    """The kind of memory that it writes."""

    def __init__(self, memory: Memory, leases: Leases, rules: Rules) -> None:
        self._memory = memory
        self._leases = leases
        self._rules = rules

    def __call__(self, subject: UUID) -> bool:
        """Do the job. What becomes of it is on record; False where it could not be, and the message has to come again.

        Whoever is busy with it already, or not eligible any more, is passed over: what waits is looked after by the
        schedule. Raises nothing.
        """
        try:
            lease = self._leases.take(self.kind, subject, attempts=self._rules.attempts)
            if isinstance(lease, Busy | NotEligible):
                return True
            with self._leases.held(lease):
                return self._attempt(lease)
        except Exception as error:  # noqa: BLE001 - the worker's own loop: one job never stops the others
            _log.error("the job of %s %s could not be recorded (%s)", self.kind, subject, code_of(error))
            return False

    @abstractmethod
    def do(self, job: Assignment) -> None:
        """Do the job and finish it, or raise whatever went wrong."""

    def _attempt(self, lease: Lease) -> bool:
        person = self._memory.of_owner(lease.owner, lease.organization)
        job = Assignment(lease, person, self._rules.prices)
        with observed(self.operation, name=f"{self.kind}_job", store=self.store, door=DOOR) as seen:
            try:
                if self._memory.configurations.effective(lease.organization).enabled:
                    self.do(job)
                else:
                    self._skip(job)
            except LeaseLost:
                _log.warning("the job of %s %s was taken over by another worker", self.kind, lease.subject)
            except (Erased, NotFound) as gone:
                _log.info("the job of %s %s is about nothing any more (%s)", self.kind, lease.subject, gone.code)
            except (Stopping, DatabaseUnavailable) as error:
                seen.failed(code_of(error))
                self._leases.give_back(lease)
                return False
            except Exception as error:  # noqa: BLE001 - the worker's own loop: whatever a model or a host raises
                seen.failed(code_of(error))
                self._fail(job, error)
        return True

    def _skip(self, job: Assignment) -> None:
        with job.person.begin() as stores:
            job.finish(stores, "skipped")

    def _fail(self, job: Assignment, error: Exception) -> None:
        job.spend(getattr(error, "tokens", None))
        code, attempts = code_of(error), self._rules.attempts
        if isinstance(error, JobFailed):
            code, attempts = error.code, 1 if error.for_good else attempts
        failed = jobs.fail(
            self._memory.database,
            job.lease,
            code,
            attempts=attempts,
            tokens=job.tokens,
            cost_micros=self._rules.prices.micros(job.tokens),
        )
        if failed is not None:
            what = "is dead" if failed.state == "dead" else "failed"
            _log.error("the job of %s %s %s (%s), attempt %d", self.kind, failed.subject, what, code, failed.attempts)
