"""Answers: what an operation returned, as JSON, and as the text that a model reads."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel

from memory_tools.visible import visible
from storage.canonical import dumps
from storage.json_types import Json

ANSWER_LIMIT: Final = 20_000
"""Characters of one answer that a model is shown, about 5,000 tokens."""

DONE: Final = {"done": True}
"""What an operation answers that has nothing to say."""


def as_json(answer: Any) -> Json:
    """Return what an operation answered as JSON values: an outcome with its `status`, times in ISO 8601."""
    if isinstance(answer, Enum):
        return answer.value
    if answer is None or isinstance(answer, str | int | float):
        return answer
    if isinstance(answer, datetime):
        return answer.isoformat()
    if isinstance(answer, UUID):
        return str(answer)
    if isinstance(answer, Mapping):
        return {str(name): as_json(member) for name, member in answer.items()}
    if isinstance(answer, list | tuple):
        return [as_json(entry) for entry in answer]
    if isinstance(answer, BaseModel):
        return answer.model_dump(mode="json", by_alias=True)
    return _of_object(answer)


def as_text(answer: Any) -> str:
    """Return the answer as compact JSON for a model: without what nobody can see, and of bounded length."""
    text = dumps(_seen(DONE if answer is None else as_json(answer)))
    if len(text) <= ANSWER_LIMIT:
        return text
    return text[:ANSWER_LIMIT] + f"… (cut: {len(text):,} characters; ask for a part, or for a smaller page)"


def _of_object(answer: Any) -> Json:
    if hasattr(answer, "as_json"):
        return answer.as_json()
    if not is_dataclass(answer):
        raise TypeError(f"an operation answers with JSON values or dataclasses, not {type(answer).__name__}")
    members = {each.name: as_json(getattr(answer, each.name)) for each in fields(answer)}
    status = getattr(answer, "status", None)
    return members if status is None or "status" in members else {"status": status} | members


def _seen(value: Json) -> Json:
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {visible(name): _seen(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_seen(entry) for entry in value]
    return value
