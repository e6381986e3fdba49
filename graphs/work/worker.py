"""Worker: what takes messages from the queue and does what they ask for."""

import logging
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeAlias
from uuid import UUID

from langchain_core.language_models import BaseChatModel

from graphs.conversation_summarizer import (
    ConversationSummarizer,
    ExtractiveConversationSummarizer,
    ModelConversationSummarizer,
)
from graphs.extractive import ExtractiveSummarizer
from graphs.summarizer import ModelSummarizer, Summarizer
from graphs.work.conversation_job import ConversationJob
from graphs.work.leased_job import DOOR, Rules
from graphs.work.leases import Leases
from graphs.work.pauses import code_of, pause
from graphs.work.person_job import PersonJob
from graphs.work.prices import FREE, Prices
from graphs.work.schedule import Schedule
from graphs.work.turns import Thing, Turns
from memory_tools.memory import Memory
from memory_tools.telemetry import observed
from memory_tools.upkeep import GENERATE_MEMORY_BATCH, UPDATE_MEMORY
from storage.errors import InvalidInput
from storage.json_types import Json
from storage.work.eligible import INACTIVE_FOR
from storage.work.jobs import ATTEMPTS
from storage.work.queue import VISIBILITY_LIMIT, Delivery, Queue

CONCURRENCY = 4
"""Conversations and people that one worker is busy with at once."""

VISIBILITY = 60.0
"""Seconds for which nobody else gets what a worker took, unless it says that it is still busy."""

GRACE = 20.0
"""Seconds that a worker which is to stop waits for what it has begun."""

WAIT = 5.0
"""Seconds for which an empty queue is listened to at once. So long it may take until a worker notices its end."""

AGAIN_AFTER: Final = 5.0
"""Seconds until a message comes again of which something could not be done now."""

DRAINING_WAIT: Final = 1.0
"""Seconds at most after which a queue that gives nothing counts as empty: SQS does not ask all of its servers at 0."""

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

Handler: TypeAlias = Callable[[dict[str, Json]], object]
"""Does what a message of the host's asks for. One that raises has the message again, later."""

Companion: TypeAlias = Callable[[threading.Event], object]
"""Does something else until the event is set."""

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
        grace: float = GRACE,
        wait: float = WAIT,
        handler: Handler | None = None,
        schedule: Schedule | None = None,
        beside: Iterable[Companion] = (),
        prices: Prices = FREE,
    ) -> None:
        """Take what to work on and by what rules.

        `model` is who summarizes conversations and people, unless there is a summarizer of its own for them; with
        neither, what people said is kept by rule. A conversation in which nothing was said for `inactivity` has ended.
        `wait` is for how many seconds an empty queue is listened to at once. `handler` gets every message that is none
        of ours. `schedule` and what is `beside` it (`Relay.run`) have threads of their own while the worker runs.
        Raises InvalidInput for numbers that make no sense.
        """
        if concurrency < 1 or attempts < 1 or grace < 0 or not 0 < visibility <= VISIBILITY_LIMIT:
            raise InvalidInput(
                "a worker needs a concurrency and attempts from 1, a grace from 0, and a visibility above 0 and up to"
                f" {VISIBILITY_LIMIT:,} seconds"
            )
        self._queue = queue
        self._handler = handler
        self._companions: list[Companion] = [*([] if schedule is None else [schedule.run]), *beside]
        self._concurrency, self._attempts = concurrency, attempts
        self._visibility, self._grace, self._wait = visibility, grace, wait
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
        failures = 0
        with self._working(until, with_companions=True) as turns:
            while not until.is_set():
                try:
                    self._receive(turns, self._wait)
                    failures = 0
                except Exception as error:  # noqa: BLE001 - a door: what does not answer now may answer later
                    failures += 1
                    _log.error("nothing could be received (%s), try %d", code_of(error), failures)
                    until.wait(pause(failures))

    def drain(self, until: threading.Event | None = None) -> None:
        """Work off what is in the queue now, and return. What failed waits for its next attempt. Raises its errors."""
        until = until or threading.Event()
        with self._working(until, with_companions=False) as turns:
            while not until.is_set():
                idle = turns.idle(0)
                if self._receive(turns, min(self._wait, DRAINING_WAIT)):
                    continue
                if idle:
                    return
                turns.idle(DRAINING_PAUSE)

    @contextmanager
    def _working(self, until: threading.Event, *, with_companions: bool) -> Generator[Turns]:
        """Have threads that work, keep alive what they work on, and do what is beside it, while the block lasts."""
        self._stopping.clear()
        ended = threading.Event()
        turns = Turns(self._concurrency, self._ended)
        running = [_thread("heartbeat", partial(self._beat, turns, ended))]
        if with_companions:
            running += [
                _thread("companion", partial(self._accompany, companion, until)) for companion in self._companions
            ]
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
            for thread in running:
                thread.join(JOINING_SECONDS)

    def _accompany(self, companion: Companion, until: threading.Event) -> None:
        """Let something run beside, and again where it breaks."""
        failures = 0
        while not until.is_set():
            try:
                companion(until)
                return
            except Exception as error:  # noqa: BLE001 - a door: whatever a host puts beside the worker
                failures += 1
                _log.error("what runs beside the worker broke (%s), try %d", code_of(error), failures)
                until.wait(pause(failures))

    def _receive(self, turns: Turns, wait: float) -> bool:
        """Take what there is room for, and tell whether there was anything, or no room to look."""
        room = turns.room(1.0)
        if not room:
            return True
        limit = min(room, RECEIVED_AT_ONCE)
        deliveries = self._queue.receive(limit=limit, visibility=self._visibility, wait=wait)
        for delivery in deliveries:
            self._take(turns, delivery)
        return bool(deliveries)

    def _take(self, turns: Turns, delivery: Delivery) -> None:
        """Begin with a message, or bury what nobody can do anything with."""
        things, reason = self._things(delivery)
        if reason is not None:
            _log.error("a message was buried (%s)", reason)
            self._bury(delivery, reason)
        elif things:
            turns.take(delivery, things)
        else:
            self._ended(delivery, True)

    def _things(self, delivery: Delivery) -> tuple[Sequence[Thing], str | None]:
        """Return what a message asks for, or why nobody can do it."""
        if delivery.raw is not None:
            return [], MALFORMED
        match delivery.body:
            case {"task_type": "GENERATE_MEMORY_BATCH", "conversation_ids": [*ids]}:
                found = [_uuid(each) for each in ids]
                return [partial(self._conversations, each) for each in dict.fromkeys(found) if each is not None], None
            case {"task_type": "UPDATE_MEMORY", "owner_id": str(written)} if (owner := _uuid(written)) is not None:
                return [partial(self._people, owner)], None
            case {"task_type": kind} if kind in (GENERATE_MEMORY_BATCH, UPDATE_MEMORY):
                return [], MALFORMED
            case _ if self._handler is not None:
                return [partial(self._hand_over, self._handler, delivery)], None
            case _:
                return [], UNKNOWN_TASK_TYPE

    def _hand_over(self, handler: Handler, delivery: Delivery) -> bool:
        try:
            with observed("handle_task", name="host_task", store="queue", door=DOOR):
                handler(delivery.body)
        except Exception as error:  # noqa: BLE001 - a door: whatever the host's code raises
            code = code_of(error)
            _log.error("the host's handler failed (%s), receipt %d", code, delivery.receives)
            if delivery.receives < self._attempts:
                return False
            self._bury(delivery, code)
        return True

    def _bury(self, delivery: Delivery, reason: str) -> None:
        with self._surviving("a message could not be buried"):
            self._queue.bury(delivery, reason)

    def _ended(self, delivery: Delivery, handled: bool) -> None:
        with self._surviving("a message could not be given back"):
            if handled:
                self._queue.acknowledge(delivery)
            else:
                again = 0 if self._stopping.is_set() else AGAIN_AFTER * 2 ** min(delivery.receives - 1, 6)
                self._queue.extend(delivery, again)

    def _beat(self, turns: Turns, ended: threading.Event) -> None:
        """Say three times in each period of visibility that what is in work still is."""
        while not ended.wait(self._visibility / 3):
            for delivery in turns.deliveries:
                with self._surviving("a message could not be kept back"):
                    self._queue.extend(delivery, self._visibility)
            with self._surviving("leases could not be extended"):
                self._leases.extend()

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


def _uuid(written: Any) -> UUID | None:
    try:
        return UUID(written)
    except (AttributeError, TypeError, ValueError):
        _log.error("an id in a message is none")
        return None
