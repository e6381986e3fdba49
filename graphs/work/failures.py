"""Failures: what a failure is called in logs and records. Never by its message, which may quote what was said."""

import re
from typing import Any, Final

from storage.errors import UserMemoryError

TOO_SLOW: Final = "too_slow"
"""What took longer than the worker's patience."""

_WORD: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
"""Where in the name of a class a word begins."""

_STATUSES: Final = range(100, 600)
"""The statuses of HTTP."""


def code_of(error: BaseException) -> str:
    """Return our code, or `http_429` and the like for what a provider answered, or else the name of the class."""
    if isinstance(error, UserMemoryError):
        return error.code
    status = _status(error) or _status(_member(error, "response"))
    return _WORD.sub("_", type(error).__name__).lower() if status is None else f"http_{status}"


def _status(told: object) -> int | None:
    """Return the status of HTTP that an error or a response holds."""
    status = _member(told, "status_code")
    return int(status) if isinstance(status, int) and status in _STATUSES else None


def _member(told: object, name: str) -> Any:
    try:
        return getattr(told, name, None)
    except Exception:  # noqa: BLE001 - the error is another program's, and to ask it for its code must not fail
        return None
