"""Turns: the deliveries that are in work, of which each gets its turn, one thing of it at a time."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import count
from time import monotonic
from typing import TypeAlias, TypeVar
from uuid import UUID

from graphs.work.failures import code_of
from storage.work.queue import Delivery

Thing: TypeAlias = Callable[[], bool]
"""Handles one thing of a delivery and tells whether it was handled: what was not, or raised, has to come again."""

GivingUp: TypeAlias = Callable[[], bool]
"""Counts a thing as failed that its thread is still busy with, and tells as a Thing whether it is handled thereby."""

TooSlow: TypeAlias = Callable[[threading.Thread], GivingUp | None]
"""Tells how to give up what a thread has been busy with for too long; None as long as it may go on."""

Ended: TypeAlias = Callable[[Delivery, bool], None]
"""Is told once of each delivery that nothing of it runs any more, and whether all was handled. Raises nothing."""

_T = TypeVar("_T")

_log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class _Undertaking:
    delivery: Delivery
    things: deque[Thing]
    """What was not begun yet."""

    too_slow: TooSlow
    running: int = 0
    handled: bool = True
    """Whether everything was, of what has ended so far."""

    ended: bool = False


@dataclass(eq=False, frozen=True, slots=True)
class _Run:
    """One thing that a thread is busy with."""

    undertaking: _Undertaking
    thing: Thing
    thread: threading.Thread
    since: float


class Turns:
    """Threads that take the things of all deliveries in turn: a long batch does not keep a short message waiting.

    Deliveries of one group are taken one after the other; where one was not handled, those behind it come again too.
    """

    def __init__(
        self, concurrency: int, ended: Ended, *, moment: float = 0.0, timer: Callable[[], float] = monotonic
    ) -> None:
        """Start `concurrency` threads; so many things run at once, and so many deliveries are in work.

        Where there is room, `moment` is for how many seconds more of it is waited for. `timer` gives seconds that only
        pass.
        """
        self._concurrency = concurrency
        self._ended = ended
        self._moment = moment
        self._timer = timer
        self._numbers = count()
        self._changed = threading.Condition()
        self._stopping = False
        self._undertakings: list[_Undertaking] = []
        self._ready: deque[_Undertaking] = deque()
        self._runs: list[_Run] = []
        """What runs and was not given up; whoever takes a run off the list counts it."""

        self._groups: dict[UUID, deque[_Undertaking]] = {}
        """Behind each group that is in work, what came for it later."""

        for _ in range(concurrency):
            self._start()

    def take(self, delivery: Delivery, things: Iterable[Thing], too_slow: TooSlow = lambda _: None) -> None:
        """Take a delivery into work; it has at least one thing, and `too_slow` knows how to give each up."""
        undertaking = _Undertaking(delivery, deque(things), too_slow)
        with self._changed:
            self._undertakings.append(undertaking)
            behind = None if delivery.group is None else self._groups.get(delivery.group)
            if behind is not None:
                behind.append(undertaking)
                return
            if delivery.group is not None:
                self._groups[delivery.group] = deque()
            self._ready.append(undertaking)
            self._changed.notify_all()

    @property
    def deliveries(self) -> list[Delivery]:
        """What is in work, also what waits for its turn."""
        with self._changed:
            return [each.delivery for each in self._undertakings if not each.ended]

    def room(self, seconds: float) -> int:
        """Wait at most so long for room, and a moment for more; return for how many deliveries there is."""
        with self._changed:
            if self._changed.wait_for(self._free, seconds):
                self._changed.wait_for(lambda: self._free() == self._concurrency, self._moment)
            return self._free()

    def idle(self, seconds: float) -> bool:
        """Wait at most so long until nothing is in work, and tell whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._undertakings, seconds)

    def give_up(self, seconds: float) -> None:
        """Give up what has run for so long and may not go on; another thread takes the place of the one it keeps."""
        with self._changed:
            now = self._timer()
            slow = [run for run in self._runs if now - run.since >= seconds]
        for run in slow:
            giving_up = _survived(partial(run.undertaking.too_slow, run.thread), otherwise=None)
            if giving_up is not None and self._taken_off(run):
                self._start()
                self._done(run.undertaking, _survived(giving_up, otherwise=False))

    def stop(self, grace: float) -> None:
        """Begin nothing more, wait at most `grace` seconds for what runs, and end everything as it is then."""
        with self._changed:
            self._stopping = True
            waiting = self._to_end(lambda each: not each.running)
            self._changed.notify_all()
        self._end(waiting, handled=False)
        with self._changed:
            self._changed.wait_for(lambda: not self._undertakings, grace)
            unfinished = self._to_end(lambda each: True)
        self._end(unfinished, handled=False)

    def _free(self) -> int:
        return self._concurrency - len(self._undertakings)

    def _start(self) -> None:
        # A daemon: a model that never answers must not keep the process from ending.
        name = f"usermemory-worker-{next(self._numbers)}"
        threading.Thread(target=self._work, name=name, daemon=True).start()

    def _work(self) -> None:
        while (run := self._begun()) is not None:
            handled = _survived(run.thing, otherwise=False)
            if not self._taken_off(run):
                return  # it was given up, and another thread is here instead
            self._done(run.undertaking, handled)

    def _begun(self) -> _Run | None:
        """Wait for the next thing; None when there is none to be begun any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._stopping)
            if self._stopping:
                return None
            undertaking = self._ready.popleft()
            thing = undertaking.things.popleft()
            undertaking.running += 1
            if undertaking.things:
                self._ready.append(undertaking)
                self._changed.notify_all()
            run = _Run(undertaking, thing, threading.current_thread(), self._timer())
            self._runs.append(run)
            return run

    def _taken_off(self, run: _Run) -> bool:
        """Take a run off the list, and tell whether it still was on it."""
        with self._changed:
            if run not in self._runs:
                return False
            self._runs.remove(run)
            return True

    def _done(self, undertaking: _Undertaking, handled: bool) -> None:
        with self._changed:
            undertaking.running -= 1
            undertaking.handled = undertaking.handled and handled
            last = undertaking.running == 0 and (self._stopping or not undertaking.things)
            if not last or undertaking.ended:
                return
            undertaking.ended = True
        self._end([undertaking], handled=undertaking.handled and not undertaking.things)

    def _to_end(self, which: Callable[[_Undertaking], bool]) -> list[_Undertaking]:
        """Return those that nobody ends yet; from now on the caller does."""
        found = [each for each in self._undertakings if not each.ended and which(each)]
        for each in found:
            each.ended = True
        return found

    def _end(self, undertakings: list[_Undertaking], *, handled: bool) -> None:
        """Tell of each that it has ended, and of those behind it in the group if they cannot begin now."""
        for undertaking in undertakings:
            self._ended(undertaking.delivery, handled)
            with self._changed:
                self._undertakings.remove(undertaking)
                behind = self._followers(undertaking.delivery.group, handled)
                self._changed.notify_all()
            for follower in behind:
                self._ended(follower.delivery, False)
                with self._changed:
                    self._undertakings.remove(follower)
                    self._changed.notify_all()

    def _followers(self, group: UUID | None, handled: bool) -> list[_Undertaking]:
        """Let the next of the group begin, or return all that cannot any more."""
        if group is None or group not in self._groups:
            return []
        behind = [each for each in self._groups.pop(group) if not each.ended]
        if handled and behind and not self._stopping:
            self._groups[group] = deque(behind[1:])
            self._ready.append(behind[0])
            return []
        for each in behind:
            each.ended = True
        return behind


def _survived(act: Callable[[], _T], *, otherwise: _T) -> _T:
    """Return what comes of it, or `otherwise` where it raises: also what would end the thread."""
    try:
        return act()
    except BaseException as error:  # noqa: BLE001 - the worker's own loop, which must outlive what it calls
        _log.error("a thing broke off (%s)", code_of(error))
        return otherwise
