"""Failures: how an error is told to a model: one line that begins with the stable code and says what to do next."""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS, CallToolResult, TextContent
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from memory_tools.faults import place_of
from memory_tools.visible import visible
from storage.errors import (
    Conflict,
    DatabaseError,
    Erased,
    IdentityConflict,
    InsufficientScope,
    InvalidInput,
    MemoryDisabled,
    NotFound,
    RateLimited,
    TimedOut,
    TooLarge,
    Unauthenticated,
    UserMemoryError,
    VersionConflict,
)

LINE_LIMIT: Final = 600
"""Characters of an error."""

PLACES: Final = 5
"""Places of a conflict that are named."""

UNFORESEEN: Final = "internal_error: The memory could not be used. Go on without it, and try again later."
"""What is told of an error that nobody foresaw: its own text may quote anything."""

_NEXT: Final[Mapping[type[UserMemoryError], str]] = {
    NotFound: "Read or list what is there first.",
    VersionConflict: "Read it again, and repeat your change on what you find.",
    IdentityConflict: "An operator has to merge the two; go on without memory.",
    Conflict: "Try again.",
    TooLarge: "Keep less, or keep it in parts.",
    InvalidInput: "Correct the arguments and try again.",
    Unauthenticated: "Tell the person to sign in again.",
    InsufficientScope: "Tell the person that this connection may not do it; do not try again.",
    MemoryDisabled: "Go on without memory; do not try again.",
    Erased: "Go on without memory; do not try again.",
    RateLimited: "Wait before you ask again.",
    DatabaseError: "Go on without memory, and try again later.",
}
"""What to do next, by the nearest class of an error. The others say it themselves."""

_EXPECTED: Final = [
    (re.compile("int_.*|finite_number"), "a whole number"),
    (re.compile("string_(type|sub_type|unicode)"), "a text"),
    (re.compile("bool_.*"), "true or false"),
    (re.compile("list_type"), "a list"),
    (re.compile("dict_.*|model_.*"), "an object"),
    (re.compile("date.*|timezone.*"), "a time, such as 2026-11-20T09:00+00:00"),
]
"""The kind of value that is expected, by pydantic's type of the error."""

_FAULTS: Final[Mapping[str, str]] = {
    "missing": "is missing",
    "extra_forbidden": "there is no argument of this name",
    "greater_than_equal": "too small: at least {ge}",
    "less_than_equal": "too large: at most {le}",
    "too_short": "too few: at least {min_length}",
    "too_long": "too many: at most {max_length}",
    "string_too_long": "too long: at most {max_length} characters",
    "value_error": "{error}",
}
"""What is wrong otherwise; for an error that is in neither, pydantic's own message has to do."""

_log = logging.getLogger(__name__)


def told(error: UserMemoryError) -> str:
    """Return the line: the code, what happened, what to do next. Nothing in it breaks the line or cannot be seen."""
    kinds = type(error).__mro__
    parts = [_sentence(f"{error.code}: {error}"), *_details(error)]
    parts += [_NEXT[kind] for kind in kinds if kind in _NEXT][:1]
    return " ".join(visible(" ".join(parts)).split())[:LINE_LIMIT]  # whatever a name holds, it stays one line


def misasked(error: ValidationError) -> InvalidInput:
    """Return what is wrong with the arguments, without repeating them."""
    wrong: dict[str, list[ErrorDetails]] = {}
    for fault in error.errors(include_url=False, include_input=False):
        if fault["type"] != "none_required":
            wrong.setdefault(".".join(place_of(fault)) or "arguments", []).append(fault)
    return InvalidInput("; ".join(f"{place}: {_wrong(faults)}" for place, faults in islice(wrong.items(), PLACES)))


def failed(line: str) -> CallToolResult:
    """Return the answer of a tool that failed."""
    return CallToolResult(content=[TextContent(type="text", text=line)], is_error=True)


def refused(error: UserMemoryError) -> MCPError:
    """Return the error of anything that is not a tool; its data holds the code for programs."""
    code = INTERNAL_ERROR if isinstance(error, DatabaseError | TimedOut) else INVALID_PARAMS
    return MCPError(code, told(error), {"code": error.code})


def unforeseen(name: str, error: Exception) -> str:
    """Log what kind of error nobody foresaw, without its text, and return what is told of it."""
    _log.error("%s failed: %s", name, type(error).__name__)
    return UNFORESEEN


def _wrong(faults: Sequence[ErrorDetails]) -> str:
    """Return what is wrong with an argument: where it may be of two kinds, it has a fault of each."""
    expected = [_expected(each) for each in faults]
    kinds = dict.fromkeys(filter(None, expected))
    others = dict.fromkeys(_fault(each) for each, kind in zip(faults, expected, strict=True) if kind is None)
    return ", or ".join([*([f"give {' or '.join(kinds)}"] if kinds else []), *others])


def _expected(fault: ErrorDetails) -> str | None:
    return next((kind for types, kind in _EXPECTED if types.fullmatch(fault["type"])), None)


def _fault(fault: ErrorDetails) -> str:
    told = _FAULTS.get(fault["type"])
    return fault["msg"] if told is None else told.format_map(fault.get("ctx", {}))


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _details(error: UserMemoryError) -> Iterator[str]:
    if isinstance(error, VersionConflict) and error.current is not None:
        if f"version {error.current} " not in f"{error} ":
            yield f"It is at version {error.current}."
        places = [str(each["pointer"]) for each in error.conflicts]
        if places:
            yield f"Both sides changed {', '.join(places[:PLACES])}{' and more' if len(places) > PLACES else ''}."
    elif isinstance(error, RateLimited) and error.retry_after is not None:
        yield f"The next one may come in {error.retry_after} seconds."
