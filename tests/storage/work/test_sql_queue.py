"""What only the queue in the database can do, and what its order rests on."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from storage.database import Database
from storage.erase import erase
from storage.errors import Erased, InvalidInput, UnsafeRole
from storage.settings import DatabaseSettings
from storage.tables import queue_messages
from storage.work.queue import Delivery, Message
from storage.work.sql_queue import SqlQueue
from storage.work.unbound import unbound
from tests.clock import Clock
from tests.queues import PATIENCE, numbered, numbers


@pytest.fixture
def worker_database(operators_database: Database, request: pytest.FixtureRequest, clock: Clock) -> Iterator[Database]:
    """The database as the worker opens it, with a clock that the test moves."""
    url = "worker_url" if operators_database.on_postgresql else "sqlite_url"
    with Database.open(request.getfixturevalue(url), clock=clock) as opened:
        yield opened


@pytest.fixture
def queue(worker_database: Database) -> SqlQueue:
    return SqlQueue(worker_database)


def test_what_is_sent_within_a_transaction_is_there_when_that_commits(
    queue: SqlQueue, worker_database: Database, ada: UUID
) -> None:
    with unbound(worker_database) as connection:
        queue.send_within(connection, [numbered(1, ada), numbered(2)])
        queue.send_within(connection, [])
    assert numbers(queue.receive()) == [1, 2]


def send_to_somebody_and_nobody(queue: SqlQueue, connection: sa.Connection, somebody: UUID) -> None:
    queue.send_within(connection, [numbered(1, somebody)])
    queue.send_within(connection, [numbered(2, uuid4())])


def test_what_is_sent_within_a_transaction_goes_with_it(queue: SqlQueue, worker_database: Database, ada: UUID) -> None:
    with pytest.raises(Erased), unbound(worker_database) as connection:
        send_to_somebody_and_nobody(queue, connection, ada)
    assert queue.waiting() == 0


def test_the_application_sends_to_the_person_it_is_bound_to(clocked: Database, queue: SqlQueue, ada: UUID) -> None:
    with clocked.transaction(ada, writes=True) as transaction:
        SqlQueue(clocked).send_within(transaction, [numbered(1, ada)])
    queue.send([numbered(2, ada)])
    assert [each.group for each in queue.receive()] == [ada]
    assert queue.waiting() == 2


@pytest.mark.parametrize("group", ["bob", None])
def test_the_application_sends_to_nobody_else(
    database: Database, queue: SqlQueue, ada: UUID, bob: UUID, group: str | None
) -> None:
    if not database.on_postgresql:
        return  # one role, and no row security
    message = numbered(1, bob if group else None)
    with pytest.raises(UnsafeRole), database.transaction(ada, writes=True) as transaction:
        SqlQueue(database).send_within(transaction, [message])
    with pytest.raises(UnsafeRole):
        SqlQueue(database).send([message])
    assert queue.waiting() == 0


@pytest.mark.parametrize(
    "decided", [{"id": 1}, {"token": uuid4()}, {"dead_at": datetime.now(UTC)}, {"reason": "buried"}]
)
def test_the_application_decides_nothing_but_what_is_sent(
    database: Database, queue: SqlQueue, ada: UUID, decided: dict[str, Any]
) -> None:
    if not database.on_postgresql:
        return  # one role
    now = datetime.now(UTC)
    row = {"owner_id": ada, "body": "{}", "receives": 0, "available_at": now, "created_at": now} | decided
    with pytest.raises(UnsafeRole), database.transaction(ada, writes=True) as transaction:
        transaction.execute(sa.insert(queue_messages).inline(), row)
    assert queue.waiting() == 0


def test_nothing_is_sent_to_whom_was_erased(database: Database, queue: SqlQueue, ada: UUID, bob: UUID) -> None:
    queue.send([numbered(1, ada), numbered(2, bob)])
    held = queue.receive()
    erase(database, ada)
    with pytest.raises(Erased):
        queue.send([numbered(3, bob), numbered(4, ada)])
    assert queue.waiting() == 1  # what waited for her went with her, and what came with the refused was not sent
    for delivery in held:
        queue.acknowledge(delivery)
    assert queue.waiting() == 0


def test_a_message_expires_by_the_clock_of_the_database(queue: SqlQueue, clock: Clock) -> None:
    queue.send([numbered(1)])
    [first] = queue.receive(visibility=60)
    clock.move(59.9)
    assert queue.receive() == []
    clock.move(0.1)
    [second] = queue.receive(visibility=60)
    queue.acknowledge(first)
    queue.extend(second, 120)
    clock.move(119)
    assert queue.receive() == []
    assert second.receives == 2


def test_what_expired_can_still_be_extended_or_acknowledged_while_nobody_took_it(queue: SqlQueue, clock: Clock) -> None:
    queue.send([numbered(1)])
    [delivery] = queue.receive(visibility=60)
    clock.move(1_000)
    queue.extend(delivery, 60)
    assert queue.receive() == []
    clock.move(1_000)
    queue.acknowledge(delivery)
    assert queue.waiting() == 0


def test_letters_are_listed_in_the_order_in_which_they_died(queue: SqlQueue, clock: Clock) -> None:
    queue.send([numbered(number) for number in range(3)])
    for delivery in reversed(queue.receive()):
        queue.bury(delivery, "gave_up")
        clock.move(1)
    letters = queue.dead()
    assert [letter.body["number"] for letter in letters] == [2, 1, 0]
    assert [letter.dead_at for letter in letters] == [clock.now - timedelta(seconds=ago) for ago in (3, 2, 1)]


def test_a_revived_letter_has_its_old_place(queue: SqlQueue, ada: UUID) -> None:
    queue.send([numbered(1, ada), numbered(2, ada)])
    queue.bury(queue.receive()[0], "gave_up")
    queue.revive(queue.dead()[0].id)
    assert numbers(queue.receive()) == [1]


def test_a_letter_revived_while_its_group_is_out_waits_its_turn(queue: SqlQueue, ada: UUID) -> None:
    queue.send([numbered(1, ada), numbered(2, ada)])
    queue.bury(queue.receive()[0], "gave_up")
    [second] = queue.receive()
    queue.revive(queue.dead()[0].id)
    assert queue.receive() == []
    queue.acknowledge(second)
    assert numbers(queue.receive()) == [1]


def test_an_expired_message_is_not_held_on_to_while_another_of_its_group_is_out(
    queue: SqlQueue, clock: Clock, ada: UUID
) -> None:
    queue.send([numbered(1, ada), numbered(2, ada)])
    queue.bury(queue.receive()[0], "gave_up")
    [second] = queue.receive(visibility=60)
    queue.revive(queue.dead()[0].id)
    clock.move(61)
    assert numbers(queue.receive()) == [1]
    queue.extend(second, 600)
    clock.move(61)  # a lease on the second would last
    assert numbers(queue.receive()) == [1]


def test_a_message_committed_late_waits_for_one_behind_it_that_is_out(
    worker_database: Database, queue: SqlQueue, ada: UUID
) -> None:
    if not worker_database.on_postgresql:
        return  # one writer at a time: none commits late
    with unbound(worker_database) as connection:
        queue.send_within(connection, [numbered(1, ada)])
        queue.send([numbered(2, ada)])
        [second] = queue.receive()
        assert numbers([second]) == [2]
    queue.send([numbered(3)])
    assert numbers(queue.receive(limit=1)) == [3]  # and keeps nobody else waiting
    assert queue.receive() == []
    queue.acknowledge(second)
    assert numbers(queue.receive()) == [1]


def at_the_claim(database: Database, meanwhile: Callable[[], None]) -> None:
    """Let the next claim see the queue as it is now, and something else happen until it is made."""

    def before(_connection: Any, cursor: Any, *_: Any) -> None:
        cursor.connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        cursor.connection.execute("SELECT 1 FROM usermemory.queue_messages")
        meanwhile()

    def after(_connection: Any, cursor: Any, *_: Any) -> None:
        cursor.connection.commit()

    sa.event.listen(database.engine, "before_cursor_execute", before, once=True)
    sa.event.listen(database.engine, "after_cursor_execute", after, once=True)


def test_of_two_who_took_of_one_group_at_the_same_moment_one_steps_back(
    worker_database: Database, queue: SqlQueue, ada: UUID, clock: Clock, request: pytest.FixtureRequest
) -> None:
    if not worker_database.on_postgresql:
        return  # one writer at a time
    found: list[Delivery] = []
    with Database.open(request.getfixturevalue("worker_url"), clock=clock) as slow, unbound(worker_database) as late:
        queue.send_within(late, [numbered(1, ada)])
        queue.send([numbered(2, ada)])

        def commit_and_receive() -> None:
            late.connection.driver_connection.commit()  # type: ignore[union-attr]
            found.extend(queue.receive())

        at_the_claim(slow, commit_and_receive)  # which takes 2, and sees neither 1 nor that it was taken
        assert SqlQueue(slow).receive() == []
    assert numbers(found) == [1]
    queue.acknowledge(found[0])
    [second] = queue.receive()
    assert (second.body, second.receives) == ({"number": 2}, 1)


def test_who_waits_holds_no_connection(worker_database: Database) -> None:
    with Database.open(str(worker_database.engine.url.render_as_string(False)), _ONE_CONNECTION) as narrow:
        alone = SqlQueue(narrow)
        found: list[Delivery] = []
        waiting = threading.Thread(target=lambda: found.extend(alone.receive(wait=PATIENCE)), daemon=True)
        waiting.start()
        alone.send([numbered(1)])
        waiting.join(PATIENCE)
    assert numbers(found) == [1]


_ONE_CONNECTION = DatabaseSettings(pool_size=1, pool_timeout=PATIENCE)


@pytest.mark.parametrize("text", ["no json", "[1]", "null", '{"a": 1, "a": 2}', "[" * 10_000])
def test_a_row_that_holds_no_json_object_can_be_buried(
    queue: SqlQueue, worker_database: Database, clock: Clock, text: str
) -> None:
    row = {"body": text, "available_at": clock(), "created_at": clock()}
    with unbound(worker_database) as connection:
        connection.execute(sa.insert(queue_messages).inline().values(row))
    [delivery] = queue.receive()
    assert (delivery.body, delivery.raw) == ({}, text)
    queue.bury(delivery, "malformed")
    [letter] = queue.dead()
    assert (letter.body, letter.raw, letter.reason) == ({}, text, "malformed")


def test_a_receipt_of_another_queue_is_refused(queue: SqlQueue) -> None:
    for receipt in ("", "AQEB", "1:", "x:" + uuid4().hex):
        with pytest.raises(InvalidInput):
            queue.acknowledge(Delivery({}, receipt, 1, None))


def test_closing_the_queue_leaves_the_database_open(queue: SqlQueue) -> None:
    queue.close()
    queue.send([Message({})])
    assert queue.waiting() == 1
