"""Announcing: how one door tells the others of its process what has changed in a person's memory."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from storage.json_types import Json

Announce: TypeAlias = Callable[[tuple[str, ...], str, Mapping[str, Json], Json], None]
"""Takes the key of the person, the name of the operation, what it was asked with, and what it answered.

It is called in a thread, once the change is kept, and raises nothing.
"""


def unheard(whose: tuple[str, ...], name: str, given: Mapping[str, Json], said: Json) -> None:
    """Tell nobody: there is no other door."""
