"""Asking: a model is asked until its answer can be used, a bounded number of times."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.constants import TAG_NOSTREAM

from graphs.answer import Unusable, model_name, usage
from graphs.prompt_file import PromptFile
from storage.errors import InvalidInput, SummarizerFailed
from storage.provenance import LABEL_LIMIT, TokenUsage

ATTEMPTS = 3
"""Answers that a model may give until one can be used."""

_PRIVATELY: Final = RunnableConfig(tags=[TAG_NOSTREAM])
"""What a model says here is no answer to anybody: it stays out of the token stream of the graph around it."""

Read = TypeVar("Read")


@dataclass(frozen=True, slots=True)
class Answered(Generic[Read]):
    """What was read in an answer that can be used, who gave it, and what all answers cost."""

    value: Read
    model: str
    tokens: TokenUsage | None


class NoUsableAnswer(SummarizerFailed):
    """The summarizer gave nothing usable, and asking again would not help."""

    def __init__(self, message: str | None = None, *, tokens: TokenUsage | None = None) -> None:
        """`tokens` is what was spent in vain."""
        super().__init__(message)
        self.tokens = tokens


class AskedModel:
    """A chat model that is asked, and asked again, with the reason, for an answer that cannot be used.

    Errors of the model itself (no connection, rate limits) are not caught here.
    """

    def __init__(
        self, model: BaseChatModel | Runnable[Any, Any], prompt: PromptFile, *, attempts: int = ATTEMPTS
    ) -> None:
        """Take any chat model, or a runnable made of one. Raises InvalidInput unless `attempts` is 1 or more."""
        if attempts < 1:
            raise InvalidInput(f"a model needs at least one attempt, not {attempts}")
        self._model = model
        self._prompt = prompt
        self._attempts = attempts

    def ask(self, question: list[BaseMessage], read: Callable[[object], Read]) -> Answered[Read]:
        """Return what `read`, which raises Unusable, finds in an answer; raises NoUsableAnswer after all attempts."""
        asking = self._asking(question, read)
        question = next(asking)
        while True:
            answer = self._model.invoke(question, _PRIVATELY)
            try:
                question = asking.send(answer)
            except StopIteration as done:
                return _finished(done)

    async def aask(self, question: list[BaseMessage], read: Callable[[object], Read]) -> Answered[Read]:
        """Do the same, awaiting the model."""
        asking = self._asking(question, read)
        question = next(asking)
        while True:
            answer = await self._model.ainvoke(question, _PRIVATELY)
            try:
                question = asking.send(answer)
            except StopIteration as done:
                return _finished(done)

    def _asking(
        self, question: list[BaseMessage], read: Callable[[object], Read]
    ) -> Generator[list[BaseMessage], Any, Answered[Read]]:
        """Yield what to ask the model, take its answer, and return once there is a usable one."""
        tokens: TokenUsage | None = None
        reason = ""
        for _ in range(self._attempts):
            answer = yield question
            tokens = added(tokens, usage(answer))
            try:
                value = read(answer)
            except Unusable as unusable:
                reason = str(unusable)
                question = [*question, *_repeated(answer), self._prompt.correction(reason)]
                continue
            model = (model_name(answer) or model_name(self._model) or type(self._model).__name__)[:LABEL_LIMIT]
            return Answered(value, model, tokens)
        raise NoUsableAnswer(f"no usable answer in {self._attempts} attempts: {reason}", tokens=tokens)


def added(one: TokenUsage | None, other: TokenUsage | None) -> TokenUsage | None:
    """Return what both calls cost together; None where nobody knows of either."""
    if one is None or other is None:
        return one or other
    return TokenUsage(one.input + other.input, one.output + other.output)


def _finished(done: StopIteration) -> Answered[Read]:
    answered: Answered[Read] = done.value
    return answered


def _repeated(answer: object) -> list[BaseMessage]:
    """Return an answer as it is shown to the model again; providers refuse a message without content."""
    return [AIMessage(answer.text)] if isinstance(answer, BaseMessage) and answer.text.strip() else []
