"""Storing: an answer that is paid for is kept at hand while the database cannot take it."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from storage.errors import Conflict, DatabaseUnavailable
from storage.work.job_store import LeaseLost

Asked = ParamSpec("Asked")
Kept = TypeVar("Kept")

STORING_SECONDS = 60.0
"""Seconds for which it is tried, pauses of up to 5 seconds among them."""


def storing() -> Retrying:
    """Return the tries to keep one answer: asking for it again would cost as much again."""
    return Retrying(
        retry=retry_if_exception(_may_pass),
        stop=stop_after_delay(STORING_SECONDS),
        wait=wait_random_exponential(max=5),
        reraise=True,
    )


def patiently(save: Callable[Asked, Kept]) -> Callable[Asked, Kept]:
    """Return a node that tries so, and is to LangGraph what it was."""

    @wraps(save)
    def saving(*args: Asked.args, **kwargs: Asked.kwargs) -> Kept:
        return storing()(save, *args, **kwargs)

    return saving


def _may_pass(error: BaseException) -> bool:
    """Tell whether it may go well the next time: the database is away, or another transaction was in the way."""
    return isinstance(error, DatabaseUnavailable | Conflict) and not isinstance(error, LeaseLost)
