"""Moments: the times that a caller gives, which must mean the same on every machine and in every database."""

from datetime import UTC, datetime

from storage.errors import InvalidInput


def checked_moment(time: datetime) -> datetime:
    """Return `time` in UTC. Raises InvalidInput for one without a zone, or outside the years 1 to 9999 there."""
    if not isinstance(time, datetime) or time.tzinfo is None:
        raise InvalidInput("a time needs a zone, such as 2026-11-20T09:00:00+00:00")
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise InvalidInput("a time lies between the years 1 and 9999 in UTC") from None
