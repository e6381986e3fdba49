"""Surviving: how an agent goes on where memory fails."""

import logging
from collections.abc import Generator
from contextlib import contextmanager

from memory_tools.telemetry import Observation, count_unavailable, error_type, observed
from storage.errors import NoIdentity

_log = logging.getLogger(__name__)


@contextmanager
def surviving(step: str, operation: str, store: str, *, door: str) -> Generator[Observation]:
    """Let the agent live on without memory: what fails in the block is logged and stands in a span, without its text.

    Afterwards `error` of what it gives is the code of what failed. The other names are those of `observed`.
    """
    with observed(operation, name=step, store=store, door=door) as seen:
        try:
            yield seen
        except Exception as error:  # noqa: BLE001 - a door: the agent answers without memory
            code = error_type(error)
            seen.failed(code)
            count_unavailable(code)
            level = logging.WARNING if isinstance(error, NoIdentity) else logging.ERROR
            _log.log(level, "the agent goes on without memory: %s failed (%s)", step, code)
