"""Met: whom a thread of calls met, hashed, and behind which message; what was said before is nobody's any more.

A thread keeps its messages when somebody is erased. The next call of the same number is a first contact again, and what
the thread still holds must not come back with it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage

from memory_tools.context import member


def meeting(messages: Sequence[Any], met: Any, person: str | None) -> dict[str, Any] | None:
    """Return what a thread has to keep from now on; None where it meets nobody, or whom it met before."""
    if person is None or member(met, "person") == person:
        return None
    place = 0 if met is None else _beginning(messages)
    if place == 0:
        return {"person": person}
    known_as = getattr(messages[place - 1], "id", None)
    return {"person": person, **({"place": place} if known_as is None else {"behind": known_as})}


def said_since(messages: Sequence[Any], met: Any) -> Sequence[Any]:
    """Return what was said since the thread met the one it is with; all of it where the place was cut off meanwhile."""
    behind = member(met, "behind")
    if behind is None:
        return messages[member(met, "place") or 0 :]
    found = (place + 1 for place, message in enumerate(messages) if getattr(message, "id", None) == behind)
    return messages[next(found, 0) :]


def _beginning(messages: Sequence[Any]) -> int:
    """Return at which place of a thread the run begins: behind the last answer of the agent."""
    place = len(messages)
    while place and not _is_answer(messages[place - 1]):
        place -= 1
    return place


def _is_answer(message: Any) -> bool:
    return isinstance(message, AIMessage) or (isinstance(message, Mapping) and message.get("role") == "assistant")
