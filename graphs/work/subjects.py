"""Subjects: the ids of conversations and people that a message names."""

import logging
from collections.abc import Sequence
from typing import Any
from uuid import UUID

_log = logging.getLogger(__name__)


def subjects(written: Sequence[Any]) -> list[UUID]:
    """Return the ids among what a message names, each once; what is none is logged, and passed over."""
    found = dict.fromkeys(map(_uuid, written))
    if None in found:
        _log.error("a message names what is no id")
    return [each for each in found if each is not None]


def _uuid(written: Any) -> UUID | None:
    try:
        return UUID(written)
    except (AttributeError, TypeError, ValueError):
        return None
