"""Material: what a summarizer is given beside the document, each piece with how far it is trusted."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from pydantic import BaseModel

from memory_tools.memory import UserMemory
from storage.canonical import dumps
from storage.conversations import Message
from storage.document import MemoryDocument
from storage.items import Item
from storage.json_types import Json
from storage.provenance import Trust, lowest

ROLE_TRUST: Final[Mapping[str, Trust]] = {
    "user": Trust.USER,
    "assistant": Trust.AGENT,
    "system": Trust.AGENT,
    "tool": Trust.TOOL,
}
"""How far what a role says is trusted. What a tool returns may be anybody's text, so a change from it is held."""

SOURCE_LIMIT = 20_000
"""Characters of one source's text that are shown to a summarizer."""


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


@dataclass(frozen=True, slots=True)
class SourceText:
    """What a host's own source knows beside the conversations, such as a calendar or a diary."""

    label: str
    text: str
    trust: Trust = Trust.TOOL
    """Below `agent`, which is the default here, the guard holds every change that may come from it."""


Source: TypeAlias = Callable[[UserMemory], SourceText | None]
"""Asked in each run; answers None when it has nothing new about the person. It may block: it runs in a thread."""


@dataclass(frozen=True, slots=True)
class Material:
    """What is new about one person, and the model that documents must fit."""

    messages: tuple[Said, ...] = ()
    items: tuple[Item, ...] = ()
    texts: tuple[SourceText, ...] = ()
    schema: type[BaseModel] = MemoryDocument

    def __bool__(self) -> bool:
        """Tell whether there is anything new."""
        return bool(self.messages or self.items or self.texts)

    @property
    def trust(self) -> Trust:
        """The lowest trust of all that is here. An item may have been set by an agent, so it counts as one."""
        items = [Trust.AGENT] if self.items else []
        return lowest([*(said.trust for said in self.messages), *items, *(text.trust for text in self.texts)])


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
