"""Checkpointed conversations: the threads of a LangGraph checkpointer, as conversations that a host brings."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any, Final, TypeAlias

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple

from graphs.spoken import SPOKEN, readable, spoken
from graphs.transcript import conversation_name
from graphs.turn import is_summary
from memory_tools.caller import caller, phone_said
from memory_tools.context import USER
from memory_tools.host_conversations import HostConversation
from memory_tools.run import AUTHENTICATED
from storage.conversations import NewMessage
from storage.errors import InvalidIdentity, InvalidInput, NoIdentity
from storage.identity import Identity
from storage.moment import checked_moment

CHANNEL: Final = "messages"
"""The channel of a state in which LangGraph's own states keep what was said."""

PAGE_SIZE: Final = 50
"""Checkpoints read at once: each may hold a whole conversation."""

LATE: Final = timedelta(minutes=10)
"""How far behind a newer one a checkpoint may be written: runs write in the background, and clocks differ."""

NOBODY: Final = "their runs name nobody in `configurable` or metadata"
UNACCEPTABLE: Final = "their runs name somebody by what is no name"
NAMELESS: Final = "their id is empty"
"""Why threads are passed over."""

_NEWEST_FIRST: Final = ("langgraph.checkpoint.sqlite", "langgraph.checkpoint.postgres")
"""Where the savers are defined that list the checkpoints of all threads by id, newest first."""

_log = logging.getLogger(__name__)

IdentifyThread: TypeAlias = Callable[[RunnableConfig, Mapping[str, Any]], Identity | None]
"""Says whose run wrote a checkpoint, by its config and its metadata; None where nobody is named."""


def identity_of(
    config: RunnableConfig, metadata: Mapping[str, Any], default_region: str | None = None
) -> Identity | None:
    """Return whom the configurable members and the metadata of a run name, which LangGraph keeps with its checkpoints.

    The user whom a LangGraph server authenticated decides, and beside one a phone number is the word of a client: then
    it is nobody. Elsewhere it is as `memory_tools.caller` says. What a run was given as its context is in no
    checkpoint: name the person in `configurable` as well. Raises InvalidIdentity for a name that is not acceptable.
    """
    named = {name: value for name, value in metadata.items() if value != "" or name not in USER}
    user = named.get(AUTHENTICATED)
    if user:
        return None if phone_said(named, named) is not None else Identity.of(user=user)
    who = caller(named, named, default_region=default_region)
    if who is None:
        return None
    return Identity.of(
        organization=who.organization, user=who.user_id, phone=who.phone, phone_verified=who.phone_verified
    )


@dataclass(frozen=True, slots=True)
class _Thread:
    """A thread that was written to and is not kept yet."""

    id: str
    updated_at: datetime


class CheckpointedConversations:
    """The threads of a checkpointer, each one a conversation of the name of its thread (HostConversations).

    What was said is the `messages` of the newest checkpoint of a thread, without its subgraphs: what the host took out
    of it does not come back. A message is kept under its own id, and counts as said when the first checkpoint that has
    it was written; one without an id is kept under its place and what it says. Instructions, summaries of a middleware,
    and calls of tools without words are left out; what a memory tool answered is marked. What a node or the middleware
    of this library kept of the same thread is not kept twice.

    A thread belongs to the person whom its runs name (`identify`, by default `identity_of`). Where they name nobody, or
    several people, it is nobody's and is not kept. So it is where agents are only told by `context=` whose memory it
    is: a checkpointer keeps no context, so name the person in `configurable` as well. How many threads were passed
    over, and why, is logged at INFO.

    The first `ended` reads every checkpoint, or those since `since`. With the savers of langgraph-checkpoint-sqlite and
    -postgres, the later ones of the same object read what was written after that; with any other saver all of them
    again. One object serves many threads of the process. An asynchronous saver answers only outside of the event loop
    that it was made in, while that one runs.

    A checkpoint may be written by whoever can write to its database, and reading one makes the objects that it names:
    set LANGGRAPH_STRICT_MSGPACK=true in the process that reads, before LangGraph is imported, or give the saver a
    `JsonPlusSerializer(allowed_msgpack_modules=None)`. LangChain's messages are read either way.

    Memory does not delete what is not its own: when a person is erased, delete their threads too, or the next import
    brings them back.
    """

    def __init__(
        self,
        checkpointer: BaseCheckpointSaver[Any],
        identify: IdentifyThread = identity_of,
        *,
        since: datetime | None = None,
    ) -> None:
        """`since`: leave out threads that were last written to before. Raises InvalidInput where it has no zone."""
        self._checkpointer = checkpointer
        self._identify = identify
        self._since = None if since is None else checked_moment(since)
        self._in_order = any(kind.__module__.startswith(_NEWEST_FIRST) for kind in type(checkpointer).__mro__)
        self._waiting: dict[str, _Thread] = {}
        self._read_until: datetime | None = None
        self._lock = Lock()

    def ended(self, before: datetime) -> Iterator[HostConversation]:
        """Yield the threads to which nothing was written since `before`, but not those that are kept already."""
        with self._lock:
            self._find_written()
            ended = [thread for thread in self._waiting.values() if thread.updated_at < before]
        passed_over = Counter[str]()
        for thread in ended:
            try:
                found = self._conversation(thread)
            except Exception as error:  # noqa: BLE001 - a host's own function; one thread must not stop the others
                _log.warning("whose a thread is could not be told: %s", type(error).__name__)
                continue
            if isinstance(found, HostConversation):
                yield found
            else:
                passed_over[found] += 1
                self._leave_out(thread.id, thread.updated_at)
        for why, count in passed_over.items():
            _log.info("%d threads were passed over: %s", count, why)

    def messages(self, conversation: HostConversation, since: datetime | None) -> list[NewMessage]:
        """Return the messages of a thread, with the times of the checkpoints behind `since` that had them first.

        Raises NoIdentity where one of these checkpoints names somebody else, and InvalidInput where the messages are
        kept as differences (DeltaChannel), which only the graph that wrote them can put together.
        """
        newest: Sequence[Any] | None = None
        said_at: dict[str | None, datetime] = {}
        for found in self._of_thread(conversation.key):
            moment = _moment(found)
            if since is not None and newest is not None and moment <= since:
                break
            self._require_same_person(found, conversation)
            messages = found.checkpoint["channel_values"].get(CHANNEL)
            newest = _listed(found, messages) if newest is None else newest
            if isinstance(messages, list):
                said_at.update({message.id: moment for message in messages if isinstance(message, BaseMessage)})
        times = {conversation_name(known_as): moment for known_as, moment in said_at.items()}
        return [replace(message, said_at=times.get(message.external_id)) for message in _spoken(newest or ())]

    def imported(self, conversation: HostConversation) -> None:
        """Leave the thread out from now on, until something is written to it."""
        self._leave_out(conversation.key, conversation.updated_at)

    def _leave_out(self, thread_id: str, updated_at: datetime) -> None:
        with self._lock:
            thread = self._waiting.get(thread_id)
            if thread is not None and thread.updated_at <= updated_at:
                del self._waiting[thread_id]

    def _find_written(self) -> None:
        """Note the threads that were written to since the last time."""
        until, read_until = self._until(), self._read_until
        for found in self._of_all_threads():
            moment = _moment(found)
            if until is not None and moment < until:
                if self._in_order:
                    break
                continue
            read_until = moment if read_until is None else max(moment, read_until)
            thread_id = str(found.config["configurable"]["thread_id"])
            known = self._waiting.get(thread_id)
            if known is None or known.updated_at < moment:  # what a subgraph does is done in the thread, too
                self._waiting[thread_id] = _Thread(thread_id, moment)
        self._read_until = read_until

    def _until(self) -> datetime | None:
        """Return the moment down to which checkpoints are to be read; None for all of them."""
        if self._read_until is None:
            return self._since
        return self._read_until - LATE if self._since is None else max(self._read_until - LATE, self._since)

    def _conversation(self, thread: _Thread) -> HostConversation | str:
        """Return the conversation that a thread is, or why it is none."""
        try:
            identity = self._whose(thread.id)
        except (InvalidIdentity, NoIdentity):
            return UNACCEPTABLE
        name = conversation_name(thread.id)
        if identity is None or name is None:
            return NOBODY if identity is None else NAMELESS
        return HostConversation(identity, name, thread.updated_at, key=thread.id)

    def _whose(self, thread_id: str) -> Identity | None:
        """Return whom the newest run that names anybody names; None where none does."""
        named = (self._identify(found.config, found.metadata) for found in self._of_thread(thread_id))
        return next((identity for identity in named if identity is not None), None)

    def _require_same_person(self, found: CheckpointTuple, conversation: HostConversation) -> None:
        try:
            identity = self._identify(found.config, found.metadata)
            if identity is not None and _person(identity) != _person(conversation.identity):
                raise NoIdentity("The runs of this thread name several people.")
        except (InvalidIdentity, NoIdentity):
            self._leave_out(conversation.key, conversation.updated_at)
            raise

    def _of_thread(self, thread_id: str) -> Iterator[CheckpointTuple]:
        """Yield the checkpoints of one thread without its subgraphs, newest first."""
        return self._pages({"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}})

    def _of_all_threads(self) -> Iterator[CheckpointTuple]:
        """Yield the checkpoints of all threads: page by page, newest first, where the saver has them in that order."""
        return self._pages(None) if self._in_order else self._checkpointer.list(None)

    def _pages(self, config: RunnableConfig | None) -> Iterator[CheckpointTuple]:
        """Yield checkpoints, a page in memory at a time and with no lock of the saver held; some come twice."""
        size, before = 2, None
        while page := list(self._checkpointer.list(config, before=before, limit=size)):
            yield from page
            if len(page) < size:
                return
            # A copied thread has the ids of the other one: the last id of the page may go on behind it.
            above = next((each.config for each in reversed(page) if _id(each) > _id(page[-1])), None)
            before, size = (before, 2 * size) if above is None else (above, min(2 * size, PAGE_SIZE))


def _id(found: CheckpointTuple) -> str:
    return found.checkpoint["id"]


def _moment(found: CheckpointTuple) -> datetime:
    moment = datetime.fromisoformat(found.checkpoint["ts"])
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _person(identity: Identity) -> tuple[str, tuple[str, str]]:
    """Return what decides whom an identity names: the user id, or where there is none, the phone number."""
    return identity.organization, identity.names[0]


def _listed(found: CheckpointTuple, messages: object) -> Sequence[Any]:
    """Return the messages in the state of a checkpoint; nothing where it has no such channel."""
    if isinstance(messages, list):
        return messages
    if messages is None and CHANNEL not in found.checkpoint["channel_versions"]:
        return ()
    raise InvalidInput("the messages of this thread are not kept as one list in its newest checkpoint")


def _spoken(messages: Sequence[Any]) -> list[NewMessage]:
    """Return what was said, under the ids that a call with memory keeps it under."""
    return spoken(readable([each for each in messages if not _is_summary(each)]), SPOKEN)


def _is_summary(message: Any) -> bool:
    return isinstance(message, BaseMessage) and is_summary(message)
