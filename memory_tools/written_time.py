"""Written times: a time in a question is written out, with its zone."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator


def _written(value: Any) -> Any:
    """Read a time, and refuse numbers: nobody says whether they count seconds or milliseconds, and 0 is a time, too."""
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value.upper())
        except ValueError:
            pass  # whose text quotes the value
    if isinstance(value, datetime):
        return value
    raise ValueError("write the time as 2026-11-20T09:00:00+00:00")


WrittenTime = Annotated[AwareDatetime, BeforeValidator(_written)]
"""A time as RFC 3339 writes it, or a datetime from Python. It is read here, so strict questions take it, too."""
