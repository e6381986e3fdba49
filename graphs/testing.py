"""A chat model that answers from a script, so that agents with memory can be tested without a provider."""

import asyncio
import json
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, Self, TypeAlias
from uuid import uuid4

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.tool import invalid_tool_call, tool_call, tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import PrivateAttr

Answer: TypeAlias = "str | dict[str, Any] | AIMessage | BaseException | Callable[[list[BaseMessage]], Answer]"
"""A text, a mapping (given as JSON), a whole message, an error to raise, or a function of the prompt that makes one."""


class ScriptedChatModel(BaseChatModel):
    """Gives its answers one after the other, whoever asks and however, and keeps what it was asked.

    More calls than answers are an AssertionError. Bound tools are offered to nobody: the script says what is called.

        from graphs.testing import ScriptedChatModel, calls

        model = ScriptedChatModel.of(calls("get_memory_item", {"namespace": "prefs", "key": "tone"}), "Warm regards!")
        agent = create_agent(model, get_user_memory_tools(memory))
        agent.invoke({"messages": [HumanMessage("How do I like it?")]}, context=MemoryContext(user_id="ada"))
        assert "warm" in model.prompts[1][-1].text
    """

    model_name: str = "scripted-1"
    _answers: Sequence[Answer] = PrivateAttr(default=())
    _prompts: list[list[BaseMessage]] = PrivateAttr(default_factory=list)
    _tools: list[list[dict[str, Any]]] = PrivateAttr(default_factory=list)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    @classmethod
    def of(cls, *answers: Answer) -> Self:
        """Return a model with these answers."""
        model = cls()
        model._answers = answers
        return model

    @property
    def prompts(self) -> Sequence[list[BaseMessage]]:
        """What it was asked, in order."""
        return self._prompts

    @property
    def left(self) -> int:
        """How many answers were not asked for."""
        return max(0, len(self._answers) - len(self._prompts))

    @property
    def bound_tools(self) -> list[dict[str, Any]]:
        """The tools that came with the last prompt, as OpenAI writes them; empty without any."""
        return self._tools[-1] if self._tools else []

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Return the model with tools, which has the same script and the same record."""
        return self.bind(tools=list(map(convert_to_openai_tool, tools)), tool_choice=tool_choice, **kwargs)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _asked(self, messages: list[BaseMessage], tools: Sequence[dict[str, Any]] = (), **_: Any) -> Answer:
        """Note a call and return its answer. Both under one lock, so that threads cannot mix them up."""
        with self._lock:
            number = len(self._prompts)
            self._prompts.append(messages)
            self._tools.append(list(tools))
        if number >= len(self._answers):
            raise AssertionError(f"the script has {len(self._answers)} answers, and the model was asked once more")
        return self._answers[number]

    async def _awaited(self, messages: list[BaseMessage], **kwargs: Any) -> AIMessage:
        answer = self._asked(messages, **kwargs)
        # Nothing else may block.
        return await asyncio.to_thread(_message, answer, messages) if callable(answer) else _message(answer, messages)

    def _generate(self, messages: list[BaseMessage], *_: Any, **kwargs: Any) -> ChatResult:
        return _result(_message(self._asked(messages, **kwargs), messages))

    async def _agenerate(self, messages: list[BaseMessage], *_: Any, **kwargs: Any) -> ChatResult:
        return _result(await self._awaited(messages, **kwargs))

    def _stream(self, messages: list[BaseMessage], *_: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        for chunk in _chunks(_message(self._asked(messages, **kwargs), messages)):
            yield ChatGenerationChunk(message=chunk)

    async def _astream(self, messages: list[BaseMessage], *_: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in _chunks(await self._awaited(messages, **kwargs)):
            yield ChatGenerationChunk(message=chunk)


def said(text: str, *, input_tokens: int = 10, output_tokens: int = 5, **metadata: Any) -> AIMessage:
    """Return an answer with its cost and what a provider says beside it."""
    usage: Any = {
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "total_tokens": input_tokens + output_tokens,
    }
    return AIMessage(text, usage_metadata=usage, response_metadata=metadata)


def calls(
    name: str,
    args: Mapping[str, Any],
    *more: tuple[str, Mapping[str, Any]],
    id: str | None = None,  # noqa: A002 - the name in LangChain
    text: str = "",
    **beside: Any,
) -> AIMessage:
    """Return an answer that calls a tool, and `more` of them, as pairs of name and arguments; the rest is as in `said`.

    `id` is that of the first call, and of the others with their place behind it; without one, ids are made up.
    """
    first = id or f"call_{uuid4().hex}"
    listed = [
        tool_call(name=each, args=dict(given), id=f"{first}-{place}" if place > 1 else first)
        for place, (each, given) in enumerate(((name, args), *more), 1)
    ]
    return said(text, **beside).model_copy(update={"tool_calls": listed})


def refused(text: str = "I cannot help with that.") -> AIMessage:
    """Return a refusal as OpenAI gives it."""
    return said(text, finish_reason="content_filter").model_copy(update={"additional_kwargs": {"refusal": text}})


def truncated(text: str) -> AIMessage:
    """Return an answer that was cut off because it is too long."""
    return said(text, finish_reason="length")


def truncated_call(name: str, args_text: str) -> AIMessage:
    """Return a call of a tool that was cut off within the JSON of its arguments."""
    cut = invalid_tool_call(name=name, args=args_text, id=f"call_{uuid4().hex}", error="the JSON ends too early")
    return truncated("").model_copy(update={"invalid_tool_calls": [cut]})


def _message(answer: Answer, messages: list[BaseMessage]) -> AIMessage:
    if isinstance(answer, BaseException):
        raise answer
    if isinstance(answer, AIMessage):
        return answer.model_copy(deep=True)  # LangChain writes an id into what it is given.
    if isinstance(answer, dict):
        return AIMessage(json.dumps(answer))
    return AIMessage(answer) if isinstance(answer, str) else _message(answer(messages), messages)


def _result(message: AIMessage) -> ChatResult:
    return ChatResult(generations=[ChatGeneration(message=message)])


def _chunks(message: AIMessage) -> Iterator[AIMessageChunk]:
    """Yield a message word by word, then its calls, then what a provider knows only at the end."""
    told = ("content", "tool_calls", "invalid_tool_calls")
    beside = {**message.model_dump(exclude={"type", *told}), "chunk_position": "last"}
    if message.invalid_tool_calls:
        # Chunks that are added up have their JSON repaired: a call that was cut off would look like a whole one.
        yield AIMessageChunk(**beside, **message.model_dump(include={*told}))
        return
    for content in _words(message.content) if isinstance(message.content, str) else [message.content]:
        yield AIMessageChunk(content=content, id=message.id)
    for index, call in enumerate(message.tool_calls):
        named = tool_call_chunk(name=call["name"], id=call["id"], index=index)
        pieces = [tool_call_chunk(args=piece, index=index) for piece in _words(json.dumps(call["args"]))]
        for chunk in (named, *pieces):
            yield AIMessageChunk(content="", id=message.id, tool_call_chunks=[chunk])
    yield AIMessageChunk(content="", **beside)


def _words(text: str) -> list[str]:
    return re.findall(r"\S+\s*|\s+", text)
