"""Recaps: one conversation on its way to its memory, and what a conversation memory looks like."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, NotRequired

from pydantic import BaseModel, ConfigDict, Field, with_config
from typing_extensions import TypedDict

from memory_tools.said import Said
from storage.canonical import canonical
from storage.document import check_document
from storage.errors import InvalidInput
from storage.json_types import Document, Json
from storage.provenance import TokenUsage

RECAP_LIMIT = 16 * 1024
"""Bytes of canonical JSON in a conversation memory that a summarizer makes, and in one that it goes on from."""

READ_ROLES: Final = ("user", "assistant")
"""Whose messages are read by default, and whose a conversation memory stands for: what tools answer is not learnt."""


@with_config(ConfigDict(extra="allow"))
class Noted(TypedDict):
    """One thing worth keeping, and the numbers of the messages it comes from. Members beside these are kept."""

    text: str
    messages: NotRequired[list[int]]


class ConversationRecap(BaseModel):
    """The shape of a conversation memory unless the host brings its own model. Members beside these are kept."""

    model_config = ConfigDict(extra="allow")

    summary: str
    """What the conversation was about and how it ended, in a few sentences."""

    facts: list[Noted] = Field(default_factory=list)
    """What was said about the person and their life, and what they decided."""

    preferences: list[Noted] = Field(default_factory=list)
    """What they like, dislike, and how they want to be treated."""

    open_points: list[Noted] = Field(default_factory=list)
    """What they want to reach, and what was promised or asked and is not settled."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """What a summarizer reads of one conversation: messages in their order, and what was made of those before them."""

    conversation: str
    messages: tuple[Said, ...]
    earlier: Document | None = None
    """The memory of all messages before these, to go on from. It fits `schema`."""

    schema: type[BaseModel] = ConversationRecap
    """The shape of the new memory."""

    @property
    def citable(self) -> frozenset[int]:
        """The numbers that a recap may name: those of the messages, and those that the earlier memory names."""
        return frozenset(said.number for said in self.messages) | _cited(self.earlier or {})


@dataclass(frozen=True, slots=True)
class Recap:
    """A conversation memory, and how it came about."""

    data: Document
    model: str | None = None
    prompt: str | None = None
    """The version of the prompt."""

    tokens: TokenUsage | None = None


def check_recap(data: Document, schema: type[BaseModel]) -> None:
    """Check that a conversation memory has the shape and the size of one that a summarizer makes.

    Raises InvalidInput and its kinds.
    """
    check_document(data, schema)
    canonical(data, limit=RECAP_LIMIT)


def fits(data: Document, schema: type[BaseModel]) -> bool:
    """Tell whether a summarizer could go on from this conversation memory."""
    try:
        check_recap(data, schema)
    except InvalidInput:
        return False
    return True


def says_nothing(value: Json) -> bool:
    """Tell whether nothing is in `value` but empty texts, lists and objects."""
    if isinstance(value, dict):
        return all(map(says_nothing, value.values()))
    if isinstance(value, list):
        return all(map(says_nothing, value))
    return value is None or (isinstance(value, str) and not value.strip())


def with_true_citations(data: Document, known: Collection[int]) -> Document:
    """Return a conversation memory whose entries name no other messages than the `known` ones."""
    return {name: [_citing(entry, known) for entry in _entries(value)] or value for name, value in data.items()}


def about(data: Document, numbers: Collection[int]) -> Document:
    """Return a conversation memory without the entries that name messages, and none of these."""
    kept: Document = {}
    for name, value in data.items():
        stay = [entry for entry in _entries(value) if not (named := _numbers(entry)) or named & set(numbers)]
        kept[name] = stay if _entries(value) else value
    return kept


def _citing(entry: Json, known: Collection[int]) -> Json:
    if not _numbers(entry):
        return entry
    return {**entry, "messages": sorted(_numbers(entry) & set(known))}


def _cited(data: Document) -> frozenset[int]:
    return frozenset(number for value in data.values() for entry in _entries(value) for number in _numbers(entry))


def _entries(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def _numbers(entry: Json) -> frozenset[int]:
    """Return the messages that an entry names."""
    named = entry.get("messages") if isinstance(entry, Mapping) else None
    return frozenset(number for number in _entries(named) if type(number) is int)
