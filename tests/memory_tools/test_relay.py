import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import pytest

from memory_tools.pauses import LONGEST_PAUSE, SHORTEST_PAUSE
from memory_tools.relay import LEASE_SECONDS, Relay, open_relay
from storage import outbox
from storage.database import Database
from storage.directory import resolve
from storage.erase import erase
from storage.errors import DatabaseUnavailable, InvalidInput
from storage.identity import Identity
from storage.outbox import Event
from tests.clock import Clock, Seconds
from tests.memory_tools.events import PATIENCE, Told, change, changes, eventually


def test_what_happened_is_told_in_order_and_then_forgotten(
    database: Database, operators_database: Database, ada: UUID
) -> None:
    ids = changes(database, operators_database, ada, 50)
    told = Told()
    relay = Relay(operators_database, told)
    assert relay.run_once() == 50
    assert [event.id for event in told.events] == ids
    assert [event.version for event in told.events] == list(range(1, 51))
    assert outbox.waiting(operators_database) == 0
    assert relay.run_once() == 0
    assert (relay.delivered, relay.failures) == (50, 0)


def test_more_than_one_batch_is_told_in_one_run(database: Database, operators_database: Database, ada: UUID) -> None:
    ids = changes(database, operators_database, ada, 205)
    told = Told()
    assert Relay(operators_database, told).run_once() == 205
    assert [event.id for event in told.events] == ids


def test_what_was_rolled_back_is_never_told(database: Database, operators_database: Database, ada: UUID) -> None:
    outbox.enable(operators_database)

    def change_your_mind() -> None:
        with database.begin(ada) as stores:
            stores.items.set("prefs", "tone", "never")
            raise ZeroDivisionError

    change(database, ada, 1)
    with pytest.raises(ZeroDivisionError):
        change_your_mind()
    change(database, ada, 2)
    told = Told()
    assert Relay(operators_database, told).run_once() == 2
    assert [event.version for event in told.events] == [1, 2]


def test_what_is_not_heard_is_told_again_later_and_nothing_before_it(
    database: Database, operators_database: Database, ada: UUID, bob: UUID
) -> None:
    ids = changes(database, operators_database, ada, 3) + changes(database, operators_database, bob, 2)
    told, seconds = Told(lambda event: event.id == ids[1]), Seconds()
    relay = Relay(operators_database, told, timer=seconds)
    assert relay.run_once() == 1
    assert [event.id for event in told.events] == ids[:1]
    assert [event.id for event in outbox.take(operators_database)] == ids[1:]
    told.refuses = lambda _: False
    assert relay.run_once() == 0  # the pause
    seconds.pass_by(SHORTEST_PAUSE)
    assert relay.run_once() == 4
    assert [event.id for event in told.events] == ids
    assert (relay.delivered, relay.failures) == (5, 1)


def test_pauses_grow_to_a_limit_and_begin_anew_after_a_success(
    database: Database, operators_database: Database, ada: UUID
) -> None:
    changes(database, operators_database, ada, 1)
    told, seconds = Told(lambda _: True), Seconds()
    relay = Relay(operators_database, told, timer=seconds)

    def pause() -> float:
        """Wait for the next failure, and return how many seconds it took, to a tenth."""
        waited, failures = 0.0, relay.failures
        while relay.failures == failures:
            waited += 0.1
            seconds.pass_by(0.1)
            assert relay.run_once() == 0
        return waited

    assert relay.run_once() == 0
    waits = [pause() for _ in range(7)]
    assert SHORTEST_PAUSE / 2 <= waits[0] <= SHORTEST_PAUSE + 0.2
    assert waits[-1] >= LONGEST_PAUSE / 2
    assert max(waits) <= LONGEST_PAUSE + 0.2
    seconds.pass_by(LONGEST_PAUSE)
    told.refuses = lambda _: False
    assert relay.run_once() == 1
    changes(database, operators_database, ada, 1)
    told.refuses = lambda _: True
    assert relay.run_once() == 0
    assert pause() <= SHORTEST_PAUSE + 0.2


class Slow(Told):
    """Hears nothing before it may."""

    def __init__(self) -> None:
        super().__init__()
        self.began, self.may_hear = threading.Event(), threading.Event()

    def publish(self, event: Event) -> None:
        self.began.set()
        assert self.may_hear.wait(PATIENCE)
        super().publish(event)


def test_while_one_relay_tells_nobody_waits_for_it(database: Database, operators_database: Database, ada: UUID) -> None:
    ids = changes(database, operators_database, ada, 3)
    slow, other = Slow(), Told()
    with ThreadPoolExecutor(1) as apart:
        telling = apart.submit(Relay(operators_database, slow).run_once)
        assert slow.began.wait(PATIENCE)
        assert Relay(operators_database, other).run_once() == 0
        change(database, ada, "while it tells")  # no transaction is open that a writer would wait for
        slow.may_hear.set()
        assert telling.result(PATIENCE) == 3
    assert other.events == []
    assert [event.id for event in slow.events] == ids
    assert Relay(operators_database, other).run_once() == 1
    assert other.events[0].version == 4


def test_the_next_relay_follows_one_that_died(
    database: Database, operators_database: Database, ada: UUID, clock: Clock
) -> None:
    ids = changes(database, operators_database, ada, 2)
    operators_database.clock = clock
    assert outbox.lease(operators_database, LEASE_SECONDS) is not None  # killed before it released it
    told = Told()
    relay = Relay(operators_database, told)
    assert relay.run_once() == 0
    clock.move(LEASE_SECONDS)
    assert relay.run_once() == 2
    assert [event.id for event in told.events] == ids


def test_a_relay_that_is_interrupted_leaves_what_it_had_not_told(
    database: Database, operators_database: Database, ada: UUID
) -> None:
    ids = changes(database, operators_database, ada, 4)

    def interrupted(event: Event) -> bool:
        if event.id == ids[2]:
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        Relay(operators_database, Told(interrupted)).run_once()
    assert [event.id for event in outbox.take(operators_database)] == ids[2:]
    assert Relay(operators_database, Told()).run_once() == 2  # the lease was let go


def test_a_run_begins_nothing_further_once_its_time_is_over_or_it_shall_stop(
    database: Database, operators_database: Database, ada: UUID
) -> None:
    changes(database, operators_database, ada, 5)
    seconds, until = Seconds(), threading.Event()

    def slow(_: Event) -> bool:
        seconds.pass_by(4)
        return False

    def stopping(_: Event) -> bool:
        until.set()
        return False

    assert Relay(operators_database, Told(slow), run_seconds=6, timer=seconds).run_once() == 2
    assert Relay(operators_database, Told(stopping)).run_once(until) == 1
    assert outbox.waiting(operators_database) == 2


def test_many_relays_tell_each_person_s_changes_in_order_and_lose_none(
    database: Database, operators_database: Database
) -> None:
    people = [resolve(database, Identity.of(user=f"person {number}")).owner for number in range(3)]
    outbox.enable(operators_database)
    told, done = Told(), threading.Event()
    relays = [Relay(operators_database, told) for _ in range(3)]

    def write(owner: UUID) -> None:
        for number in range(20):
            change(database, owner, number)

    with ThreadPoolExecutor(9) as many:
        running = [many.submit(relay.run, done, 0.01) for relay in relays]
        for writing in [many.submit(write, owner) for owner in (*people, *people)]:  # two at once for each
            writing.result()
        done.set()
        for each in running:
            each.result(PATIENCE)
    Relay(operators_database, told).run_once()
    assert outbox.waiting(operators_database) == 0
    versions = {owner: [event.version for event in told.events if event.owner == owner] for owner in people}
    assert versions == {owner: list(range(1, 41)) for owner in people}


def test_of_an_erased_person_only_the_erasure_is_told_and_no_row_stays(
    database: Database, operators_database: Database, ada: UUID
) -> None:
    changes(database, operators_database, ada, 3)
    erase(database, ada)
    told = Told()
    assert Relay(operators_database, told).run_once() == 1
    [event] = told.events
    assert (event.event, event.owner, event.user) == ("memory.erased", ada, "ada")
    assert outbox.waiting(operators_database) == 0


def test_what_a_publisher_says_when_it_breaks_is_not_logged(
    database: Database, operators_database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    changes(database, operators_database, resolve(database, Identity.of(user="lovelace")).owner, 1)

    def broken(_: Event) -> bool:
        raise RuntimeError("redis://:hunter2@example")

    with caplog.at_level(logging.DEBUG):
        relay = Relay(operators_database, Told(broken))
        assert relay.run_once() == 0
    assert relay.failures == 1
    assert outbox.waiting(operators_database) == 1
    assert "RuntimeError" in caplog.text
    assert "hunter2" not in caplog.text
    assert "lovelace" not in caplog.text


def test_a_relay_runs_on_until_it_shall_stop_whatever_the_database_does(
    database: Database, operators_database: Database, ada: UUID, caplog: pytest.LogCaptureFixture
) -> None:
    changes(database, operators_database, ada, 1)
    told, done, seconds = Told(), threading.Event(), Seconds()
    relay = Relay(operators_database, told, timer=seconds)
    operators_database.closed = True
    with pytest.raises(DatabaseUnavailable):
        relay.run_once()
    with ThreadPoolExecutor(1) as apart:
        running = apart.submit(relay.run, done, 0.01)
        eventually(lambda: "the outbox cannot be read (database_unavailable)" in caplog.text)
        operators_database.closed = False
        seconds.pass_by(SHORTEST_PAUSE)
        eventually(lambda: relay.delivered == 1)
        done.set()
        running.result(PATIENCE)
    relay.close()
    assert told.closed


def test_who_wants_events_lets_them_be_written_down(
    operators_database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    relay = open_relay(operators_database, "redis://127.0.0.1:6379/0")
    assert relay is not None
    assert outbox.is_enabled(operators_database)
    relay.close()
    assert open_relay(operators_database, None) is None  # a worker that was told nothing decides nothing for others
    assert outbox.is_enabled(operators_database)
    assert open_relay(operators_database, "none") is None
    assert not outbox.is_enabled(operators_database)
    with pytest.raises(InvalidInput):
        open_relay(operators_database, "https://example.com/hook")  # without a secret
    assert not outbox.is_enabled(operators_database)
