"""Worker: what takes messages from the queue and does what they ask for."""

import logging
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import Final

from langchain_core.language_models import BaseChatModel

from graphs.conversation_summarizer import (
    ConversationSummarizer,
    ExtractiveConversationSummarizer,
    ModelConversationSummarizer,
)
from graphs.extractive import ExtractiveSummarizer
from graphs.summarizer import ModelSummarizer, Summarizer
from graphs.work.companion import Companion, accompany
from graphs.work.conversation_job import ConversationJob
from graphs.work.failures import code_of
from graphs.work.host_task import Handler, HostTask
from graphs.work.leased_job import Rules
from graphs.work.leases import Leases
from graphs.work.person_job import PersonJob
from graphs.work.prices import FREE, Prices
from graphs.work.schedule import Schedule
from graphs.work.subjects import subjects
from graphs.work.turns import GivingUp, Thing, TooSlow, Turns
from memory_tools import upkeep
from memory_tools.memory import Memory
from memory_tools.pauses import Pauses
from storage.errors import InvalidInput
from storage.work.eligible import INACTIVE_FOR
from storage.work.leases import ATTEMPTS
from storage.work.queue import VISIBILITY_LIMIT, Delivery, Queue

CONCURRENCY = 4
"""Conversations and people that one worker is busy with at once."""

VISIBILITY = 60.0
"""Seconds for which nobody else gets what a worker took, unless it says that it is still busy."""

GRACE = 20.0
"""Seconds that a worker which is to stop waits for what it has begun."""

PATIENCE = 900.0
"""Seconds that one conversation, one person or one message of the host's may take: a model that hangs never ends."""

WAIT = 5.0
"""Seconds for which an empty queue is listened to at once. So long it may take until a worker notices its end."""

MOMENT: Final = 0.01
"""Seconds for which a worker waits until it has room for more messages: to ask for several costs as much as for one."""

AGAIN_AFTER: Final = 5.0
"""Seconds until a message comes again of which something could not be done now."""

DRAINING_WAIT: Final = 1.0
"""Seconds for which a queue has to give nothing until it counts as empty, unless it is asked as a whole at once."""

LOOK_EVERY: Final = 1.0
"""Seconds between two looks for what takes too long."""

DRAINING_PAUSE: Final = 0.5
"""Seconds after which an empty queue is looked at again while something is in work, behind which more may wait."""

JOINING_SECONDS: Final = 2.0
"""Seconds for which a worker that ends waits for its heartbeat and for what is beside it."""

MALFORMED: Final = "malformed"
"""Why a message was buried that lacks what its kind needs."""

UNKNOWN_TASK_TYPE: Final = "unknown_task_type"
"""Why a message was buried that is neither ours nor, without a handler, the host's."""

RECEIVED_AT_ONCE: Final = 10
"""Messages taken at most by one request: what SQS gives at most."""

_log = logging.getLogger(__name__)


class Worker:
    """Does what waits in a queue: summarizes conversations that ended, updates people's documents.

    What fails is logged by its code, counted and tried again later, and never keeps anything else from being done.
    Any number of workers may share a queue and a database. On PostgreSQL the memory is opened with the worker's URL.
    """

    def __init__(
        self,
        memory: Memory,
        queue: Queue,
        *,
        model: BaseChatModel | None = None,
        summarizer: Summarizer | None = None,
        conversation_summarizer: ConversationSummarizer | None = None,
        concurrency: int = CONCURRENCY,
        visibility: float = VISIBILITY,
        attempts: int = ATTEMPTS,
        inactivity: timedelta = INACTIVE_FOR,
        patience: float = PATIENCE,
        grace: float = GRACE,
        wait: float = WAIT,
        handler: Handler | None = None,
        schedule: Schedule | None = None,
        beside: Iterable[Companion] = (),
        prices: Prices = FREE,
        timer: Callable[[], float] = monotonic,
    ) -> None:
        """Take what to work on and by what rules.

        `model` is who summarizes conversations and people, unless there is a summarizer of its own for them; with
        neither, what people said is kept by rule. A conversation in which nothing was said for `inactivity` has ended.
        What takes longer than `patience` seconds has failed; each round of a long conversation has as many anew.
        `wait` is for how many seconds an empty queue is listened to at once. `handler` gets every message that is none
        of ours. `schedule` and what is `beside` it (`Relay.run`) have threads of their own while the worker runs.
        `timer` gives seconds that only pass. Raises InvalidInput for numbers that make no sense.
        """
        if min(concurrency, attempts) < 1 or grace < 0 or patience <= 0 or not 0 < visibility <= VISIBILITY_LIMIT:
            raise InvalidInput(
                "a worker needs a concurrency and attempts from 1, a grace from 0, a patience above 0, and a visibility"
                f" above 0 and up to {VISIBILITY_LIMIT:,} seconds"
            )
        self._queue = queue
        self._handler = handler
        self._companions: list[Companion] = [*([] if schedule is None else [schedule.run]), *beside]
        self._concurrency, self._attempts = concurrency, attempts
        self._visibility, self._grace, self._wait = visibility, grace, wait
        self._patience, self._timer = patience, timer
        # SQLite has one writer at a time: those who begin together would wait for each other.
        self._moment = MOMENT if memory.database.on_postgresql else 0.0
        self._stopping = threading.Event()
        self._leases = Leases(memory.database, seconds=visibility, inactivity=inactivity)
        rules = Rules(attempts, prices, self._stopping)
        documents = summarizer or (ExtractiveSummarizer() if model is None else ModelSummarizer(model))
        recaps = conversation_summarizer or (
            ExtractiveConversationSummarizer() if model is None else ModelConversationSummarizer(model)
        )
        self._conversations = ConversationJob(memory, self._leases, rules, recaps)
        self._people = PersonJob(memory, self._leases, rules, documents)

    def run(self, until: threading.Event) -> None:
        """Work until the event is set; then begin nothing more, wait for `grace`, and give back what is unfinished.

        A queue or a database that does not answer is asked again, after a pause that grows.
        """
        pauses = Pauses()
        with self._working(until, with_companions=True) as turns:
            while not until.is_set():
                try:
                    self._receive(turns, self._wait, until)
                    pauses.reset()
                except Exception as error:  # noqa: BLE001 - a door: what does not answer now may answer later
                    pause = pauses.next()
                    _log.error("nothing could be received (%s); tried again in %.1f s", code_of(error), pause)
                    until.wait(pause)

    def drain(self, until: threading.Event | None = None) -> None:
        """Work off what is in the queue now, and return. What failed waits for its next attempt. Raises its errors."""
        until = until or threading.Event()
        wait = 0.0 if self._queue.answers_at_once else DRAINING_WAIT
        with self._working(until, with_companions=False) as turns:
            while not until.is_set():
                idle = turns.idle(0)
                if self._receive(turns, wait, until):
                    continue
                if idle:
                    return
                turns.idle(DRAINING_PAUSE)

    @contextmanager
    def _working(self, until: threading.Event, *, with_companions: bool) -> Generator[Turns]:
        """Have threads that work, keep alive what they work on, and do what is beside it, while the block lasts."""
        self._stopping.clear()
        ended = threading.Event()
        turns = Turns(self._concurrency, self._ended, moment=self._moment, timer=self._timer)
        # Apart from each other: a queue that does not answer must not let leases run out, nor hide what is too slow.
        regular: dict[str, tuple[float, Callable[[], object]]] = {
            "messages": (self._visibility / 3, partial(self._hold, turns)),
            "leases": (self._visibility / 3, self._leases.extend),
            "patience": (LOOK_EVERY, partial(turns.give_up, self._patience)),
            "arrears": (self._visibility / 3, self._settle),
        }
        running = [_thread(name, partial(self._repeat, ended, *each)) for name, each in regular.items()]
        if with_companions:
            running += [_thread("companion", partial(accompany, each, until)) for each in self._companions]
        grace = 0.0
        try:
            yield turns
            grace = self._grace
        finally:
            self._stopping.set()
            turns.stop(grace)
            ended.set()
            with self._surviving("leases could not be given back"):
                self._leases.give_back_all()
            with self._surviving("what was paid could not be put on record"):
                self._settle()
            for thread in running:
                thread.join(JOINING_SECONDS)

    def _receive(self, turns: Turns, wait: float, until: threading.Event) -> bool:
        """Take what there is room for, and tell whether there was anything, or nobody looked."""
        room = turns.room(1.0)
        if not room or until.is_set():
            return True
        limit = min(room, RECEIVED_AT_ONCE)
        deliveries = self._queue.receive(limit=limit, visibility=self._visibility, wait=wait)
        for delivery in deliveries:
            self._take(turns, delivery)
        return bool(deliveries)

    def _take(self, turns: Turns, delivery: Delivery) -> None:
        """Begin with a message, or bury what nobody can do anything with."""
        asked = self._asked(delivery)
        if isinstance(asked, str):
            _log.error("a message was buried (%s)", asked)
            self._bury(delivery, asked)
        else:
            turns.take(delivery, *asked)

    def _asked(self, delivery: Delivery) -> tuple[Sequence[Thing], TooSlow] | str:
        """Return what a message asks for and what becomes of that which is too slow, or why nobody can do anything."""
        if delivery.raw is not None:
            return MALFORMED
        match delivery.body:
            case {"task_type": upkeep.GENERATE_MEMORY_BATCH, "conversation_ids": [*written]} if ids := subjects(
                written
            ):
                return [partial(self._conversations, each) for each in ids], self._too_slow
            case {"task_type": upkeep.UPDATE_MEMORY, "owner_id": written} if ids := subjects([written]):
                return [partial(self._people, each) for each in ids], self._too_slow
            case {"task_type": upkeep.GENERATE_MEMORY_BATCH | upkeep.UPDATE_MEMORY}:
                return MALFORMED
            case _ if self._handler is not None:
                task = HostTask(self._handler, delivery, attempts=self._attempts, bury=self._bury)
                return [task], task.too_slow
            case _:
                return UNKNOWN_TASK_TYPE

    def _too_slow(self, thread: threading.Thread) -> GivingUp | None:
        return self._leases.too_slow(thread, patience=self._patience, attempts=self._attempts)

    def _bury(self, delivery: Delivery, reason: str) -> bool:
        """Give a message up, and tell whether the queue took it."""
        with self._surviving("a message could not be buried"):
            self._queue.bury(delivery, reason)
            return True
        return False

    def _ended(self, delivery: Delivery, handled: bool) -> None:
        with self._surviving("a message could not be given back"):
            if handled:
                self._queue.acknowledge(delivery)
            else:
                again = 0 if self._stopping.is_set() else AGAIN_AFTER * 2 ** min(delivery.receives - 1, 6)
                self._queue.extend(delivery, again)

    def _settle(self) -> None:
        """Put on record what the database did not take."""
        for jobs in (self._conversations, self._people):
            jobs.settle()

    def _hold(self, turns: Turns) -> None:
        """Say of the messages in work that they still are."""
        for delivery in turns.deliveries:
            with self._surviving("a message could not be kept back"):
                self._queue.extend(delivery, self._visibility)

    def _repeat(self, ended: threading.Event, every: float, act: Callable[[], object]) -> None:
        """Do something every so many seconds until the work has ended."""
        while not ended.wait(every):
            with self._surviving("what is in work could not be looked after"):
                act()

    @contextmanager
    def _surviving(self, what: str) -> Generator[None]:
        """Go on where a queue or a database fails: what was not said to it expires by itself."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - a door: the worker outlives what it talks to
            _log.error("%s (%s)", what, code_of(error))


def _thread(name: str, run: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=run, name=f"usermemory-{name}", daemon=True)
    thread.start()
    return thread
