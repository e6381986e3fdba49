"""Pages: long lists come in parts, each with the cursor of the next."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from storage.errors import InvalidInput
from storage.limits import PAGE_LIMIT

Entry = TypeVar("Entry")
Place = TypeVar("Place", int, str, tuple[str, str])


@dataclass(frozen=True, slots=True)
class Page(Generic[Entry, Place]):
    """Some entries, and where to go on (None: that was all)."""

    entries: tuple[Entry, ...]
    next: Place | None


def page_size(limit: int) -> int:
    """Return `limit` when it is between 1 and PAGE_LIMIT; else InvalidInput."""
    if not 1 <= limit <= PAGE_LIMIT:
        raise InvalidInput(f"limit must be between 1 and {PAGE_LIMIT}, not {limit}")
    return limit
