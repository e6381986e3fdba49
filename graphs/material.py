"""Material: what a summarizer is given beside the document, each piece with how far it is trusted."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from pydantic import BaseModel

from memory_tools.memory import UserMemory
from memory_tools.said import Said
from storage.document import MemoryDocument
from storage.items import Item
from storage.json_types import Document
from storage.provenance import Trust, lowest

SOURCE_LIMIT = 20_000
"""Characters of one source's text that are shown to a summarizer."""


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
class Recapped:
    """New messages of one conversation in the words of its memory, which a model is shown in their place."""

    conversation: str
    data: Document
    """The conversation memory, without what only messages say that were seen before."""

    messages: tuple[Said, ...]
    """The messages that it stands for, of which there is at least one. Their numbers may be cited."""

    trust: Trust
    """The lowest of what it was made of: it does not show which of its words come from whom."""


@dataclass(frozen=True, slots=True)
class Material:
    """What is new about one person, and the model that documents must fit."""

    messages: tuple[Said, ...] = ()
    """Messages that no conversation memory stands for."""

    items: tuple[Item, ...] = ()
    texts: tuple[SourceText, ...] = ()
    schema: type[BaseModel] = MemoryDocument
    recaps: tuple[Recapped, ...] = ()

    def __bool__(self) -> bool:
        """Tell whether there is anything new."""
        return bool(self.messages or self.recaps or self.items or self.texts)

    @property
    def said(self) -> tuple[Said, ...]:
        """All new messages in their order, also those that a conversation memory stands for."""
        recapped = (said for recap in self.recaps for said in recap.messages)
        return tuple(sorted((*self.messages, *recapped), key=lambda said: said.number))

    @property
    def trusts(self) -> dict[int, Trust]:
        """How far each new message is trusted as a source, by its number."""
        raw = {said.number: said.trust for said in self.messages}
        return raw | {said.number: recap.trust for recap in self.recaps for said in recap.messages}

    @property
    def trust(self) -> Trust:
        """The lowest trust of all that is here. An item may have been set by an agent, so it counts as one."""
        items = [Trust.AGENT] if self.items else []
        return lowest([*self.trusts.values(), *items, *(text.trust for text in self.texts)])
