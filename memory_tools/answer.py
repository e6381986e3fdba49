"""Answers: what an operation returned, as JSON, and as the text that a model reads."""

from dataclasses import fields, is_dataclass
from typing import Any, Final

import orjson
from pydantic import BaseModel

from memory_tools.visible import is_visible, visible_value
from storage.json_types import Json
from storage.page import Page
from storage.snapshots import HistoryEntry

ANSWER_LIMIT: Final = 20_000
"""Characters of one answer that a model is shown, about 5,000 tokens."""

DONE: Final = {"done": True}
"""What is said of an operation that has nothing to say."""

_AS_MEMBERS: Final = orjson.OPT_PASSTHROUGH_DATACLASS
_SORTED: Final = _AS_MEMBERS | orjson.OPT_SORT_KEYS


def as_json(answer: Any) -> Json:
    """Return what an operation answered as JSON values: an outcome with its `status`, times in ISO 8601."""
    return orjson.loads(orjson.dumps(answer, default=_members, option=_AS_MEMBERS))


def as_text(answer: Any) -> str:
    """Return the answer as compact JSON for a model: without what nobody can see, and of bounded length."""
    text = orjson.dumps(DONE if answer is None else answer, default=_members, option=_SORTED).decode()
    if not is_visible(text):
        text = orjson.dumps(visible_value(orjson.loads(text)), option=_SORTED).decode()
    if len(text) <= ANSWER_LIMIT:
        return text
    return text[:ANSWER_LIMIT] + f"… (cut: {len(text):,} characters; ask for a part, or for a smaller page)"


def as_artifact(answer: Any) -> Any:
    """Return the answer as it is, for the program around a model; a history as JSON.

    A message with its artifact ends up in checkpoints, and LangGraph will no longer read the enums of a provenance.
    """
    if answer is None:
        return DONE
    history = isinstance(answer, Page) and answer.entries and isinstance(answer.entries[0], HistoryEntry)
    return as_json(answer) if history else answer


def _members(answer: Any) -> Any:
    """Return the members of what is no JSON value; what is inside them comes here in its turn."""
    if isinstance(answer, BaseModel):
        return answer.model_dump(mode="json", by_alias=True)
    if hasattr(answer, "as_json"):
        return answer.as_json()
    if not is_dataclass(answer):
        raise TypeError(f"an operation answers with JSON values or dataclasses, not {type(answer).__name__}")
    members = {each.name: getattr(answer, each.name) for each in fields(answer)}
    status = getattr(answer, "status", None)
    return members if status is None or "status" in members else {"status": status} | members
