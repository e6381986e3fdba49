"""A chat model that answers from a script, for tests: texts, whole messages, errors, or functions of the prompt."""

import json
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import PrivateAttr

Answer: TypeAlias = "str | dict[str, Any] | AIMessage | Exception | Callable[[list[BaseMessage]], Answer]"


class ScriptedChatModel(BaseChatModel):
    """Gives its answers one after the other and keeps the prompts; more calls than answers are an AssertionError."""

    model_name: str = "scripted-1"
    _answers: list[Answer] = PrivateAttr(default_factory=list)
    _prompts: list[list[BaseMessage]] = PrivateAttr(default_factory=list)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    @classmethod
    def of(cls, *answers: Answer) -> "ScriptedChatModel":
        """Return a model with these answers; a mapping is written as JSON."""
        model = cls()
        model._answers = list(answers)
        return model

    @property
    def prompts(self) -> Sequence[list[BaseMessage]]:
        """What it was asked, in order."""
        return self._prompts

    @property
    def left(self) -> int:
        """How many answers were not asked for."""
        return len(self._answers)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with self._lock:
            self._prompts.append(messages)
            assert self._answers, "the model was asked more often than its script has answers"
            answer = self._answers.pop(0)
        return ChatResult(generations=[ChatGeneration(message=_message(answer, messages))])


def said(text: str, *, input_tokens: int = 10, output_tokens: int = 5, **metadata: Any) -> AIMessage:
    """Return an answer with its cost and what a provider says beside it."""
    usage: Any = {
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "total_tokens": input_tokens + output_tokens,
    }
    return AIMessage(text, usage_metadata=usage, response_metadata=metadata)


def _message(answer: Answer, messages: list[BaseMessage]) -> AIMessage:
    if isinstance(answer, Exception):
        raise answer
    if isinstance(answer, AIMessage):
        return answer
    if isinstance(answer, dict):
        return AIMessage(json.dumps(answer))
    return AIMessage(answer) if isinstance(answer, str) else _message(answer(messages), messages)
