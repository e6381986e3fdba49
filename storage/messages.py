"""Messages: what was said, on its way in and as it is kept."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Self

from storage.canonical import canonical, loads
from storage.errors import InvalidInput
from storage.json_types import Json
from storage.limits import MESSAGE_LIMIT
from storage.moment import checked_moment
from storage.names import check_name

ROLES = ("user", "assistant", "tool", "system")
"""Who may have said a message. `user` is the person whose memory it is."""

TOKEN_LIMIT = 2**31 - 1
"""Tokens that one message may have cost: so many that no sum of them overflows."""


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message on its way in. `content` is text or the content blocks of a chat model (JSON)."""

    role: str
    content: Json
    said_at: datetime | None = None
    """When it was said; now, when nobody knows."""

    external_id: str | None = None
    """The host's id: the same id in the same conversation is kept once."""

    metadata: dict[str, Json] = field(default_factory=dict)

    tokens: int = 0
    """What it cost, in tokens of a model: counted for the conversation and the person, not kept with the message."""

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> Self:
        """Return the message that a mapping with `role`, `content` and perhaps the other members describes.

        Raises InvalidInput for a missing or an unknown member. Checked further when it is kept.
        """
        unknown = sorted(set(members) - {member.name for member in fields(cls)})
        if unknown or "role" not in members or "content" not in members:
            wrong = f"unknown {', '.join(map(repr, unknown))}" if unknown else "it needs both"
            raise InvalidInput(f"a message is an object with role and content: {wrong}")
        return cls(**members)


@dataclass(frozen=True, slots=True)
class Message:
    """A kept message. `number` counts all of the owner's messages from 1."""

    number: int
    conversation: str
    role: str
    content: Json
    said_at: datetime
    external_id: str | None
    metadata: dict[str, Json]


def message_row(message: NewMessage, now: datetime) -> dict[str, Any]:
    """Return the members of a row that a message on its way in decides. Raises InvalidInput and its kinds."""
    if message.role not in ROLES:
        raise InvalidInput(f"the role of a message is one of {', '.join(ROLES)}, not {message.role!r}")
    if not isinstance(message.metadata, dict):
        raise InvalidInput("the metadata of a message are a JSON object")
    if message.external_id is not None:
        check_name(message.external_id, "external id")
    if type(message.tokens) is not int or not 0 <= message.tokens <= TOKEN_LIMIT:
        raise InvalidInput(f"the tokens of a message are a whole number from 0 to {TOKEN_LIMIT:,}")
    content = canonical(message.content, limit=MESSAGE_LIMIT)
    metadata = canonical(message.metadata, limit=MESSAGE_LIMIT) if message.metadata else None
    return {
        "external_id": message.external_id,
        "role": message.role,
        "content": content,
        "metadata": metadata,
        "said_at": now if message.said_at is None else checked_moment(message.said_at),
        "created_at": now,
    }


def message_of(conversation: str, row: Any) -> Message:
    """Return the message that a row keeps, in the conversation of that name."""
    return Message(
        number=row["number"],
        conversation=conversation,
        role=row["role"],
        content=loads(row["content"]),
        said_at=row["said_at"],
        external_id=row["external_id"],
        metadata=loads(row["metadata"]) if row["metadata"] else {},
    )
