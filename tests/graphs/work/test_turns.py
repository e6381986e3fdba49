"""Turns: deliveries take turns, groups wait, and everything is ended once."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from graphs.work.turns import Turns
from storage.work.queue import Delivery

SECONDS = 30
"""Nothing here takes so long: who waits longer has met a fault."""


class Ended:
    """What was ended, and how."""

    def __init__(self) -> None:
        self.all: list[tuple[str, bool]] = []
        self._changed = threading.Condition()

    def __call__(self, delivery: Delivery, handled: bool) -> None:
        with self._changed:
            self.all.append((delivery.receipt, handled))
            self._changed.notify_all()

    def wait_for(self, name: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: name in dict(self.all), SECONDS)


@pytest.fixture
def ended() -> Ended:
    return Ended()


@pytest.fixture
def turns_of(ended: Ended) -> Iterator[Callable[[int], Turns]]:
    """Turns with so many threads, which end with the test."""
    made: list[Turns] = []

    def make(concurrency: int) -> Turns:
        made.append(Turns(concurrency, ended))
        return made[-1]

    yield make
    for turns in made:
        turns.stop(0)


def delivery(name: str, group: object = None) -> Delivery:
    return Delivery({}, name, 1, group)  # type: ignore[arg-type]


class Gate:
    """A thing that waits until the test lets it go on."""

    def __init__(self, handled: bool = True) -> None:
        self.begun, self.open = threading.Event(), threading.Event()
        self._handled = handled

    def __call__(self) -> bool:
        self.begun.set()
        assert self.open.wait(SECONDS)
        return self._handled


def test_a_delivery_is_ended_once_when_all_of_it_is_done(turns_of: Callable[[int], Turns], ended: Ended) -> None:
    turns = turns_of(2)
    done: list[int] = []
    turns.take(delivery("a"), [lambda n=n: done.append(n) or True for n in range(20)])  # type: ignore[func-returns-value,misc]
    assert turns.idle(SECONDS)
    assert sorted(done) == list(range(20))
    assert ended.all == [("a", True)]


def test_one_thing_that_was_not_handled_is_enough(turns_of: Callable[[int], Turns], ended: Ended) -> None:
    turns = turns_of(2)
    turns.take(delivery("a"), [lambda: True, lambda: False, lambda: True])
    assert turns.idle(SECONDS)
    assert ended.all == [("a", False)]


def test_after_a_thing_that_would_end_its_thread_the_thread_goes_on(
    turns_of: Callable[[int], Turns], ended: Ended
) -> None:
    def exits() -> bool:
        raise SystemExit

    turns = turns_of(1)
    for name in ("first", "second"):
        turns.take(delivery(name), [exits])
    turns.take(delivery("third"), [lambda: True])
    assert turns.idle(SECONDS)
    assert ended.all == [("first", False), ("second", False), ("third", True)]


def test_no_more_than_the_concurrency_runs_at_once(turns_of: Callable[[int], Turns]) -> None:
    turns = turns_of(2)
    lock, running, most = threading.Lock(), 0, 0
    both = threading.Barrier(2)

    def thing() -> bool:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        both.wait(SECONDS)
        with lock:
            running -= 1
        return True

    turns.take(delivery("a"), [thing] * 10)
    assert turns.idle(SECONDS)
    assert most == 2


def test_a_short_message_does_not_wait_for_a_long_batch(turns_of: Callable[[int], Turns], ended: Ended) -> None:
    turns = turns_of(2)
    gates = [Gate() for _ in range(5)]
    turns.take(delivery("batch"), gates)
    assert gates[0].begun.wait(SECONDS)
    assert gates[1].begun.wait(SECONDS)
    turns.take(delivery("short"), [lambda: True])
    gates[0].open.set()
    gates[1].open.set()
    for gate in gates[2:4]:
        assert gate.begun.wait(SECONDS)
    ended.wait_for("short")
    assert ended.all == [("short", True)]
    for gate in gates:
        gate.open.set()
    assert turns.idle(SECONDS)


def test_deliveries_of_a_group_are_taken_one_after_the_other(turns_of: Callable[[int], Turns], ended: Ended) -> None:
    turns = turns_of(4)
    group = uuid4()
    first, second, other = Gate(), Gate(), Gate()
    turns.take(delivery("first", group), [first])
    turns.take(delivery("second", group), [second])
    turns.take(delivery("other", uuid4()), [other])
    assert first.begun.wait(SECONDS)
    assert other.begun.wait(SECONDS)
    assert not second.begun.is_set()
    assert [each.receipt for each in turns.deliveries] == ["first", "second", "other"]
    for gate in (first, second, other):
        gate.open.set()
    assert turns.idle(SECONDS)
    assert [name for name, _ in ended.all if name != "other"] == ["first", "second"]


def test_behind_one_that_was_not_handled_the_group_comes_again(turns_of: Callable[[int], Turns], ended: Ended) -> None:
    turns = turns_of(2)
    group, first, begun = uuid4(), Gate(handled=False), []
    turns.take(delivery("first", group), [first])
    turns.take(delivery("second", group), [lambda: begun.append(1) or True])  # type: ignore[func-returns-value]
    first.open.set()
    assert turns.idle(SECONDS)
    assert ended.all == [("first", False), ("second", False)]
    assert begun == []
    turns.take(delivery("first again", group), [lambda: True])
    assert turns.idle(SECONDS)
    assert ended.all[-1] == ("first again", True)


def test_room_is_left_for_as_many_as_there_are_threads(turns_of: Callable[[int], Turns]) -> None:
    turns = turns_of(2)
    assert turns.room(0) == 2
    gate, other = Gate(), Gate()
    turns.take(delivery("a"), [gate])
    assert turns.room(0) == 1
    turns.take(delivery("b"), [other])
    assert turns.room(0) == 0
    gate.open.set()
    assert turns.room(SECONDS) == 1
    other.open.set()


def test_more_room_that_comes_in_the_next_moment_is_counted(ended: Ended) -> None:
    turns, first, second = Turns(2, ended, moment=SECONDS), Gate(), Gate()
    turns.take(delivery("a"), [first])
    turns.take(delivery("b"), [second])
    asking = ThreadPoolExecutor(1)
    room = asking.submit(turns.room, SECONDS)
    first.open.set()
    second.open.set()
    assert room.result() == 2
    asking.shutdown()
    turns.stop(0)


def test_nobody_waits_longer_than_a_moment_for_more_room(ended: Ended) -> None:
    turns, done, hanging = Turns(2, ended, moment=0.01), Gate(), Gate()
    turns.take(delivery("a"), [done])
    turns.take(delivery("b"), [hanging])
    done.open.set()
    assert turns.room(SECONDS) == 1
    hanging.open.set()
    turns.stop(0)


def test_stopping_waits_for_what_runs_and_gives_back_the_rest(turns_of: Callable[[int], Turns], ended: Ended) -> None:
    turns = turns_of(1)
    runs, never = Gate(), Gate()
    turns.take(delivery("half"), [runs, never])
    turns.take(delivery("whole"), [never])
    assert runs.begun.wait(SECONDS)
    stopping = threading.Thread(target=turns.stop, args=(SECONDS,))
    stopping.start()
    ended.wait_for("whole")
    runs.open.set()
    stopping.join(SECONDS)
    assert ended.all == [("whole", False), ("half", False)]
    assert not never.begun.is_set()


def test_after_the_grace_what_still_runs_is_given_back_too(turns_of: Callable[[int], Turns], ended: Ended) -> None:
    turns = turns_of(1)
    gate = Gate()
    turns.take(delivery("slow"), [gate])
    assert gate.begun.wait(SECONDS)
    turns.stop(0)
    assert ended.all == [("slow", False)]
    gate.open.set()
    assert turns.idle(SECONDS)
    assert ended.all == [("slow", False)]


def test_what_runs_last_is_acknowledged_although_the_worker_stops(
    turns_of: Callable[[int], Turns], ended: Ended
) -> None:
    turns = turns_of(1)
    gate = Gate()
    turns.take(delivery("last"), [gate])
    assert gate.begun.wait(SECONDS)
    stopping = threading.Thread(target=turns.stop, args=(SECONDS,))
    stopping.start()
    gate.open.set()
    stopping.join(SECONDS)
    assert ended.all == [("last", True)]
