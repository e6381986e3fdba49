"""Spoken: which messages of a call are new, each time it hands over all of them."""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from langchain_core.messages import AIMessage, BaseMessage, convert_to_messages

from graphs.transcript import conversation_name, transcript
from storage.canonical import canonical
from storage.conversations import ROLES, TOKEN_LIMIT, Message, NewMessage
from storage.errors import InvalidInput, NotFound
from storage.limits import MESSAGE_LIMIT, PAGE_LIMIT
from storage.moment import checked_moment
from storage.stores import Stores

SPOKEN: Final = ("user", "assistant", "tool")
"""Roles whose messages are kept. Instructions are no part of what was said, and they may repeat memory."""

SAME_CALL: Final = timedelta(hours=1)
"""How long nothing is said in a call that goes on; the same words after a longer silence are another call's."""

_NO_ID: Final = "place"
_MEMBERS: Final = frozenset(each.name for each in fields(NewMessage))
_UNREADABLE: Final = (InvalidInput, ValueError, TypeError, LookupError, AttributeError, NotImplementedError)
"""What reading a message may raise: our own refusals, and those of `convert_to_messages`, one for each mistake."""

_log = logging.getLogger(__name__)


def keep_spoken(stores: Stores, conversation: str, messages: Sequence[Any], roles: Collection[str] = SPOKEN) -> int:
    """Keep the messages of a conversation so far, those of `roles`, and return how many were new.

    A message that is kept already is known by its id, one without an id by its place and what it says. A graph without
    a checkpointer gives messages without an id another one in each run: a transcript that begins like the call that is
    kept, message by message, is that one again, whatever the ids, until nothing was said for SAME_CALL. What is no
    message is left out, and the log says so. Raises InvalidInput where nothing is one, or `messages` is no list.
    """
    stores.conversations.lock()  # whoever hands over the same call at the same time sees what the first one kept
    said = spoken(readable(messages), roles)
    call = _last_call(_kept(stores, conversation), stores.now)
    alike = all((old.role, old.content) == (new.role, new.content) for old, new in zip(call, said, strict=False))
    if alike and len(said) >= len(call):  # a shorter one is no transcript of all that was said
        said = said[len(call) :]
    return len(stores.conversations.append(conversation, said))


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


def _last_call(kept: Sequence[Message], now: datetime) -> Sequence[Message]:
    """Return the newest messages with no long silence between them, nor behind them; none where the call is over."""
    begun, heard = len(kept), now
    while begun and heard - kept[begun - 1].said_at <= SAME_CALL:
        begun -= 1
        heard = kept[begun].said_at
    return kept[begun:]


def spoken(messages: Sequence[BaseMessage | NewMessage], roles: Collection[str]) -> list[NewMessage]:
    """Return the messages of `roles` as they are kept; what the others cost is counted with the next one.

    One without an id that lasts is known by its place and what it says.
    """
    found: list[NewMessage] = []
    spent = 0
    for place, message in enumerate(transcript(messages, _NO_ID)):
        spent += message.tokens
        if message.role in roles:
            known_as = message.external_id
            if known_as == f"{_NO_ID}:{place}":
                said = canonical([message.role, message.content], limit=2 * MESSAGE_LIMIT)
                known_as = f"{place}-{sha256(said.encode()).hexdigest()[:32]}"
            found.append(replace(message, external_id=known_as, tokens=min(spent, TOKEN_LIMIT)))
            spent = 0
    return found


def readable(messages: Sequence[Any]) -> list[BaseMessage | NewMessage]:
    """Return the messages that a transcript reads, up to the last one that says something.

    What is no message is left out, and the log says so. Raises InvalidInput where nothing is one, or it is no list.
    """
    if not isinstance(messages, Sequence) or isinstance(messages, str | bytes | bytearray):
        raise InvalidInput(f"the messages of a call are a list, not {type(messages).__name__}")
    found: list[BaseMessage | NewMessage] = []
    for message in messages:
        try:
            found.append(_read(message))
        except _UNREADABLE:
            _log.warning("a message of this call cannot be read and is left out (%s)", type(message).__name__)
    if messages and not found:
        raise InvalidInput("none of the messages of this call can be read")
    while found and isinstance(last := found[-1], AIMessage) and not last.content:
        found.pop()  # what a tool's call cost is counted with the answer that is still to come
    return found


def _read(message: Any) -> BaseMessage | NewMessage:
    """Return one message: a plain one as it can be kept, another one as LangChain reads it (OpenAI's form, a pair)."""
    if isinstance(message, NewMessage):
        return _keepable({name: getattr(message, name) for name in _MEMBERS})
    if isinstance(message, Mapping) and message.keys() <= _MEMBERS and message.get("role") in ROLES:
        return _keepable(message)
    return message if isinstance(message, BaseMessage) else convert_to_messages([message])[0]


def _keepable(members: Mapping[str, Any]) -> NewMessage:
    """Return a message without what the store would refuse beside its words; raises InvalidInput for the words."""
    tokens = members.get("tokens")
    said = {
        "said_at": _moment(members.get("said_at")),
        "external_id": conversation_name(members.get("external_id")),
        "tokens": max(0, min(tokens, TOKEN_LIMIT)) if type(tokens) is int else 0,
        "metadata": members.get("metadata") or {},
    }
    message = NewMessage.of({**members, **said})
    if message.role not in ROLES or not isinstance(message.metadata, dict):
        raise InvalidInput("a message has a role, and metadata that are an object")
    for part in (message.content, message.metadata):
        canonical(part, limit=MESSAGE_LIMIT)
    return message


def _moment(said_at: Any) -> datetime | None:
    """Return when it was said; None for what is no time with a zone, as JSON writes one (ISO 8601) or as Python's."""
    try:
        return checked_moment(datetime.fromisoformat(said_at) if isinstance(said_at, str) else said_at)
    except (InvalidInput, ValueError):
        return None
