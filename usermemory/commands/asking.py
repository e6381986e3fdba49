"""Asking: the one place where the command line asks an operation."""

from typing import Any, TypeVar

from pydantic import ValidationError

from memory_tools.memory import UserMemory
from memory_tools.operation import Input, Operation
from storage.errors import InvalidInput

Ask = TypeVar("Ask", bound=Input)
Answer = TypeVar("Answer")


def ask(operation: Operation[Ask, Answer], memory: UserMemory, **question: Any) -> Answer:
    """Return what `operation` answers. Raises InvalidInput for a question that its input refuses."""
    try:
        asked = operation.input(**question)
    except ValidationError as invalid:
        fault = invalid.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(token) for token in fault["loc"] if str(token) in question)
        raise InvalidInput(f"{place}: {fault['msg']}") from None
    return operation(memory, asked)
