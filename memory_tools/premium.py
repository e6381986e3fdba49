"""Premium: remembers when a person was upgraded, told by `{userId, isPremium: true}` on Redis (seed 000).

The first time is the one that stays, as the item `meta/upgradedAt`. Redis keeps no messages: what was published while
nobody listened is not heard.
"""

import logging
import threading
from typing import Final

from memory_tools.memory import Memory
from memory_tools.pauses import Pauses
from memory_tools.redis_publisher import CHANNEL, REDIS_ERRORS, open_redis
from memory_tools.visit import visit
from storage.canonical import parse
from storage.errors import DatabaseUnavailable, InvalidInput, MemoryDisabled, UserMemoryError, VersionConflict
from storage.identity import DEFAULT_ORGANIZATION
from storage.names import check_name

NAMESPACE: Final = "meta"
"""Where the time is kept."""

KEY: Final = "upgradedAt"
"""Under which key it is kept."""

MESSAGE_LIMIT: Final = 8_192
"""Bytes of a message that is looked at."""

LISTENING_SECONDS: Final = 1.0
"""Seconds after which the subscriber looks whether it shall stop."""

SHORTEST_PAUSE: Final = 0.1
"""Seconds until Redis or the database is tried again for the first time: nothing that is published waits for us."""

_log = logging.getLogger(__name__)


class PremiumSubscriber:
    """Listens on Redis for people who were upgraded, all of one organization."""

    def __init__(self, memory: Memory, url: str, *, organization: str = DEFAULT_ORGANIZATION) -> None:
        """`url` is Redis'. No message can name another organization. Raises InvalidInput and InvalidName."""
        self.listening = threading.Event()
        """Set while Redis has the subscription."""

        self._memory = memory
        self._organization = check_name(organization, "organization id")
        self._redis = open_redis(url)

    def run(self, until: threading.Event) -> None:
        """Listen until the event is set; where Redis goes away, come back when it does."""
        pauses = Pauses(SHORTEST_PAUSE)
        while not until.is_set():
            try:
                self._listen(until, pauses)
            except REDIS_ERRORS as error:
                pause = pauses.next()
                _log.warning("Redis does not answer (%s); tried again in %.1f s", type(error).__name__, pause)
                until.wait(pause)
            finally:
                self.listening.clear()
        self._redis.close()

    def _listen(self, until: threading.Event, pauses: Pauses) -> None:
        with self._redis.pubsub() as subscription:  # type: ignore[no-untyped-call]
            subscription.subscribe(CHANNEL)
            while not until.is_set():
                heard = subscription.get_message(timeout=LISTENING_SECONDS)
                if heard is not None and heard["type"] == "subscribe":
                    self.listening.set()
                    pauses.reset()
                elif heard is not None and heard["type"] == "message":
                    self._hear(heard["data"], until)

    def _hear(self, message: bytes, until: threading.Event) -> None:
        user = upgraded_user(message)
        if user is None:
            _log.debug("a message on %s that upgrades nobody", CHANNEL)
            return
        pauses = Pauses(SHORTEST_PAUSE)
        while not until.is_set():
            try:
                self._remember(user)
            except DatabaseUnavailable:
                _log.warning("an upgrade waits: the database does not answer")
                until.wait(pauses.next())
            except UserMemoryError as error:
                _log.warning("an upgrade was not remembered: %s", error.code)
                return
            else:
                return

    def _remember(self, user: str) -> None:
        person = self._memory.of(user=user, organization=self._organization)
        now = self._memory.database.clock().isoformat(timespec="milliseconds")
        try:
            with visit(person, writes=True) as visited:
                if not visited.allowed:
                    raise MemoryDisabled
                visited.stores.items.set(NAMESPACE, KEY, now, expected_version=0)
        except VersionConflict:
            _log.debug("an upgrade that was remembered before")


def upgraded_user(message: bytes) -> str | None:
    """Return whom a message says to be upgraded; None for any other message, whatever it is."""
    try:
        said = parse(message, limit=MESSAGE_LIMIT)
    except InvalidInput:
        return None
    if not isinstance(said, dict) or said.get("isPremium") is not True:
        return None
    user = said.get("userId")
    return user if isinstance(user, str) and user else None
