"""Layout: JSON for people. What fits in the line stays in one line; it is JSON still, and can be copied as such."""

import json
from collections.abc import Iterator
from shutil import get_terminal_size

import click

from storage.json_types import Json
from usermemory.commands.visible import visible

WIDTH = 100
"""Characters in a line at the most: wider terminals are not filled."""

INDENT = 2


def width() -> int:
    """Return how many characters a line may have here."""
    return min(WIDTH, get_terminal_size((WIDTH, 24)).columns)


def in_one_line(value: Json) -> str:
    """Return `value` as JSON in one line, with spaces for the eye and escapes for what could not be seen."""
    return visible(json.dumps(value, ensure_ascii=False))


def shortened(text: str, room: int) -> str:
    """Return `text`, or its beginning with an ellipsis when it is longer than `room`."""
    return text if len(text) <= room else text[: max(room - 1, 1)] + "…"


def laid_out(value: Json, indent: int = 0, lead: str = "", trail: str = "") -> Iterator[str]:
    """Yield the lines of `value` as JSON, coloured; `lead` stands before the first and `trail` behind the last."""
    flat = in_one_line(value)
    if not (isinstance(value, dict | list) and value) or indent + len(click.unstyle(lead + flat)) < width():
        yield f"{' ' * indent}{lead}{_coloured(value, flat)}{trail}"
        return
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    yield f"{' ' * indent}{lead}{opening}"
    members = list(value.items()) if isinstance(value, dict) else [(None, entry) for entry in value]
    for place, (name, member) in enumerate(members, start=1):
        named = "" if name is None else f"{click.style(in_one_line(name), fg='cyan')}: "
        yield from laid_out(member, indent + INDENT, named, "," if place < len(members) else "")
    yield f"{' ' * indent}{closing}{trail}"


def _coloured(value: Json, flat: str) -> str:
    """Return `flat` with the names of members in colour where `value` is an object."""
    if isinstance(value, dict):
        members = [f"{click.style(in_one_line(name), fg='cyan')}: {_flat(member)}" for name, member in value.items()]
        return "{" + ", ".join(members) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flat, value)) + "]"
    return flat


def _flat(value: Json) -> str:
    return _coloured(value, in_one_line(value))
