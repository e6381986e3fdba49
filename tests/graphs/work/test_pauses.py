"""Pauses grow up to a limit, and a failure is called by its code, never by its message."""

import pytest

from graphs.work.pauses import LONGEST_PAUSE, code_of, pause
from storage.errors import Erased, UserMemoryError


def test_pauses_grow_up_to_the_longest_and_differ() -> None:
    for failures, longest in ((1, 1), (2, 2), (3, 4), (6, LONGEST_PAUSE), (10_000, LONGEST_PAUSE)):
        pauses = {pause(failures) for _ in range(50)}
        assert all(longest / 2 <= each <= longest for each in pauses)
        assert len(pauses) > 1


class APIConnectionError(Exception):
    """As providers name theirs."""


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Erased(), "erased"),
        (UserMemoryError("Ada drinks tea."), "user_memory_error"),
        (ValueError("Ada drinks tea."), "value_error"),
        (APIConnectionError("Ada drinks tea."), "api_connection_error"),
        (OSError(), "os_error"),
    ],
)
def test_a_failure_is_called_by_its_code_or_its_class(error: Exception, code: str) -> None:
    assert code_of(error) == code
