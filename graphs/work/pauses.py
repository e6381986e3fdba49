"""Pauses: how long to wait before the next try of something that fails, and what to call its failure."""

import random
import re
from typing import Final

from storage.errors import UserMemoryError

LONGEST_PAUSE: Final = 30.0
"""Seconds at most."""

_WORD: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
"""Where in the name of a class a word begins."""


def pause(failures: int) -> float:
    """Return seconds to wait after so many failures in a row: longer each time, and never the same for two workers."""
    return random.uniform(0.5, 1) * min(LONGEST_PAUSE, 2.0 ** min(failures - 1, 10))


def code_of(error: BaseException) -> str:
    """Return what a failure is called in logs and records: our code, or the name of its class; never its message."""
    return error.code if isinstance(error, UserMemoryError) else _WORD.sub("_", type(error).__name__).lower()
