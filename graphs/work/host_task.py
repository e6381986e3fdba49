"""Host task: a message of the host's, which its handler does; counted by how often it was received."""

import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from graphs.work.failures import TOO_SLOW, code_of
from graphs.work.leased_job import DOOR
from graphs.work.turns import GivingUp
from memory_tools.telemetry import observed
from storage.json_types import Json
from storage.work.leases import ABANDONED
from storage.work.queue import Delivery

Handler: TypeAlias = Callable[[dict[str, Json]], object]
"""Does what a message of the host's asks for. One that raises has the message again, later."""

Bury: TypeAlias = Callable[[Delivery, str], bool]
"""Gives a message up with a reason, and tells whether the queue took it. Raises nothing."""

_log = logging.getLogger(__name__)


class HostTask:
    """One delivery of a message of the host's. Called, it hands the message over and tells whether it was handled."""

    def __init__(self, handler: Handler, delivery: Delivery, *, attempts: int, bury: Bury) -> None:
        """What failed is buried once it was received `attempts` times."""
        self._handler = handler
        self._delivery = delivery
        self._attempts = attempts
        self._bury = bury

    def __call__(self) -> bool:
        """Hand the message over, unless whoever had it before ended each time without a word. Raises nothing."""
        if self._delivery.receives > self._attempts:
            _log.error("a message was buried (%s)", ABANDONED)
            return self._bury(self._delivery, ABANDONED)
        try:
            with observed("handle_task", name="host_task", store="queue", door=DOOR):
                self._handler(self._delivery.body)
        except BaseException as error:  # noqa: BLE001 - a door: the host's code may even say that the thread shall end
            return self._failed(code_of(error))
        return True

    def too_slow(self, _: threading.Thread) -> GivingUp:
        """Return how to give it up: as a receipt that failed."""
        return partial(self._failed, TOO_SLOW)

    def _failed(self, code: str) -> bool:
        _log.error("the host's handler failed (%s), receipt %d", code, self._delivery.receives)
        return self._delivery.receives >= self._attempts and self._bury(self._delivery, code)
