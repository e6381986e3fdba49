"""Transcripts: how the messages of a host become messages to keep."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from langchain_core.messages import AIMessage, BaseMessage

from storage.conversations import NewMessage
from storage.errors import InvalidInput

RECALLED: Final = "recalled"
"""In a message's metadata (`additional_kwargs` of a LangChain one): it repeats memory, so nothing is learnt of it."""

_ROLES: Final = {"human": "user", "ai": "assistant", "tool": "tool", "system": "system"}


def transcript(messages: Iterable[BaseMessage | NewMessage | Mapping[str, Any]], run: str) -> list[NewMessage]:
    """Return messages to keep, each with an external id, so that keeping them again adds nothing.

    A LangChain message brings its own id. What has none gets one of `run` and its place: the same within one run that
    is tried again, another one in the next run. Messages of a model without content (it called a tool) are left out.
    Raises InvalidInput for what is no message.
    """
    new = [_new_message(message) for message in messages if not _is_call_alone(message)]
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
    metadata = {RECALLED: True} if message.additional_kwargs.get(RECALLED) else {}
    return NewMessage(_ROLES[message.type], message.content, external_id=message.id, metadata=metadata)
