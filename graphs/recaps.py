"""Recaps of conversations: read what was said, ask a summarizer outside of any transaction, say what is to be kept."""

from collections.abc import Collection
from dataclasses import dataclass

from pydantic import BaseModel

from graphs.answer import unfit
from graphs.asking import NoUsableAnswer
from graphs.conversation_summarizer import ConversationSummarizer
from graphs.kept import messages_of, teaches
from graphs.recap import READ_ROLES, ConversationRecap, Recap, Transcript, check_recap, fits
from graphs.room import Room
from memory_tools.memory import UserMemory
from memory_tools.said import Said
from storage.conversation_memories import ConversationMemory
from storage.errors import InvalidInput, NotFound
from storage.json_types import Document
from storage.provenance import Actor, Provenance, TokenUsage, Trust, lowest
from storage.stores import Stores

TRANSCRIPT_MESSAGES = 1_000
"""Messages of one conversation that are read at once; the memory made of them goes on with those behind them."""

TRANSCRIPT_CHARACTERS = 60_000
"""Characters of messages that are read at once; a single longer one is read alone."""


@dataclass(frozen=True, slots=True)
class NewRecap:
    """A conversation memory that is to be kept: what `stores.conversation_memories.set` takes."""

    conversation: str
    data: Document
    message_count: int
    """How many messages of the conversation it covers, from the first on."""

    provenance: Provenance

    more: bool
    """Whether messages are left that did not fit: keep this one, and do it again."""

    @property
    def tokens(self) -> TokenUsage | None:
        """What it cost, where a model was asked that says so."""
        return self.provenance.tokens


def recap_conversation(
    person: UserMemory,
    name: str,
    summarizer: ConversationSummarizer,
    *,
    roles: Collection[str] = READ_ROLES,
    schema: type[BaseModel] = ConversationRecap,
) -> NewRecap | None:
    """Return what the memory of a conversation should become; None where it covers all messages already.

    Only messages behind those that the memory covers are read, and the memory is gone on from: where more was said
    than is read at once, in several calls, each with what was kept of the one before. A memory that does not fit
    `schema`, or is larger than `graphs.recap.RECAP_LIMIT`, is made anew from the first message. Messages of other
    `roles`, and those that only repeat memory, are passed over; where no others are left, no summarizer is asked.
    Nothing is written; the provenance names the door of the person's own. Raises NotFound for no such conversation,
    SummarizerFailed (with `tokens`, where a model was asked), and what the model raises.
    """
    reading = _reading(person, name, roles, schema)
    if reading is None:
        return None
    if not reading.transcript.messages:
        return reading.unchanged()
    return reading.recapped(summarizer.summarize(reading.transcript))


async def arecap_conversation(
    person: UserMemory,
    name: str,
    summarizer: ConversationSummarizer,
    *,
    roles: Collection[str] = READ_ROLES,
    schema: type[BaseModel] = ConversationRecap,
) -> NewRecap | None:
    """Do the same without blocking the event loop; the model is awaited on it."""
    reading = await person.memory.threads.run(lambda: _reading(person, name, roles, schema))
    if reading is None:
        return None
    if not reading.transcript.messages:
        return reading.unchanged()
    return reading.recapped(await summarizer.asummarize(reading.transcript))


@dataclass(frozen=True, slots=True)
class _Reading:
    """What was read of a conversation: the transcript, how far it goes, and how far that is trusted."""

    transcript: Transcript
    message_count: int
    more: bool
    trust: Trust
    through: str
    """The door that the person's memory is open by."""

    def recapped(self, recap: Recap) -> NewRecap:
        """Return what a summarizer made of it, whichever it is, once it can be kept."""
        try:
            check_recap(recap.data, self.transcript.schema)
        except InvalidInput as invalid:
            message = f"the memory does not fit. {invalid}"
            raise NoUsableAnswer(message, tokens=recap.tokens, reason=unfit(invalid)) from None
        return self._kept(recap)

    def unchanged(self) -> NewRecap:
        """Return the memory as it was, which covers the messages that say nothing too."""
        return self._kept(Recap(self.transcript.earlier or {}))

    def _kept(self, recap: Recap) -> NewRecap:
        said = self.transcript.messages
        sources = Provenance(
            actor=Actor.JOB,
            through=self.through,
            conversations=[self.transcript.conversation],
            messages=[each.number for each in said],
            model=recap.model,
            prompt=recap.prompt,
            tokens=recap.tokens,
            trust=self.trust,
        )
        return NewRecap(self.transcript.conversation, recap.data, self.message_count, sources, self.more)


def _reading(person: UserMemory, name: str, roles: Collection[str], schema: type[BaseModel]) -> _Reading | None:
    """Read what was said behind what the memory covers, in one transaction; None where nothing was."""
    with person.read() as stores:
        memory = _memory(stores, name)
        if memory is not None and not fits(memory.data, schema):
            memory = None
        covered = 0 if memory is None else memory.message_count
        found: list[Said] = []
        room = Room(TRANSCRIPT_MESSAGES, TRANSCRIPT_CHARACTERS)
        place, more = 0, False
        for message in messages_of(stores, name):
            if place >= covered and teaches(message, roles):
                said = Said.of(message)
                more = not room.takes(len(said.text))
                if more:
                    break
                found.append(said)
            place += 1
    if place <= covered:
        return None
    earlier = None if memory is None else memory.data
    known = [] if memory is None else [memory.provenance.trust]
    trust = lowest([Actor.JOB.trust, *known, *(said.trust for said in found)])
    return _Reading(Transcript(name, tuple(found), earlier, schema), place, more, trust, person.provenance.through)


def _memory(stores: Stores, name: str) -> ConversationMemory | None:
    try:
        return stores.conversation_memories.get(name)
    except NotFound:
        return None
