"""Leased job: one thing to do, by the one worker that has the lease of it, with its failure kept to itself."""

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Final
from uuid import UUID

from sqlalchemy import Connection

from graphs.answer import Reason
from graphs.asking import added, paid, reason_of
from graphs.work.arrears import Arrears
from graphs.work.failures import code_of
from graphs.work.leases import Leases
from graphs.work.prices import Prices
from memory_tools.memory import Memory, UserMemory
from memory_tools.telemetry import observed
from storage.configuration import configuration_levels, effective
from storage.errors import DatabaseUnavailable, Erased, MemoryDisabled, NotFound, SummarizerFailed
from storage.provenance import Actor, Provenance, TokenUsage
from storage.stores import Stores
from storage.work import jobs
from storage.work.job_store import JobKind, Lease, LeaseLost, Outcome
from storage.work.leases import Busy, NotEligible

DOOR: Final = "worker"
"""The door that telemetry names."""

_log = logging.getLogger(__name__)


class Stopping(Exception):
    """The job is left where it is, because its worker is to stop; whoever takes it next goes on from there."""


class JobFailed(Exception):
    """The job failed without an error of its own."""

    def __init__(self, code: str, *, for_good: bool = False, reason: Reason | None = None) -> None:
        """`code` is what is on record; `for_good` where another attempt would ask the same again.

        `reason` is why the last answer of a model was of no use.
        """
        super().__init__(code)
        self.code = code
        self.for_good = for_good
        self.reason = reason


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
    answered: bool = False
    """Whether a model answered what is not kept yet: to ask again would cost as much again."""

    tokens: TokenUsage | None = None
    """What models were paid for and is not counted yet, also in vain; None where nobody knows."""

    in_doubt: bool = False
    """Whether a transaction that counts it had nothing left to do but to commit: then it may be counted."""

    @property
    def uncounted(self) -> TokenUsage | None:
        """What is certainly not counted yet: nothing is counted twice."""
        return None if self.in_doubt else self.tokens

    def spend(self, tokens: TokenUsage | None) -> None:
        """Note what a model was paid for."""
        self.tokens = added(self.tokens, tokens)

    def settled(self) -> None:
        """Note that all that was paid for is counted, and what it was paid for kept."""
        self.answered, self.tokens, self.in_doubt = False, None, False

    def require_enabled(self) -> None:
        """Raise MemoryDisabled where the organization has switched memory off."""
        if not self.person.memory.configurations.effective(self.lease.organization).enabled:
            raise MemoryDisabled

    @contextmanager
    def keeping(self) -> Generator[Stores]:
        """Open the transaction that keeps an effect; raises MemoryDisabled where memory is switched off by then."""

        def search(connection: Connection) -> UUID:
            if not effective(configuration_levels(connection, self.lease.organization)).enabled:
                raise MemoryDisabled
            return self.lease.owner

        with self.person.memory.database.begin(search) as stores:
            yield stores

    def finish(self, stores: Stores, outcome: Outcome) -> None:
        """End the job in the transaction that keeps its effect; raises LeaseLost where it is not ours any more."""
        stores.jobs.finish(self.lease, outcome, self.tokens, cost_micros=self.prices.micros(self.tokens))
        self.in_doubt = True

    def go_on(self, stores: Stores) -> None:
        """Count what was spent so far in the transaction that keeps a part of the effect; LeaseLost as `finish`."""
        stores.jobs.go_on(self.lease, self.tokens, cost_micros=self.prices.micros(self.tokens))
        self.in_doubt = True


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
        self._arrears = Arrears()

    def __call__(self, subject: UUID) -> bool:
        """Do the job. What becomes of it is on record; False where it could not be, and the message has to come again.

        Whoever is busy with it already, or not eligible any more, is passed over: what waits is looked after by the
        schedule. While something paid is not on record, nothing is begun. Raises nothing.
        """
        try:
            if not self.settle():
                return False
            lease = self._leases.take(self.kind, subject, attempts=self._rules.attempts)
            if isinstance(lease, Busy | NotEligible):
                return True
            with self._leases.held(lease):
                return self._attempt(lease)
        except BaseException as error:  # noqa: BLE001 - the worker's own loop: one job never stops the others
            _log.error("the job of %s %s could not be recorded (%s)", self.kind, subject, code_of(error))
            return False

    def settle(self) -> bool:
        """Put on record what could not be so far; return whether nothing is left."""
        return self._arrears.settle()

    @abstractmethod
    def do(self, job: Assignment) -> None:
        """Do the job and finish it, or raise whatever went wrong; MemoryDisabled ends it as skipped."""

    def _attempt(self, lease: Lease) -> bool:
        person = self._memory.of_owner(lease.owner, lease.organization).acting(Provenance(Actor.JOB, DOOR))
        job = Assignment(lease, person, self._rules.prices)
        with observed(self.operation, name=f"{self.kind}_job", store=self.store, door=DOOR) as seen:
            try:
                self._do_or_skip(job)
            except LeaseLost:
                _log.warning("the job of %s %s was taken over by another worker", self.kind, lease.subject)
                return self._arrears.record(partial(self._charge, job))
            except (Erased, NotFound) as gone:
                _log.info("the job of %s %s is about nothing any more (%s)", self.kind, lease.subject, gone.code)
                return self._arrears.record(partial(self._charge, job))
            except BaseException as error:  # noqa: BLE001 - the worker's own loop: whatever a model or a host raises
                seen.failed(code_of(error))
                job.spend(paid(error))
                if isinstance(error, Stopping) or (isinstance(error, DatabaseUnavailable) and not job.answered):
                    self._leases.give_back(lease)
                    return False
                return self._arrears.record(partial(self._fail, job, error))
        return True

    def _do_or_skip(self, job: Assignment) -> None:
        try:
            self.do(job)
        except MemoryDisabled as off:
            job.spend(paid(off))
            with job.person.begin() as stores:
                job.finish(stores, "skipped")

    def _charge(self, job: Assignment) -> None:
        paid = job.uncounted
        jobs.charge(self._memory.database, job.lease, paid, cost_micros=self._rules.prices.micros(paid))

    def _fail(self, job: Assignment, error: BaseException) -> None:
        """Count the attempt as failed, and what it cost; only that where the job was taken over meanwhile."""
        code, reason = code_of(error), reason_of(error)
        for_good = isinstance(error, SummarizerFailed)
        if isinstance(error, JobFailed):
            code, reason, for_good = error.code, error.reason, error.for_good
        failed = jobs.fail(
            self._memory.database,
            job.lease,
            code,
            attempts=1 if for_good else self._rules.attempts,
            tokens=job.uncounted,
            cost_micros=self._rules.prices.micros(job.uncounted),
        )
        if failed is None:
            self._charge(job)
            return
        what = "is dead" if failed.state == "dead" else "failed"
        why = code if reason is None else f"{code}: {reason}"
        _log.error("the job of %s %s %s (%s), attempt %d", self.kind, failed.subject, what, why, failed.attempts)
