"""Operations on activity: what a person did that memory has not seen (seed 001)."""

from memory_tools.memory import UserMemory
from memory_tools.operation import Audience, Effect, Input, operation


class NothingToAdd(Input):
    """No further input."""


@operation(Effect.WRITE, "POST /activity", Audience.OPERATOR, example={})
def note_activity(memory: UserMemory, ask: NothingToAdd) -> None:
    """Note that the person is active now. Use it for what happens elsewhere: the daily job then looks after them."""
    memory.note_activity()
