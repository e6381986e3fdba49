"""Transcripts: how the messages of a host become messages to keep."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any, Final

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from memory_tools.operations import CATALOG
from memory_tools.said import RECALLED, text_of
from memory_tools.visible import visible
from storage.canonical import canonical, dumps
from storage.conversations import ROLES, TOKEN_LIMIT, NewMessage
from storage.errors import InvalidInput, InvalidJson, InvalidName, TooLarge
from storage.json_types import Json
from storage.limits import MESSAGE_LIMIT
from storage.names import check_name

DEFAULT_CONVERSATION: Final = "default"
"""Where messages are kept that come without the name of a conversation, and without a thread of LangGraph."""

_ROLES: Final = {HumanMessage: "user", AIMessage: "assistant", ToolMessage: "tool", SystemMessage: "system"}


def transcript(messages: Iterable[BaseMessage | NewMessage | Mapping[str, Any]], run: str) -> list[NewMessage]:
    """Return messages to keep, each with an external id, so that keeping them again adds nothing.

    A LangChain message brings its own id. What has none gets one of `run` and its place: the same within one run that
    is tried again, another one in the next run. Messages of a model without content (it called a tool) are left out;
    what they cost is counted with the model's next message. What a memory tool answered is marked: it repeats memory.
    A LangChain message is never refused: what cannot be kept as it is, is kept as near to it as can be. Raises
    InvalidInput for what is no message.
    """
    if isinstance(messages, str):
        raise InvalidInput("messages are a list, not one text")
    new: list[NewMessage] = []
    spent = 0
    for message in messages:
        spent += _tokens(message)
        if not _is_call_alone(message):
            kept = _new_message(message)
            new.append(_costing(kept, spent) if spent else kept)
            spent = 0
    if spent and new:  # the last answer was empty
        new[-1] = _costing(new[-1], spent)
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
    if not isinstance(message, BaseMessage):
        raise InvalidInput(f"a message is a LangChain message or a mapping, not {type(message).__name__}")
    metadata: dict[str, Json] = {RECALLED: True} if _is_recalled(message) else {}
    content = _keepable(message.content)
    if content is not message.content:
        metadata["shortened"] = True
    known_as = conversation_name(message.id)
    return NewMessage(_role(message), content, external_id=known_as, metadata=metadata)


def conversation_name(given: object) -> str | None:
    """Return the name under which a host's id is kept: its text, or where that is no acceptable name, a hash of it.

    None where nothing was given, or an empty text.
    """
    if given is None or given == "":
        return None
    text = str(given)
    try:
        return check_name(text, "id")
    except InvalidName:
        return sha256(text.encode("utf-8", "replace")).hexdigest()[:32]


def _role(message: BaseMessage) -> str:
    """Return who said it. A kind of message that LangChain no longer has is trusted least."""
    known = next((role for kind, role in _ROLES.items() if isinstance(message, kind)), None)
    said_by = getattr(message, "role", None)
    return known or (said_by if said_by in ROLES else "tool")


def _is_recalled(message: BaseMessage) -> bool:
    return bool(message.additional_kwargs.get(RECALLED)) or (
        isinstance(message, ToolMessage) and message.name in CATALOG
    )


def _costing(message: NewMessage, more: int) -> NewMessage:
    return replace(message, tokens=min(message.tokens + more, TOKEN_LIMIT))


def _tokens(message: object) -> int:
    """Return what a model said that this message cost, in tokens."""
    usage = message.usage_metadata if isinstance(message, AIMessage) else None
    return 0 if usage is None else min(max(0, usage["total_tokens"]), TOKEN_LIMIT)


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
