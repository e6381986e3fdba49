"""Conversation summarizers: what makes the memory of one conversation out of what was said in it."""

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langchain_core.runnables import Runnable

from graphs.answer import Unusable, read_object, unfit
from graphs.asking import ATTEMPTS, Answered, AskedModel
from graphs.extractive import MODEL
from graphs.prompt import message_members
from graphs.prompt_file import PromptFile
from graphs.recap import Recap, Transcript, check_recap, says_nothing, with_true_citations
from graphs.sentences import with_statements
from graphs.statements import statements
from memory_tools.visible import visible_line, visible_value
from storage.canonical import dumps
from storage.errors import InvalidInput
from storage.json_types import Document

PROMPT: Final = PromptFile("conversation_prompt.md")

NO_MEMORY: Final = "(none)"
"""What stands for the memory of a conversation that has none yet."""


class ConversationSummarizer(Protocol):
    """Anything that can write the memory of a conversation. Derive from it, and `asummarize` runs in a thread.

    Raises SummarizerFailed where it can give none and a second try would not help.
    """

    def summarize(self, conversation: Transcript) -> Recap:
        """Return the memory of the whole conversation: what was known of it before, and what was said since."""
        ...

    async def asummarize(self, conversation: Transcript) -> Recap:
        """Return the same without blocking the event loop."""
        return await asyncio.to_thread(self.summarize, conversation)


class ModelConversationSummarizer(ConversationSummarizer):
    """Asks a LangChain chat model for the memory, and again, with the reason, for an unusable answer.

    Unusable is what is cut off, refused, empty, no single JSON object, of another shape or size, or says nothing.
    Messages that an entry names and nobody said are dropped from it. Errors of the model itself (no connection, rate
    limits) go on as they are, with what was paid before them (`graphs.asking.paid`).
    """

    def __init__(self, model: BaseChatModel | Runnable[Any, Any], *, attempts: int = ATTEMPTS) -> None:
        """Take any chat model, or a runnable made of one. Raises InvalidInput unless `attempts` is 1 or more."""
        self._asked = AskedModel(model, PROMPT, attempts=attempts)

    def summarize(self, conversation: Transcript) -> Recap:
        """Return the memory that the model wrote; raises NoUsableAnswer, with what it cost, after all attempts."""
        return _recap(self._asked.ask(question(conversation), _reader(conversation)))

    async def asummarize(self, conversation: Transcript) -> Recap:
        """Return the memory that the model wrote, awaiting the model."""
        return _recap(await self._asked.aask(question(conversation), _reader(conversation)))


class ExtractiveConversationSummarizer(ConversationSummarizer):
    """Keeps the person's own sentences, without a model: deterministic, and labelled `extractive` as the model.

    Preferences go to `preferences`, what the person wants to `open_points`, all else to `facts`; `summary` repeats the
    most telling ones. When there is no room left, the least telling and oldest sentences go. What others wrote stays
    as it is: a summary that is not its own, and entries without its members.
    """

    def summarize(self, conversation: Transcript) -> Recap:
        """Return the memory with the statements of the new messages; never fails."""
        mine = (said for said in conversation.messages if said.role == "user")
        found = [each for said in mine for each in statements(said)]
        return Recap(with_statements(conversation.earlier or {}, found), MODEL)


def question(conversation: Transcript) -> list[BaseMessage]:
    """Return the messages that ask a model for the memory of a conversation. What was said is fenced."""
    earlier = conversation.earlier
    shown = {
        "earlier": NO_MEMORY if earlier is None else dumps(visible_value(earlier)),
        "said": "\n".join(visible_line(message_members(said)) for said in conversation.messages),
    }
    return PROMPT.question(shown, conversation.schema)


def _reader(conversation: Transcript) -> Callable[[object], Document]:
    citable = conversation.citable

    def read(answer: object) -> Document:
        data = read_object(answer)
        try:
            check_recap(data, conversation.schema)
        except InvalidInput as invalid:
            raise Unusable(f"the memory does not fit. {invalid}", unfit(invalid)) from None
        if says_nothing(data):
            raise Unusable("the memory says nothing", "says_nothing")
        return with_true_citations(data, citable)

    return read


def _recap(answered: Answered[Document]) -> Recap:
    return Recap(answered.value, answered.model, PROMPT.version, answered.tokens)
