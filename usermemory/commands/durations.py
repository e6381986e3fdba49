"""Durations: spans of time as the command line and the environment write them, such as `2h`."""

import re
from datetime import timedelta
from typing import Any

import click

from storage.errors import InvalidInput

_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}

_WRITTEN = re.compile(r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?", re.ASCII)


def duration(written: str) -> timedelta:
    """Return the span that `2h`, `90m`, `1h30m`, `45s` or `7d` stands for, and nothing at all for `0`.

    Raises InvalidInput for anything else.
    """
    found = _WRITTEN.fullmatch(written)
    if written == "0":
        return timedelta()
    if not written or found is None:
        raise InvalidInput(f"{written!r} is no span of time: write 2h, 90m, 1h30m, 45s or 7d")
    counts = zip(_UNITS.values(), found.groups(), strict=True)
    return timedelta(**{unit: int(count) for unit, count in counts if count is not None})


class Duration(click.ParamType[timedelta]):
    """A span of time of an option."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Return the span; anything else is wrong usage."""
        if isinstance(value, timedelta):
            return value
        try:
            return duration(value)
        except InvalidInput as error:
            self.fail(str(error), param, ctx)
