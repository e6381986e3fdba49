from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from storage import outbox
from storage.database import Database
from storage.erase import erase
from storage.errors import UnsafeRole
from storage.outbox import Event
from storage.provenance import by_user
from tests.clock import Clock


@pytest.fixture
def published(operators_database: Database) -> Iterator[Database]:
    """The operators' database, while changes are written down."""
    outbox.enable(operators_database)
    yield operators_database
    outbox.disable(operators_database)


def seen(events: list[Event]) -> list[tuple[str, str | None, int | None]]:
    return [(event.event, event.changed, event.version) for event in events]


def test_nothing_is_written_down_before_somebody_wants_it(
    database: Database, operators_database: Database, ada: UUID
) -> None:
    assert not outbox.is_enabled(operators_database)
    with database.begin(ada) as stores:
        stores.items.set("prefs", "tone", "warm")
    assert outbox.take(operators_database) == []
    assert outbox.waiting(operators_database) == 0


def test_a_change_is_an_event_that_says_whose_and_what_kind(database: Database, published: Database, ada: UUID) -> None:
    before = datetime.now(UTC)
    with database.begin(ada) as stores:
        stores.items.set("prefs", "tone", "warm")
    [event] = outbox.take(published)
    assert event == Event(event.id, ada, "default", "ada", "memory.changed", "item", 1, event.at)
    assert before - timedelta(seconds=1) < event.at < datetime.now(UTC) + timedelta(seconds=1)
    assert event.at.tzinfo is UTC


def test_changes_stay_in_order_until_they_are_acknowledged(database: Database, published: Database, ada: UUID) -> None:
    for version in range(1, 4):
        with database.begin(ada) as stores:
            stores.snapshots.append({"summary": str(version)}, provenance=by_user)
            stores.items.set("prefs", "tone", version)
    events = outbox.take(published)
    assert seen(events) == [("memory.changed", kind, version) for version in (1, 2, 3) for kind in ("document", "item")]
    assert outbox.take(published, 2) == events[:2]
    assert outbox.waiting_since(published) == events[0].at
    outbox.acknowledge(published, [event.id for event in events[:5]])
    assert outbox.take(published) == events[5:]
    assert outbox.waiting(published) == 1
    assert outbox.waiting_since(published) == events[5].at
    outbox.acknowledge(published, [events[5].id])
    assert outbox.waiting_since(published) is None


def test_what_was_delivered_before_may_be_acknowledged_again(
    database: Database, published: Database, ada: UUID
) -> None:
    with database.begin(ada) as stores:
        stores.profile.set("likes tea")
    ids = [event.id for event in outbox.take(published)]
    for _ in range(2):
        outbox.acknowledge(published, ids)
    outbox.acknowledge(published, [])
    assert outbox.waiting(published) == 0


def test_an_id_is_never_given_twice(database: Database, published: Database, ada: UUID) -> None:
    given = []
    for number in range(4):
        with database.begin(ada) as stores:
            stores.items.set("prefs", "tone", number)
        [event] = outbox.take(published)
        given.append(event.id)
        outbox.acknowledge(published, [event.id])  # an empty table must not begin anew
    assert given == sorted(set(given))


def test_what_was_rolled_back_never_happened(database: Database, published: Database, ada: UUID) -> None:
    def change_your_mind() -> None:
        with database.begin(ada) as stores:
            stores.items.set("prefs", "tone", "warm")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        change_your_mind()
    assert outbox.take(published) == []


def test_the_last_that_is_heard_of_an_erased_person_is_that_they_are(
    database: Database, published: Database, ada: UUID, bob: UUID
) -> None:
    for owner in (ada, bob):
        with database.begin(owner) as stores:
            stores.items.set("prefs", "tone", "warm")
    erase(database, ada)
    first, last = outbox.take(published)
    assert (first.owner, first.event) == (bob, "memory.changed")
    assert (last.owner, last.user, last.event, last.changed) == (ada, "ada", "memory.erased", None)


def test_writing_down_is_switched_on_and_off_any_number_of_times(
    database: Database, published: Database, ada: UUID
) -> None:
    outbox.enable(published)
    with database.begin(ada) as stores:
        stores.items.set("prefs", "tone", "warm")
    for _ in range(2):
        outbox.disable(published)
    assert not outbox.is_enabled(published)
    with database.begin(ada) as stores:
        stores.items.set("prefs", "tone", "cool")
    assert seen(outbox.take(published)) == [("memory.changed", "item", 1)]  # what waits stays
    outbox.enable(published)
    with database.begin(ada) as stores:
        stores.items.set("prefs", "tone", "warm")
    assert seen(outbox.take(published)) == [("memory.changed", "item", version) for version in (1, 3)]


def test_of_many_who_ask_at_once_one_gets_the_lease(published: Database) -> None:
    with ThreadPoolExecutor(8) as many:
        tokens = [token for token in many.map(lambda _: outbox.lease(published, 60), range(8)) if token]
    assert len(tokens) == 1
    outbox.release(published, tokens[0])
    assert outbox.lease(published, 60) is not None


@pytest.fixture
def clocked_operators(published: Database, clock: Clock) -> Iterator[Database]:
    real = published.clock
    published.clock = clock
    yield published
    published.clock = real


def test_a_lease_that_is_over_is_the_next_ones_and_cannot_be_released_by_the_first(
    clocked_operators: Database, clock: Clock
) -> None:
    first = outbox.lease(clocked_operators, 60)
    assert first is not None
    clock.move(59)
    assert outbox.lease(clocked_operators, 60) is None
    clock.move(1)
    second = outbox.lease(clocked_operators, 60)
    assert second not in (None, first)
    outbox.release(clocked_operators, first)
    assert outbox.lease(clocked_operators, 60) is None


def test_a_lease_ends_with_the_switch_left_as_it_was(published: Database) -> None:
    token = outbox.lease(published, 60)
    assert token is not None
    assert outbox.is_enabled(published)
    outbox.release(published, token)
    assert outbox.is_enabled(published)


def test_the_application_reads_no_events_of_anybody(postgresql_url: str) -> None:
    with Database.open(postgresql_url) as application:
        for refused in (outbox.take, outbox.waiting, outbox.enable, outbox.disable, outbox.is_enabled):
            with pytest.raises(UnsafeRole):
                refused(application)
