"""Companion: what a host lets run beside the worker, and again where it breaks."""

import logging
import threading
from collections.abc import Callable
from typing import TypeAlias

from graphs.work.failures import code_of
from memory_tools.pauses import Pauses

Companion: TypeAlias = Callable[[threading.Event], object]
"""Does something else until the event is set."""

_log = logging.getLogger(__name__)


def accompany(companion: Companion, until: threading.Event) -> None:
    """Let a companion run until the event is set or it returns; after a failure anew, after a pause that grows."""
    pauses = Pauses()
    while not until.is_set():
        try:
            companion(until)
            return
        except BaseException as error:  # noqa: BLE001 - a door: it is the host's, and may even end its thread
            pause = pauses.next()
            _log.error("what runs beside the worker broke (%s); begun again in %.1f s", code_of(error), pause)
            until.wait(pause)
