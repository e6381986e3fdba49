import subprocess
import sys
from collections.abc import Iterator
from uuid import UUID

import pytest

from memory_tools.pauses import LONGEST_PAUSE
from memory_tools.publisher import PublishFailed, message
from memory_tools.publishers import open_publisher
from memory_tools.redis_publisher import CHANNEL, RedisPublisher
from memory_tools.relay import Relay
from storage import outbox
from storage.database import Database
from storage.erase import erase
from storage.errors import InvalidInput
from storage.outbox import Event
from tests.clock import Clock, Seconds
from tests.memory_tools.events import changes
from tests.ports import reserved_port
from tests.redis_server import RedisServer, heard_on

EVENT = Event(7, UUID(int=1), "acme", "ada", "memory.changed", "item", 3, Clock().now)


@pytest.fixture
def publisher(redis_server: RedisServer) -> Iterator[RedisPublisher]:
    opened = RedisPublisher(redis_server.url)
    yield opened
    opened.close()


def test_an_event_says_whose_memory_changed_how_and_when(redis_server: RedisServer, publisher: RedisPublisher) -> None:
    with heard_on(redis_server.url, CHANNEL) as heard:
        publisher.publish(EVENT)
        assert heard.messages(1) == [
            {
                "id": 7,
                "event": "memory.changed",
                "userId": "ada",
                "owner": "00000000-0000-0000-0000-000000000001",
                "organization": "acme",
                "changed": "item",
                "version": 3,
                "at": "2026-11-20T09:00:00+00:00",
            }
        ]


def test_nobody_listening_is_no_failure(publisher: RedisPublisher) -> None:
    publisher.publish(EVENT)


def test_nothing_is_lost_and_all_in_order_while_redis_goes_down_and_comes_up(
    database: Database, operators_database: Database, ada: UUID, redis_server: RedisServer, publisher: RedisPublisher
) -> None:
    seconds = Seconds()
    relay = Relay(operators_database, publisher, timer=seconds)
    ids = changes(database, operators_database, ada, 20)
    with heard_on(redis_server.url) as heard:
        assert relay.run_once() == 20
        before = heard.messages(20)
    redis_server.stop()
    try:
        ids += changes(database, operators_database, ada, 30)
        for _ in range(3):
            assert relay.run_once() == 0
            seconds.pass_by(LONGEST_PAUSE)
        assert relay.failures == 3
        assert outbox.waiting(operators_database) == 30
    finally:
        redis_server.start()
    with heard_on(redis_server.url) as heard:
        assert relay.run_once() == 30
        after = heard.messages(30)
    assert [each["id"] for each in before + after] == ids
    assert [each["version"] for each in before + after] == list(range(1, 51))
    assert outbox.waiting(operators_database) == 0


def test_a_connection_that_redis_dropped_is_made_anew_at_once(
    redis_server: RedisServer, publisher: RedisPublisher
) -> None:
    publisher.publish(EVENT)
    redis_server.stop()
    redis_server.start()
    with heard_on(redis_server.url) as heard:
        publisher.publish(EVENT)
        assert heard.messages(1)[0]["id"] == EVENT.id


def test_an_erasure_is_heard_and_leaves_no_row(
    database: Database, operators_database: Database, ada: UUID, redis_server: RedisServer, publisher: RedisPublisher
) -> None:
    changes(database, operators_database, ada, 2)
    erase(database, ada)
    with heard_on(redis_server.url) as heard:
        assert Relay(operators_database, publisher).run_once() == 1
        [erased] = heard.messages(1)
    assert (erased["event"], erased["userId"], erased["owner"]) == ("memory.erased", "ada", str(ada))
    assert outbox.waiting(operators_database) == 0


def test_a_redis_that_does_not_answer_fails_without_its_password() -> None:
    with reserved_port() as port:
        publisher = RedisPublisher(f"redis://worker:hunter2@127.0.0.1:{port}/0")
        with pytest.raises(PublishFailed) as refused:
            publisher.publish(EVENT)
    assert "ConnectionError" in str(refused.value)
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None
    publisher.close()


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunter2@[::1",
        "redis://:hunter2@127.0.0.1:port/0",
        "redis://:hunter2@127.0.0.1:6379/0?hunter2=1",
        "redis://:hunter2@127.0.0.1:6379/0?socket_timeout=hunter2",
        "amqp://:hunter2@127.0.0.1",
        "hunter2",
        "",
    ],
)
def test_a_url_that_cannot_be_read_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        open_publisher(url)
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("spec", [None, "none"])
def test_nobody_is_told_where_nobody_shall_be(spec: str | None) -> None:
    assert open_publisher(spec) is None


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_redis_is_chosen_by_its_url(scheme: str) -> None:
    publisher = open_publisher(f"{scheme}://127.0.0.1:6379/0")
    assert isinstance(publisher, RedisPublisher)
    publisher.close()


def test_redis_client_is_loaded_by_nobody_who_does_not_want_it() -> None:
    loaded = "import sys, memory_tools.relay, memory_tools.publishers; sys.exit('redis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], check=False).returncode == 0


@pytest.mark.parametrize(
    "wanted",
    [
        "from memory_tools.publishers import open_publisher; open_publisher('redis://127.0.0.1')",
        "from memory_tools.premium import PremiumSubscriber",
    ],
)
def test_without_the_extra_it_says_what_to_install(wanted: str) -> None:
    asked = (
        "import sys; sys.modules['redis'] = None\n"
        "from storage.errors import InvalidInput\n"
        f"try: {wanted}\n"
        "except InvalidInput as error: sys.exit(0 if \"pip install 'usermemory[redis]'\" in str(error) else 1)\n"
        "sys.exit(2)"
    )
    assert subprocess.run([sys.executable, "-c", asked], check=False).returncode == 0


def test_a_message_is_the_same_text_each_time() -> None:
    assert message(EVENT) == message(EVENT)
    assert message(EVENT).startswith('{"at":"2026-11-20T09:00:00+00:00","changed":"item"')
