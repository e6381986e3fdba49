"""Asking: a model is asked until its answer can be used, a bounded number of times."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.constants import TAG_NOSTREAM

from graphs.answer import Reason, Unusable, model_name, usage
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

    def __init__(
        self, message: str | None = None, *, tokens: TokenUsage | None = None, reason: Reason | None = None
    ) -> None:
        """`tokens` is what was spent in vain, `reason` why the last answer is of no use.

        The message may quote the answer, and so what a person said.
        """
        super().__init__(message)
        self.tokens = tokens
        self.reason = reason


class AskedModel:
    """A chat model that is asked, and asked again, with the reason, for an answer that cannot be used.

    Errors of the model itself (no connection, rate limits) go on as they are, with what was paid before them (`paid`).
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
        asking = _Asking(self._model, self._prompt, question, read)
        with asking.charging():
            for _ in range(self._attempts):
                answered = asking.take(self._model.invoke(asking.question, _PRIVATELY))
                if answered is not None:
                    return answered
        raise asking.no_usable_answer(self._attempts)

    async def aask(self, question: list[BaseMessage], read: Callable[[object], Read]) -> Answered[Read]:
        """Do the same, awaiting the model."""
        asking = _Asking(self._model, self._prompt, question, read)
        with asking.charging():
            for _ in range(self._attempts):
                answered = asking.take(await self._model.ainvoke(asking.question, _PRIVATELY))
                if answered is not None:
                    return answered
        raise asking.no_usable_answer(self._attempts)


@dataclass(slots=True)
class _Asking(Generic[Read]):
    """One question on its way to a usable answer."""

    model: BaseChatModel | Runnable[Any, Any]
    prompt: PromptFile
    question: list[BaseMessage]
    """What to ask next."""

    read: Callable[[object], Read]
    tokens: TokenUsage | None = None
    unusable: Unusable | None = None
    """Why the last answer is of no use."""

    def take(self, answer: object) -> Answered[Read] | None:
        """Return what is read in an answer; None where it cannot be used and the next question says why."""
        self.tokens = added(self.tokens, usage(answer))
        try:
            value = self.read(answer)
        except Unusable as unusable:
            self.unusable = unusable
            self.question = [*self.question, *_repeated(answer), self.prompt.correction(str(unusable))]
            return None
        model = (model_name(answer) or model_name(self.model) or type(self.model).__name__)[:LABEL_LIMIT]
        return Answered(value, model, self.tokens)

    @contextmanager
    def charging(self) -> Generator[None]:
        """Let an error that leaves the block say what was paid before it."""
        try:
            yield
        except BaseException as error:
            charge(error, self.tokens)
            raise

    def no_usable_answer(self, attempts: int) -> NoUsableAnswer:
        """Return the error for the end of all attempts."""
        reason = None if self.unusable is None else self.unusable.reason
        message = f"no usable answer in {attempts} attempts: {self.unusable}"
        return NoUsableAnswer(message, tokens=self.tokens, reason=reason)


def charge(error: BaseException, tokens: TokenUsage | None) -> None:
    """Let any error say what was paid before it came; None where nobody knows."""
    vars(error)["tokens"] = tokens  # not by setattr, which a foreign class may refuse


def paid(error: BaseException) -> TokenUsage | None:
    """Return what an error says was paid before it came; None where it says nothing."""
    tokens = vars(error).get("tokens")
    return tokens if isinstance(tokens, TokenUsage) else None


def reason_of(error: BaseException) -> Reason | None:
    """Return why the last answer was of no use, where the error is about that."""
    return error.reason if isinstance(error, NoUsableAnswer) else None


def added(one: TokenUsage | None, other: TokenUsage | None) -> TokenUsage | None:
    """Return what both calls cost together; None where nobody knows of either."""
    if one is None or other is None:
        return one or other
    return TokenUsage(one.input + other.input, one.output + other.output)


def _repeated(answer: object) -> list[BaseMessage]:
    """Return an answer as it is shown to the model again; providers refuse a message without content."""
    return [AIMessage(answer.text)] if isinstance(answer, BaseMessage) and answer.text.strip() else []
