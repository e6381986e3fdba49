import json
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest
import redis

from memory_tools.memory import Memory
from memory_tools.premium import KEY, MESSAGE_LIMIT, NAMESPACE, PremiumSubscriber, upgraded_user
from memory_tools.redis_publisher import CHANNEL, RedisPublisher
from memory_tools.relay import Relay
from storage import outbox
from storage.configuration import MemoryConfiguration
from storage.database import Database
from storage.errors import InvalidInput, InvalidName, NotFound
from tests.clock import Clock
from tests.memory_tools.events import PATIENCE, eventually
from tests.ports import reserved_port
from tests.redis_server import RedisServer, heard_on


@pytest.fixture
def memory(clocked: Database) -> Memory:
    return Memory(clocked)


@contextmanager
def listening(memory: Memory, url: str, **options: Any) -> Iterator[PremiumSubscriber]:
    """Run a subscriber until the block ends."""
    subscriber, done = PremiumSubscriber(memory, url, **options), threading.Event()
    thread = threading.Thread(target=subscriber.run, args=(done,), daemon=True)
    thread.start()
    try:
        assert subscriber.listening.wait(PATIENCE)
        yield subscriber
    finally:
        done.set()
        thread.join(PATIENCE)
        assert not thread.is_alive()


def say(url: str, *messages: Any) -> None:
    """Publish messages, each as JSON unless it is bytes."""
    with redis.Redis.from_url(url) as client:
        for message in messages:
            client.publish(CHANNEL, message if isinstance(message, bytes) else json.dumps(message))


def upgraded_at(memory: Memory, user: str, organization: str = "default") -> Any:
    return memory.of(user=user, organization=organization).items.get(NAMESPACE, KEY).value


def is_upgraded(memory: Memory, user: str) -> bool:
    return any(item.key == KEY for item in memory.of(user=user).items.in_namespace(NAMESPACE).entries)


def test_the_time_of_an_upgrade_is_remembered_and_the_first_one_stays(
    memory: Memory, redis_server: RedisServer, clock: Clock
) -> None:
    with listening(memory, redis_server.url):
        say(redis_server.url, {"userId": "ada", "isPremium": True})
        eventually(lambda: is_upgraded(memory, "ada"))
        clock.move(3600)
        say(redis_server.url, {"userId": "ada", "isPremium": True}, {"userId": "bob", "isPremium": True})
        eventually(lambda: is_upgraded(memory, "bob"))
    assert upgraded_at(memory, "ada") == "2026-11-20T09:00:00.000+00:00"
    assert memory.of(user="ada").items.get(NAMESPACE, KEY).version == 1
    assert datetime.fromisoformat(upgraded_at(memory, "bob")) == clock.now


def test_an_upgrade_belongs_to_the_organization_that_the_host_named(memory: Memory, redis_server: RedisServer) -> None:
    with listening(memory, redis_server.url, organization="acme"):
        say(redis_server.url, {"userId": "ada", "isPremium": True, "organization": "default"})
        eventually(lambda: bool(memory.of(user="ada", organization="acme").items.in_namespace(NAMESPACE).entries))
    with pytest.raises(NotFound):
        upgraded_at(memory, "ada")


OTHERS: list[Any] = [
    b"",
    b"not JSON hunter2",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"userId": "eve", "isPremium": true, "isPremium": true}',
    b'{"userId": "eve", "isPremium": true, "more": "' + b"x" * MESSAGE_LIMIT + b'"}',
    b'{"userId": "eve", "isPremium": NaN}',
    None,
    [],
    "eve",
    {},
    {"userId": "eve"},
    {"isPremium": True},
    {"userId": "eve", "isPremium": False},
    {"userId": "eve", "isPremium": 1},
    {"userId": "eve", "isPremium": "true"},
    {"userId": "", "isPremium": True},
    {"userId": 1, "isPremium": True},
    {"userId": None, "isPremium": True},
    {"userId": ["eve"], "isPremium": True},
    {"id": 1, "event": "memory.changed", "userId": "eve", "changed": "item", "version": 1},
]

NO_NAMES = [
    {"userId": name, "isPremium": True} for name in ("eve\0", "eve\n", "e" * 257, "e\u0301ve hunter2", "\u202eeve")
]


@pytest.mark.parametrize("message", OTHERS, ids=range(len(OTHERS)))
def test_any_other_message_upgrades_nobody(message: Any) -> None:
    assert upgraded_user(message if isinstance(message, bytes) else json.dumps(message).encode()) is None


def test_a_message_may_say_more() -> None:
    assert upgraded_user(b'{"isPremium": true, "plan": "gold", "userId": "ada"}') == "ada"


def test_garbage_is_passed_over_and_never_logged(
    memory: Memory, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "memory_tools"), listening(memory, redis_server.url):
        say(redis_server.url, *OTHERS, *NO_NAMES, {"userId": "lovelace", "isPremium": True})
        eventually(lambda: is_upgraded(memory, "lovelace"))
    assert not is_upgraded(memory, "eve")
    assert "upgrades nobody" in caplog.text
    assert "invalid_identity" in caplog.text
    for content in ("eve", "hunter2", "lovelace"):
        assert content not in caplog.text


def test_where_memory_is_switched_off_nothing_is_remembered(
    memory: Memory, operators_database: Database, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    Memory(operators_database).configurations.set(MemoryConfiguration(enabled=False), organization="acme")
    with listening(memory, redis_server.url, organization="acme"):
        say(redis_server.url, {"userId": "ada", "isPremium": True})
        eventually(lambda: "memory_disabled" in caplog.text)
    with pytest.raises(NotFound):
        upgraded_at(memory, "ada", "acme")


def test_the_event_of_the_upgrade_itself_upgrades_nobody_again(
    memory: Memory, operators_database: Database, redis_server: RedisServer
) -> None:
    outbox.enable(operators_database)
    publisher = RedisPublisher(redis_server.url)
    relay = Relay(operators_database, publisher)
    with listening(memory, redis_server.url), heard_on(redis_server.url) as heard:
        say(redis_server.url, {"userId": "ada", "isPremium": True})
        eventually(lambda: relay.run_once() == 1)
        [asked, event] = heard.messages(2)
        say(redis_server.url, {"userId": "bob", "isPremium": True})  # comes behind the event
        eventually(lambda: is_upgraded(memory, "bob"))
        assert relay.run_once() == 1
    assert asked == {"userId": "ada", "isPremium": True}
    assert (event["event"], event["userId"], event["version"]) == ("memory.changed", "ada", 1)
    assert outbox.waiting(operators_database) == 0
    assert memory.of(user="ada").items.get(NAMESPACE, KEY).version == 1
    publisher.close()


def test_it_comes_back_when_redis_does(memory: Memory, redis_server: RedisServer) -> None:
    with listening(memory, redis_server.url) as subscriber:
        redis_server.stop()
        try:
            eventually(lambda: not subscriber.listening.is_set())
        finally:
            redis_server.start()
        assert subscriber.listening.wait(PATIENCE)
        say(redis_server.url, {"userId": "ada", "isPremium": True})
        eventually(lambda: is_upgraded(memory, "ada"))


def test_it_stops_although_redis_is_down(memory: Memory, caplog: pytest.LogCaptureFixture) -> None:
    with reserved_port() as port:
        subscriber, done = PremiumSubscriber(memory, f"redis://:hunter2@127.0.0.1:{port}/0"), threading.Event()
        thread = threading.Thread(target=subscriber.run, args=(done,), daemon=True)
        thread.start()
        eventually(lambda: "Redis does not answer" in caplog.text)
        done.set()
        thread.join(PATIENCE)
    assert not thread.is_alive()
    assert not subscriber.listening.is_set()
    assert "hunter2" not in caplog.text


def test_an_upgrade_waits_for_a_database_that_does_not_answer(
    memory: Memory, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    with listening(memory, redis_server.url):
        memory.database.closed = True
        say(redis_server.url, {"userId": "ada", "isPremium": True})
        eventually(lambda: "the database does not answer" in caplog.text)
        memory.database.closed = False
        eventually(lambda: is_upgraded(memory, "ada"))


def test_who_cannot_listen_is_told_so_at_once(memory: Memory) -> None:
    with pytest.raises(InvalidInput):
        PremiumSubscriber(memory, "redis://:hunter2@127.0.0.1:port")
    with pytest.raises(InvalidName):
        PremiumSubscriber(memory, "redis://127.0.0.1", organization="")
