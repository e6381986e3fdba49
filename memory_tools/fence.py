"""Fences: lines of data in a prompt, between two markers that nothing in them can repeat."""

import hashlib
from collections.abc import Sequence

_MARKER_LENGTH = 16


def fenced(name: str, sentence: str, lines: Sequence[str]) -> str:
    """Return `sentence`, and behind it the lines between the two markers of `name`; empty when there are no lines.

    The marker is made of the lines, so that the same ones give the same bytes. A line must not hold a line end.
    """
    if not lines:
        return ""
    content = "\n".join(lines)
    marker = outside(hashed(content), content)
    return f"{sentence}\n<<< {name} {marker}\n{content}\n>>> {name} {marker}"


def room(name: str, sentence: str, characters: int) -> int:
    """Return how many of so many characters `fenced` leaves for the lines, each with its line end."""
    return characters - len(fenced(name, sentence, [""])) + 1  # the last line's end is part of the fence


def outside(marker: str, content: str) -> str:
    """Return `marker`, or the first one hashed from it that does not stand in `content`."""
    while marker in content:
        marker = hashed(marker)
    return marker


def hashed(text: str) -> str:
    """Return 16 hexadecimal digits that `text` has nearly for itself."""
    return hashlib.sha256(text.encode()).hexdigest()[:_MARKER_LENGTH]
