"""Redis publisher: events as messages on one channel. Needs the extra `redis`.

Redis hands a message to whoever listens at that moment and keeps none: a subscriber that was away sees a gap between
ids, and reads anew.
"""

from typing import Final

from memory_tools.publisher import PublishFailed, message
from storage.errors import InvalidInput
from storage.outbox import Event

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError as error:
    raise InvalidInput("Redis needs its client: pip install 'usermemory[redis]'") from error

CHANNEL: Final = "user-updates"
"""The channel of seed 000: ours and the host's own messages."""

TIMEOUT: Final = 5
"""Seconds that Redis may take to take a connection, and for each answer."""

HEALTH_SECONDS: Final = 30
"""Seconds of silence after which Redis is asked whether it is still there."""

REDIS_ERRORS: Final = (redis.RedisError, OSError)
"""What its client raises where Redis does not do what it was asked for. Messages may quote what was sent."""


class RedisPublisher:
    """Publishes on CHANNEL. Delivered means that Redis took it, whoever listens."""

    def __init__(self, url: str) -> None:
        """Raises InvalidInput for a URL that Redis' client cannot read. Connects when the first event comes."""
        self._redis = open_redis(url)

    def publish(self, event: Event) -> None:
        """Hand the event to Redis; raises PublishFailed where Redis does not take it."""
        try:
            self._redis.publish(CHANNEL, message(event))
        except REDIS_ERRORS as error:
            raise PublishFailed(f"Redis did not take it ({type(error).__name__})") from None

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()


def open_redis(url: str) -> "redis.Redis":
    """Return a client that connects when it is used, and connects anew once where its connection was lost.

    Raises InvalidInput, which does not repeat the URL: it may hold a password.
    """
    try:
        client = redis.Redis.from_url(
            url,
            socket_timeout=TIMEOUT,
            socket_connect_timeout=TIMEOUT,
            socket_keepalive=True,
            health_check_interval=HEALTH_SECONDS,
            retry=Retry(NoBackoff(), 1),
        )
        client.connection_pool.make_connection()  # connects to nothing, and is what refuses an unknown option
    except (ValueError, TypeError):
        raise InvalidInput("Redis is at a URL such as redis://HOST:6379/0, and this one cannot be read") from None
    return client
