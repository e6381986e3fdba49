"""Faults: where in a question something is wrong, out of what pydantic says of it."""

import re
from typing import Final

from pydantic_core import ErrorDetails

_KIND: Final = re.compile(r"(constrained-)?(str|int|bool|datetime)|(union|function-[a-z]+)\[.*\]")


def place_of(fault: ErrorDetails) -> list[str]:
    """Return the way to a member, without what pydantic calls the kinds of values that it may have."""
    parts = list(map(str, fault["loc"]))
    while len(parts) > 1 and _KIND.fullmatch(parts[-1]) and fault["type"] != "extra_forbidden":
        parts.pop()
    return parts
