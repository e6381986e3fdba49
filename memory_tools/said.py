"""Said: a kept message as a model or a rule reads it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from storage.canonical import dumps
from storage.conversations import Message
from storage.json_types import Json
from storage.trust import Trust

ROLE_TRUST: Final[Mapping[str, Trust]] = {
    "user": Trust.USER,
    "assistant": Trust.AGENT,
    "system": Trust.AGENT,
    "tool": Trust.TOOL,
}
"""How far what a role says is trusted. What a tool returns may be anybody's text, so a change from it is held."""

RECALLED: Final = "recalled"
"""In a message's metadata (`additional_kwargs` of a LangChain one): it repeats memory, so nothing is learnt of it."""


@dataclass(frozen=True, slots=True)
class Said:
    """One message as a summarizer reads it. `number` is what it cites."""

    number: int
    conversation: str
    role: str
    said_at: datetime
    text: str

    @classmethod
    def of(cls, message: Message) -> "Said":
        """Return the readable side of a kept message."""
        return cls(message.number, message.conversation, message.role, message.said_at, text_of(message.content))

    @property
    def trust(self) -> Trust:
        """How far the one who said it is trusted."""
        return ROLE_TRUST[self.role]


def text_of(content: Json) -> str:
    """Return what can be read in the content of a message: a text, or the content blocks of a chat model."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(filter(None, map(_text_of_block, content)))
    return dumps(content)


def _text_of_block(block: Json) -> str:
    if isinstance(block, str):
        return block
    if not isinstance(block, dict):
        return dumps(block)
    text = block.get("text")
    return text if isinstance(text, str) else f"[{block.get('type', 'data')}]"
