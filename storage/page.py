"""Pages: long lists come in parts, each with the cursor of the next."""

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar
from uuid import UUID

from storage.errors import InvalidInput
from storage.limits import PAGE_LIMIT
from storage.moment import checked_moment

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


def place_of(moment: datetime, entry: UUID) -> str:
    """Return the place behind an entry, in a list by time in which several may stand at one moment."""
    return f"{moment.isoformat()} {entry}"


def read_place(after: str) -> tuple[datetime, UUID]:
    """Return the moment and the entry of a place that `place_of` wrote. Raises InvalidInput for anything else."""
    try:
        moment, _, entry = after.partition(" ")
        return checked_moment(datetime.fromisoformat(moment)), UUID(entry)
    except ValueError:
        raise InvalidInput("`after` is not what a page gave as its `next`") from None
