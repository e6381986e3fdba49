"""Summarizers: what makes the new document of a person out of the old one and what is new."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable

from graphs.answer import Evidence, checked_document, read_answer
from graphs.asking import ATTEMPTS, Answered, AskedModel
from graphs.material import Material
from graphs.prompt import PROMPT, PROMPT_VERSION, prompt
from storage.json_types import Document
from storage.provenance import TokenUsage


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

    Errors of the model itself (no connection, rate limits) go on as they are, with what was paid before them
    (`graphs.asking.paid`).
    """

    def __init__(self, model: BaseChatModel | Runnable[Any, Any], *, attempts: int = ATTEMPTS) -> None:
        """Take any chat model, or a runnable made of one. Raises InvalidInput unless `attempts` is 1 or more."""
        self._asked = AskedModel(model, PROMPT, attempts=attempts)

    def summarize(self, document: Document, material: Material) -> Summary:
        """Return the document that the model wrote; raises NoUsableAnswer when all attempts were in vain."""
        return _summary(self._asked.ask(prompt(document, material), _reader(document, material)))

    async def asummarize(self, document: Document, material: Material) -> Summary:
        """Return the document that the model wrote, awaiting the model."""
        return _summary(await self._asked.aask(prompt(document, material), _reader(document, material)))


_Written = tuple[Document, tuple[Evidence, ...]]


def _reader(document: Document, material: Material) -> Callable[[object], _Written]:
    def read(answer: object) -> _Written:
        written, evidence = read_answer(answer)
        return checked_document(written, before=document, schema=material.schema), evidence

    return read


def _summary(answered: Answered[_Written]) -> Summary:
    document, evidence = answered.value
    return Summary(document, evidence, answered.model, PROMPT_VERSION, answered.tokens)
