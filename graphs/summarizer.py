"""Summarizers: what makes the new document of a person out of the old one and what is new."""

import asyncio
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.constants import TAG_NOSTREAM

from graphs.answer import Evidence, Unusable, checked_document, model_name, read_answer, usage
from graphs.material import Material
from graphs.prompt import PROMPT_VERSION, correction, prompt
from storage.errors import InvalidInput, SummarizerFailed
from storage.json_types import Document
from storage.provenance import LABEL_LIMIT, TokenUsage

ATTEMPTS = 3
"""Answers that a model may give until one can be used."""

_PRIVATELY: Final = RunnableConfig(tags=[TAG_NOSTREAM])
"""What a model says here is no answer to anybody: it stays out of the token stream of the graph around it."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A new document, and how it came about."""

    document: Document
    evidence: tuple[Evidence, ...] = ()
    """Which messages are behind which change; what is not named here is said to come from all of them."""

    model: str | None = None
    prompt: str | None = None
    """The version of the prompt."""

    tokens: TokenUsage | None = None


class NoUsableDocument(SummarizerFailed):
    """The summarizer gave no usable document, and asking again would not help."""

    def __init__(self, message: str | None = None, *, tokens: TokenUsage | None = None) -> None:
        """`tokens` is what was spent in vain."""
        super().__init__(message)
        self.tokens = tokens


class Summarizer(Protocol):
    """Anything that can write the new document. Derive from it, and `asummarize` runs `summarize` in a thread.

    Raises SummarizerFailed where it can give no document and a second try would not help: the material then counts as
    seen. Any other error leaves the material to be summarized later.
    """

    def summarize(self, document: Document, material: Material) -> Summary:
        """Return what `document`, which is not changed, becomes with `material`."""
        ...

    async def asummarize(self, document: Document, material: Material) -> Summary:
        """Return the same without blocking the event loop."""
        return await asyncio.to_thread(self.summarize, document, material)


class ModelSummarizer(Summarizer):
    """Asks a LangChain chat model for the complete new document, and again, with the reason, for an unusable answer.

    Errors of the model itself (no connection, rate limits) are not caught here.
    """

    def __init__(self, model: BaseChatModel | Runnable[Any, Any], *, attempts: int = ATTEMPTS) -> None:
        """Take any chat model, or a runnable made of one. Raises InvalidInput unless `attempts` is 1 or more."""
        if attempts < 1:
            raise InvalidInput(f"a model needs at least one attempt, not {attempts}")
        self._model = model
        self._attempts = attempts

    def summarize(self, document: Document, material: Material) -> Summary:
        """Return the document that the model wrote; raises NoUsableDocument when all attempts were in vain."""
        asking = self._ask(document, material)
        question = next(asking)
        while True:
            answer = self._model.invoke(question, _PRIVATELY)
            try:
                question = asking.send(answer)
            except StopIteration as done:
                return _finished(done)

    async def asummarize(self, document: Document, material: Material) -> Summary:
        """Return the document that the model wrote, awaiting the model."""
        asking = self._ask(document, material)
        question = next(asking)
        while True:
            answer = await self._model.ainvoke(question, _PRIVATELY)
            try:
                question = asking.send(answer)
            except StopIteration as done:
                return _finished(done)

    def _ask(self, document: Document, material: Material) -> "_Asking":
        """Yield what to ask the model, take its answer, and return the summary once there is a usable one."""
        question = prompt(document, material)
        tokens: TokenUsage | None = None
        reason = ""
        for _ in range(self._attempts):
            answer = yield question
            tokens = added(tokens, usage(answer))
            try:
                written, evidence = read_answer(answer)
                after = checked_document(written, before=document, schema=material.schema)
            except Unusable as unusable:
                reason = str(unusable)
                question = [*question, *_repeated(answer), correction(reason)]
                continue
            model = (model_name(answer) or model_name(self._model) or type(self._model).__name__)[:LABEL_LIMIT]
            return Summary(after, evidence, model, PROMPT_VERSION, tokens)
        raise NoUsableDocument(f"no usable answer in {self._attempts} attempts: {reason}", tokens=tokens)


_Asking: TypeAlias = Generator[list[BaseMessage], Any, Summary]


def added(one: TokenUsage | None, other: TokenUsage | None) -> TokenUsage | None:
    """Return what both calls cost together; None where nobody knows of either."""
    if one is None or other is None:
        return one or other
    return TokenUsage(one.input + other.input, one.output + other.output)


def _finished(done: StopIteration) -> Summary:
    summary: Summary = done.value
    return summary


def _repeated(answer: object) -> list[BaseMessage]:
    """Return an answer as it is shown to the model again; providers refuse a message without content."""
    return [AIMessage(answer.text)] if isinstance(answer, BaseMessage) and answer.text.strip() else []
