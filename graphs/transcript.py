"""Transcripts: how the messages of a host become messages to keep."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from langchain_core.messages import AIMessage, BaseMessage

from graphs.material import text_of
from memory_tools.operations import CATALOG
from memory_tools.visible import visible
from storage.canonical import canonical, dumps
from storage.conversations import NewMessage
from storage.errors import InvalidInput, InvalidJson, TooLarge
from storage.json_types import Json
from storage.limits import MESSAGE_LIMIT

RECALLED: Final = "recalled"
"""In a message's metadata (`additional_kwargs` of a LangChain one): it repeats memory, so nothing is learnt of it."""

_ROLES: Final = {"human": "user", "ai": "assistant", "tool": "tool", "system": "system"}


def transcript(messages: Iterable[BaseMessage | NewMessage | Mapping[str, Any]], run: str) -> list[NewMessage]:
    """Return messages to keep, each with an external id, so that keeping them again adds nothing.

    A LangChain message brings its own id. What has none gets one of `run` and its place: the same within one run that
    is tried again, another one in the next run. Messages of a model without content (it called a tool) are left out;
    what they cost is counted with the model's next message. What a memory tool answered is marked: it repeats memory.
    Raises InvalidInput for what is no message.
    """
    new: list[NewMessage] = []
    spent = 0
    for message in messages:
        spent += _tokens(message)
        if not _is_call_alone(message):
            kept = _new_message(message)
            new.append(replace(kept, tokens=kept.tokens + spent) if spent else kept)
            spent = 0
    return [
        message if message.external_id is not None else replace(message, external_id=f"{run}:{place}")
        for place, message in enumerate(new)
    ]


def _is_call_alone(message: object) -> bool:
    return isinstance(message, AIMessage) and not message.content


def _new_message(message: object) -> NewMessage:
    if isinstance(message, NewMessage):
        return message
    if isinstance(message, Mapping):
        return NewMessage.of(message)
    if not isinstance(message, BaseMessage) or message.type not in _ROLES:
        raise InvalidInput(f"a message is a LangChain message or a mapping, not {type(message).__name__}")
    metadata: dict[str, Json] = {RECALLED: True} if _is_recalled(message) else {}
    content = _keepable(message.content)
    if content is not message.content:
        metadata["shortened"] = True
    return NewMessage(_ROLES[message.type], content, external_id=message.id, metadata=metadata)


def _is_recalled(message: BaseMessage) -> bool:
    return bool(message.additional_kwargs.get(RECALLED)) or (message.type == "tool" and message.name in CATALOG)


def _tokens(message: object) -> int:
    """Return what a model said that this message cost, in tokens."""
    usage = message.usage_metadata if isinstance(message, AIMessage) else None
    return 0 if usage is None else max(0, usage["total_tokens"])


def _keepable(content: Any) -> Any:
    """Return the content as it is, or where it cannot be kept like that (an image, a long page) its text, cut to fit.

    What people say is never lost because something else in the same turn was too large.
    """
    try:
        canonical(content, limit=MESSAGE_LIMIT)
    except (InvalidJson, TooLarge):
        return _cut(visible(text_of(content)))
    return content


def _cut(text: str) -> str:
    """Return as much of the beginning of `text` as one message may hold."""
    while (size := len(dumps(text).encode())) > MESSAGE_LIMIT:
        text = text[: len(text) * MESSAGE_LIMIT // size - 1]
    return text
