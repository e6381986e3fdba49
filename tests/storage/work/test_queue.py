"""One suite for every backend of the port: what holds on SQLite, on PostgreSQL and on a FIFO queue of SQS."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from storage.database import Database
from storage.errors import InvalidInput, InvalidJson, NotFound, TooLarge
from storage.transaction import utc_now
from storage.work.queue import BODY_LIMIT, VISIBILITY_LIMIT, Delivery, Message, Queue
from storage.work.queues import open_queue
from storage.work.sql_queue import SqlQueue
from tests.clock import Ahead
from tests.conftest import wipe
from tests.queues import PATIENCE, Consumer, Handled, Place, SqsServer, numbered, numbers


@pytest.fixture(params=("sqlite", "postgresql", "sqs"))
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """An empty queue."""
    if request.param == "postgresql":
        yield Place(request.getfixturevalue("worker_url"), "sql")
        wipe(request.getfixturevalue("administrator_url"))
        return
    database = request.getfixturevalue("sqlite_url")
    if request.param == "sqlite":
        yield Place(database, "sql")
    else:
        server: SqsServer = request.getfixturevalue("sqs")
        yield Place(database, server.new_queue(fifo=True), server.new_queue(fifo=True))
    wipe(database)


@pytest.fixture
def clock(place: Place, request: pytest.FixtureRequest) -> Iterator[Ahead]:
    """The clock by which messages are held."""
    ahead = Ahead()
    if place.spec == "sql":
        yield ahead
        return
    server: SqsServer = request.getfixturevalue("sqs")
    server.clock = ahead
    yield ahead
    server.clock = utc_now


@pytest.fixture
def queue(place: Place, clock: Ahead) -> Iterator[Queue]:
    with place.open(clock) as opened:
        yield opened


@pytest.fixture
def other(place: Place, clock: Ahead) -> Iterator[Queue]:
    """The same queue for somebody else."""
    with place.open(clock) as opened:
        yield opened


@pytest.fixture
def ada(place: Place) -> UUID:
    return place.person("ada")


@pytest.fixture
def bob(place: Place) -> UUID:
    return place.person("bob")


def only(deliveries: list[Delivery]) -> Delivery:
    [delivery] = deliveries
    return delivery


def test_a_message_is_received_as_it_was_sent(queue: Queue, ada: UUID) -> None:
    body = {"task_type": "UPDATE_MEMORY", "owner_id": str(ada), "known": [None, True, 1.5, "ä\n🙂"]}
    queue.send([Message(body, ada)])
    delivery = only(queue.receive())
    assert (delivery.body, delivery.group, delivery.receives, delivery.raw) == (body, ada, 1, None)


def test_a_message_without_a_group_is_delivered_without_one(queue: Queue) -> None:
    queue.send([numbered(1)])
    assert only(queue.receive()).group is None


def test_sending_nothing_is_no_error(queue: Queue) -> None:
    queue.send([])
    assert queue.receive() == []


def test_what_is_held_nobody_else_gets(queue: Queue, other: Queue) -> None:
    queue.send([numbered(1)])
    assert numbers(queue.receive()) == [1]
    assert other.receive() == []
    assert queue.waiting() == 1


def test_what_was_acknowledged_is_gone(queue: Queue, clock: Ahead) -> None:
    queue.send([numbered(1)])
    queue.acknowledge(only(queue.receive(visibility=60)))
    assert queue.waiting() == 0
    clock.move(61)
    assert queue.receive() == []


def test_what_was_not_acknowledged_comes_again(queue: Queue, other: Queue, clock: Ahead) -> None:
    queue.send([numbered(1)])
    queue.receive(visibility=60)
    clock.move(61)
    again = only(other.receive())
    assert (again.body, again.receives) == ({"number": 1}, 2)


def test_who_waits_gets_what_expires_meanwhile(queue: Queue, other: Queue) -> None:
    queue.send([numbered(1)])
    queue.receive(visibility=1)
    assert numbers(other.receive(wait=PATIENCE)) == [1]


def test_an_expired_receipt_changes_nothing(queue: Queue, other: Queue) -> None:
    queue.send([numbered(1)])
    expired = only(queue.receive(visibility=1))
    held = only(other.receive(wait=PATIENCE))  # SQS has a clock of its own, and so has our client of it
    queue.acknowledge(expired)
    queue.bury(expired, "late")
    queue.extend(expired, 0)
    queue.extend(expired, 60)
    assert queue.receive() == []
    assert queue.dead() == []
    assert queue.waiting() == 1
    other.extend(held, 0)  # what the expired one had asked for did not count
    assert numbers(queue.receive()) == [1]


def test_an_extended_message_stays_held(queue: Queue, other: Queue, clock: Ahead) -> None:
    queue.send([numbered(1)])
    delivery = only(queue.receive(visibility=60))
    queue.extend(delivery, 600)
    clock.move(300)
    assert other.receive() == []
    queue.acknowledge(delivery)
    assert queue.waiting() == 0


def test_what_is_given_back_can_be_had_at_once_and_its_receipt_is_void(queue: Queue, other: Queue) -> None:
    queue.send([numbered(1)])
    given_back = only(queue.receive())
    queue.extend(given_back, 0)
    held = only(other.receive())
    queue.extend(given_back, 0)
    queue.acknowledge(given_back)
    assert (queue.receive(), queue.waiting()) == ([], 1)
    # Who gives back says so, and that is no receipt; SQS counts it all the same.
    assert held.receives == (1 if isinstance(queue, SqlQueue) else 2)


def test_a_receipt_is_void_once_given_back_even_if_nobody_took_the_message(queue: Queue) -> None:
    queue.send([numbered(1)])
    given_back = only(queue.receive())
    queue.extend(given_back, 0)
    queue.extend(given_back, 60)
    queue.acknowledge(given_back)
    assert numbers(queue.receive()) == [1]


def test_acknowledging_twice_is_no_error(queue: Queue) -> None:
    queue.send([numbered(1), numbered(2)])
    first, _ = queue.receive()
    queue.acknowledge(first)
    queue.acknowledge(first)
    assert queue.waiting() == 1


def drained(queue: Queue) -> list[Delivery]:
    """Receive and acknowledge, one by one, until there is nothing."""
    found = []
    while deliveries := queue.receive():
        for delivery in deliveries:
            found.append(delivery)
            queue.acknowledge(delivery)
    return found


def test_a_group_comes_in_the_order_in_which_it_was_sent(queue: Queue, ada: UUID, bob: UUID) -> None:
    queue.send([numbered(number, (ada, bob)[number % 2]) for number in range(13)])
    queue.send([numbered(13, bob), numbered(14, ada)])
    received = drained(queue)
    assert numbers([each for each in received if each.group == ada]) == [*range(0, 14, 2), 14]
    assert numbers([each for each in received if each.group == bob]) == [*range(1, 12, 2), 13]


def test_a_held_message_keeps_its_group_from_everybody_else(queue: Queue, other: Queue, ada: UUID, bob: UUID) -> None:
    queue.send([numbered(1, ada), numbered(2, ada)])
    held = queue.receive(limit=1)
    other.send([numbered(3, bob), numbered(4, ada), numbered(5)])
    assert sorted(numbers(other.receive())) == [3, 5]
    for delivery in held:
        queue.acknowledge(delivery)
    assert numbers(other.receive())[0] == 2


def test_a_delayed_message_keeps_its_group_waiting(queue: Queue, other: Queue, ada: UUID, clock: Ahead) -> None:
    queue.send([numbered(1, ada), numbered(2, ada)])
    queue.extend(only(queue.receive(limit=1)), 120)
    clock.move(60)
    assert other.receive() == []
    clock.move(61)
    assert numbers(other.receive())[0] == 1


def test_a_group_that_is_given_back_keeps_its_order(queue: Queue, ada: UUID) -> None:
    queue.send([numbered(number, ada) for number in range(4)])
    for delivery in queue.receive():
        queue.extend(delivery, 0)
    assert numbers(drained(queue)) == [0, 1, 2, 3]


def test_a_buried_message_is_listed_and_its_group_goes_on(queue: Queue, ada: UUID) -> None:
    queue.send([numbered(1, ada), numbered(2, ada)])
    queue.bury(only(queue.receive(limit=1)), "unknown_task")
    [letter] = queue.dead()
    assert (letter.body, letter.reason, letter.receives) == ({"number": 1}, "unknown_task", 1)
    assert letter.dead_at is not None
    assert letter.dead_at.utcoffset() is not None
    assert numbers(queue.receive()) == [2]
    assert queue.waiting() == 1


def test_a_revived_letter_is_received_as_if_never_before(queue: Queue, ada: UUID) -> None:
    queue.send([numbered(1, ada), numbered(2)])
    for delivery in queue.receive():
        queue.bury(delivery, "gave_up")
    letters = {letter.body["number"]: letter for letter in queue.dead()}
    assert sorted(letters) == [1, 2]
    queue.revive(letters[1].id)
    revived = only(queue.receive())
    assert (revived.body, revived.receives, revived.group) == ({"number": 1}, 1, ada)
    assert [letter.body["number"] for letter in queue.dead()] == [2]
    with pytest.raises(NotFound):
        queue.revive(letters[1].id)


@pytest.mark.parametrize("letter_id", ["1", "-1", "9" * 40, "", "٣", "no id", str(uuid4())])
def test_a_letter_that_is_none_cannot_be_revived(queue: Queue, letter_id: str) -> None:
    queue.send([numbered(1)])
    with pytest.raises(NotFound):
        queue.revive(letter_id)
    assert numbers(queue.receive()) == [1]


def test_no_more_letters_are_listed_than_asked_for(queue: Queue) -> None:
    queue.send([numbered(number) for number in range(12)])
    for delivery in drained_to_death(queue):
        queue.bury(delivery, "gave_up")
    assert len(queue.dead(limit=3)) == 3
    assert sorted(letter.body["number"] for letter in queue.dead()) == list(range(12))


def drained_to_death(queue: Queue) -> list[Delivery]:
    found: list[Delivery] = []
    while deliveries := queue.receive():
        found += deliveries
    return found


def test_who_waits_gets_what_is_sent_meanwhile(queue: Queue, other: Queue) -> None:
    found: list[Delivery] = []
    waiting = threading.Thread(target=lambda: found.extend(other.receive(wait=PATIENCE)), daemon=True)
    waiting.start()
    queue.send([numbered(1)])
    waiting.join(PATIENCE)
    assert numbers(found) == [1]


def test_not_more_is_received_than_asked_for(queue: Queue) -> None:
    queue.send([numbered(number) for number in range(5)])
    assert len(queue.receive(limit=2)) == 2
    assert len(queue.receive(limit=100)) == 3


@pytest.mark.parametrize("body", [["a list"], "text", None, {"x": float("nan")}, {"x": 2**63}, {1: 2}, {"x": "\ud800"}])
def test_what_is_no_json_object_is_not_sent_nor_what_comes_with_it(queue: Queue, body: object) -> None:
    with pytest.raises(InvalidJson):
        queue.send([numbered(1), Message(body)])  # type: ignore[arg-type]
    assert queue.waiting() == 0


def test_too_large_a_message_is_not_sent(queue: Queue) -> None:
    most = "x" * (BODY_LIMIT - len('{"x":""}'))
    with pytest.raises(TooLarge):
        queue.send([Message({"x": most + "x"})])
    queue.send([Message({"x": most}), Message({"x": most})])
    assert [len(each.body["x"]) for each in queue.receive()] == [len(most)] * 2


def test_a_batch_of_five_thousand_ids_is_one_message(queue: Queue) -> None:
    body = {"task_type": "GENERATE_MEMORY_BATCH", "conversation_ids": [str(uuid4()) for _ in range(5_000)]}
    queue.send([Message(body)])
    assert only(queue.receive()).body == body


@pytest.mark.parametrize(
    "asked",
    [{"limit": 0}, {"visibility": 0}, {"visibility": VISIBILITY_LIMIT + 1}, {"wait": -1}, {"wait": float("inf")}],
)
def test_numbers_that_make_no_sense_are_refused(queue: Queue, asked: dict[str, float]) -> None:
    with pytest.raises(InvalidInput):
        queue.receive(**asked)  # type: ignore[arg-type]


def test_times_for_which_nothing_can_be_held_are_refused(queue: Queue) -> None:
    queue.send([numbered(1)])
    delivery = only(queue.receive())
    for seconds in (-1, VISIBILITY_LIMIT + 1, float("nan")):
        with pytest.raises(InvalidInput):
            queue.extend(delivery, seconds)
    with pytest.raises(InvalidInput):
        queue.dead(limit=0)


def test_bodies_stay_out_of_what_is_logged(queue: Queue) -> None:
    queue.send([Message({"number": "secret"})])
    delivery = only(queue.receive())
    queue.bury(delivery, "gave_up")
    assert "secret" not in repr(delivery)
    assert "secret" not in repr(queue.dead())


def test_what_a_killed_process_held_comes_again(
    place: Place, queue: Queue, clock: Ahead, ada: UUID, tmp_path: Path
) -> None:
    queue.send([numbered(1, ada), numbered(2, ada)])
    with Consumer(place, "hold", tmp_path / "notes") as consumer:
        assert consumer.line() == "1"
        consumer.kill()
    assert queue.receive() == []  # it is still held, and so is its group
    clock.move(61)
    again = queue.receive()[0]
    assert (again.body, again.receives) == ({"number": 1}, 2)


def by_group(handled: list[Handled]) -> dict[str, list[Handled]]:
    """Return what was handled of each group, in the order in which it began."""
    found: dict[str, list[Handled]] = defaultdict(list)
    for each in sorted(handled, key=lambda each: each.began):
        if each.group is not None:
            found[each.group].append(each)
    return found


def test_three_processes_take_each_message_once_and_each_group_in_order(
    place: Place, queue: Queue, tmp_path: Path
) -> None:
    people = [place.person(f"person {number}") for number in range(12)]
    groups = [people[number % 12] if number % 5 else None for number in range(300)]
    with ExitStack() as stack:
        queue.send([numbered(number, group) for number, group in enumerate(groups)])
        consumers = [stack.enter_context(Consumer(place, "consume", tmp_path / f"notes {name}")) for name in "abc"]
        assert [consumer.line() for consumer in consumers] == ["ready"] * 3
        for consumer in consumers:
            consumer.begin()
        handled = [consumer.end() for consumer in consumers]
    assert all(handled), "each took one before any of them began"
    together = [each for one in handled for each in one]
    assert sorted(each.number for each in together) == list(range(300))
    for group in by_group(together).values():
        assert [each.number for each in group] == sorted(each.number for each in group)
        assert all(before.ended <= after.began for before, after in pairwise(group))
    assert queue.waiting() == 0


@pytest.mark.parametrize("spec", ["", "redis://localhost", "http://", "https://sqs.eu-west-1.amazonaws.com/", "queue"])
def test_what_is_no_queue_is_refused(sqlite_url: str, spec: str) -> None:
    with Database.open(sqlite_url) as database, pytest.raises(InvalidInput):
        open_queue(spec, database)


def test_without_a_name_the_queue_is_the_one_in_the_database(sqlite_url: str) -> None:
    with Database.open(sqlite_url) as database:
        open_queue(None, database).send([numbered(1)])
        queue = open_queue("sql", database)
        queue.acknowledge(only(queue.receive()))
