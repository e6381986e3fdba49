"""Spoken: which messages of a call are new, each time it hands over all of them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, replace
from hashlib import sha256
from typing import Any, Final

from langchain_core.messages import BaseMessage, convert_to_messages

from graphs.transcript import transcript
from storage.canonical import canonical
from storage.conversations import ROLES, Message, NewMessage
from storage.errors import NotFound
from storage.limits import MESSAGE_LIMIT, PAGE_LIMIT
from storage.stores import Stores

SPOKEN: Final = ("user", "assistant", "tool")
"""Roles whose messages are kept. Instructions are no part of what was said, and they may repeat memory."""

_NO_ID: Final = "place"
_MEMBERS: Final = frozenset(each.name for each in fields(NewMessage))


def keep_spoken(stores: Stores, conversation: str, messages: Sequence[Any], roles: Collection[str] = SPOKEN) -> int:
    """Keep the messages of a conversation so far, those of `roles`, and return how many were new.

    A message that is kept already is known by its id, one without an id by its place and what it says. A graph without
    a checkpointer gives messages without an id another one in each run: a transcript that begins like the one that is
    kept, message by message, is that one again, whatever the ids. Raises InvalidInput for what is no message.
    """
    spoken = _spoken(messages, roles)
    kept = _kept(stores, conversation)
    if all((old.role, old.content) == (new.role, new.content) for old, new in zip(kept, spoken, strict=False)):
        spoken = spoken[len(kept) :]
    return len(stores.conversations.append(conversation, spoken))


def _kept(stores: Stores, conversation: str) -> list[Message]:
    kept: list[Message] = []
    after: int | None = 0
    while after is not None:
        try:
            page = stores.conversations.messages(conversation, limit=PAGE_LIMIT, after=after)
        except NotFound:
            break
        kept += page.entries
        after = page.next
    return kept


def _spoken(messages: Sequence[Any], roles: Collection[str]) -> list[NewMessage]:
    """Return the messages of `roles`; what the others cost is counted with the next one."""
    spoken: list[NewMessage] = []
    spent = 0
    for place, message in enumerate(transcript(map(_readable, messages), _NO_ID)):
        spent += message.tokens
        if message.role in roles:
            known_as = message.external_id
            if known_as == f"{_NO_ID}:{place}":
                said = canonical([message.role, message.content], limit=2 * MESSAGE_LIMIT)
                known_as = f"{place}-{sha256(said.encode()).hexdigest()[:32]}"
            spoken.append(replace(message, external_id=known_as, tokens=spent))
            spent = 0
    return spoken


def _readable(message: Any) -> Any:
    """Return a message that a transcript reads: another one as LangChain reads it (the form of OpenAI, a pair)."""
    plain = isinstance(message, Mapping) and message.keys() <= _MEMBERS and message.get("role") in ROLES
    return message if plain or isinstance(message, BaseMessage | NewMessage) else convert_to_messages([message])[0]
