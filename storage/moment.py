"""Moments: times with a zone, which both databases can keep."""

from datetime import UTC, datetime

from storage.errors import InvalidInput


def checked_moment(moment: datetime) -> datetime:
    """Return the time in UTC; raises InvalidInput when it has no zone, or is outside the years 1 to 9999 there."""
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise InvalidInput("a time needs a zone, such as 2026-11-20T09:00:00+00:00")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise InvalidInput("a time must lie within the years 1 to 9999 in UTC") from None
