"""Written times: through every door a time is a date with a zone, and no number."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from memory_tools.memory import Memory
from memory_tools.operations.conversations import Said, Transcript, append_messages

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize("said_at", [NOON, "2026-11-20T12:00:00Z", "2026-11-20T13:00+01:00"], ids=str)
def test_a_time_is_written_out_or_a_datetime(memory: Memory, said_at: Any) -> None:
    messages = [{"role": "user", "content": "Hello", "said_at": said_at}]
    ask = Transcript.model_validate({"conversation": "call-1", "messages": messages})
    [message] = append_messages(memory.of(user="ada"), ask)
    assert message.said_at == NOON


@pytest.mark.parametrize(
    "said_at",
    [0, 1_700_000_000, 1.5, True, "0", "1700000000", "-5", "1.5e3", "soon", "2026-11-20T12:00:00", NOON.date()],
    ids=repr,
)
def test_no_number_is_taken_for_a_time(said_at: Any) -> None:
    with pytest.raises(ValidationError):
        Said.model_validate({"role": "user", "content": "Hello", "said_at": said_at})
