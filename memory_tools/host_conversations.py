"""Host conversations: transcripts that a host keeps somewhere else, and how ended ones become conversations of ours."""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final, Protocol
from uuid import UUID

from memory_tools.memory import Memory, UserMemory
from memory_tools.visit import visit
from storage.conversations import NewMessage
from storage.errors import DatabaseUnavailable, Erased, InvalidInput
from storage.identity import Identity
from storage.moment import checked_moment
from storage.names import check_name

APPEND_SIZE: Final = 500
"""Messages kept by one call of the store; all of one conversation are kept in one transaction."""

PATIENCE: Final = 3
"""Conversations in a row that the database may refuse as unavailable before the import gives up."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class HostConversation:
    """A conversation as its host lists it."""

    identity: Identity
    """Whose it is. The host vouches for it: nobody else is asked."""

    name: str
    """Under which name it is kept. Where the host's agents keep messages in memory too, it is the same name."""

    updated_at: datetime
    """When the host last added to it, with a zone: a message that comes later has to move it."""

    key: str = ""
    """How the host finds it again, where that is not its name."""


class HostConversations(Protocol):
    """Where a host keeps conversations. Each method may raise whatever it likes: the next import asks again.

    A process asks each host in a thread of its own, for one import at a time.
    """

    def ended(self, before: datetime) -> Iterable[HostConversation]:
        """Return the conversations to which nothing was added since `before`, in any order; a generator will do.

        One that is kept already costs a look at a cursor and is passed over, so all may be returned each time. A host
        with many leaves out those that `imported` was called for and that were not updated since.
        """
        ...

    def messages(self, conversation: HostConversation, since: datetime | None) -> Sequence[NewMessage]:
        """Return the messages in order, each with an external id: all of them, or only those that came after `since`.

        `since` is the `updated_at` that the conversation had when it was last imported; None when it never was.
        A message that is kept already is passed over by its external id. One without `said_at` counts as said when
        the conversation was updated.
        """
        ...

    def imported(self, conversation: HostConversation) -> None:
        """Hear that all of it, up to its `updated_at`, is kept. A host need not do anything."""
        ...


def import_ended(memory: Memory, host: HostConversations, before: datetime) -> int:
    """Copy what is new in the host's conversations that ended before `before`; return how many messages were new.

    Each conversation is kept in a transaction of its owner, together with how far it was read: stopped anywhere, the
    next import goes on there, and messages that are imported twice are kept once. A person whom nobody has met is made
    with the first message. Where the configuration of an organization does not allow to know the person, nothing is
    kept and the conversation waits. One that fails is left for the next import and does not stop the others; the log
    names the kinds of errors, never what was said. So it does where the host cannot list any further.

    Raises InvalidInput where `before` has no zone, and DatabaseUnavailable where PATIENCE conversations in a row found
    our database so.
    """
    before = checked_moment(before)
    kept, unavailable, failed = 0, 0, Counter[str]()
    for conversation in _listed(host, before, failed):
        try:
            kept += _import(memory, host, conversation, before)
            unavailable = 0
        except Exception as error:  # one conversation must not stop the others
            failed[type(error).__name__] += 1
            unavailable = unavailable + 1 if isinstance(error, DatabaseUnavailable) else 0
            if unavailable == PATIENCE:
                _report(failed)
                raise
    _report(failed)
    return kept


def _listed(host: HostConversations, before: datetime, failed: Counter[str]) -> Iterator[HostConversation]:
    try:
        yield from host.ended(before)
    except Exception as error:  # noqa: BLE001 - a host's own code: what it listed so far is kept
        failed[type(error).__name__] += 1


def _report(failed: Counter[str]) -> None:
    """Log what went wrong by kind alone: the message of an error of a host may quote anything."""
    if failed:
        kinds = ", ".join(f"{kind} ({count})" for kind, count in sorted(failed.items()))
        _log.warning("%d conversations of a host could not be imported: %s", failed.total(), kinds)


def _import(memory: Memory, host: HostConversations, conversation: HostConversation, before: datetime) -> int:
    """Keep what is new in one conversation, and return how many messages that was."""
    updated_at = checked_moment(conversation.updated_at)
    if updated_at >= before:
        return 0
    person = UserMemory(memory, conversation.identity)
    purpose, moment = _purpose(conversation.name), max(0, (updated_at - _EPOCH) // _MICROSECOND)
    with visit(person, writes=False) as visited:
        if not visited.allowed:
            return 0
        known = visited.owner
        seen = 0 if known is None else visited.stores.cursors.seen(purpose)
    fresh = 0
    if not seen or seen < moment:
        since = _EPOCH + seen * _MICROSECOND if seen else None
        new = [_dated(message, updated_at) for message in host.messages(conversation, since)]
        if new or known is not None:  # nobody is made for a conversation in which nothing was said
            fresh = _keep(person, known, conversation.name, new, (purpose, moment))
    host.imported(conversation)
    return fresh


def _keep(
    person: UserMemory, known: UUID | None, name: str, new: Sequence[NewMessage], read_until: tuple[str, int]
) -> int:
    """Keep the messages, and up to which moment the host's conversation was read, or neither."""
    with visit(person, writes=True) as visited:
        if known is not None and visited.owner != known:
            raise Erased  # who was known a moment ago is gone, and must not come back by what is to be written
        stores, fresh = visited.stores, 0
        for start in range(0, len(new), APPEND_SIZE):
            fresh += len(stores.conversations.append(name, new[start : start + APPEND_SIZE]))
        stores.cursors.advance(*read_until)
    return fresh


def _dated(message: NewMessage, updated_at: datetime) -> NewMessage:
    if message.external_id is None:
        raise InvalidInput("a message of a host's conversation has an external id, or it would be kept twice")
    return message if message.said_at is not None else replace(message, said_at=updated_at)


def _purpose(name: str) -> str:
    """Return the purpose of the cursor over one conversation of a host: a hash, because cursors hold no content."""
    return f"host:{sha256(check_name(name, 'conversation').encode()).hexdigest()[:32]}"
