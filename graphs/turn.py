"""Turns: which messages of a thread belong to the run that just ended."""

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AnyMessage, BaseMessage

_ANSWERS = ("ai", "tool")


def incoming(messages: Sequence[AnyMessage]) -> tuple[AnyMessage, ...]:
    """Return the messages that a run begins with: those behind the last answer of the agent.

    Where an earlier run failed, its question is still unanswered and is among them. What was said before comes from a
    checkpoint, or from a host that sends the whole thread each time, and was kept in its own turn.
    """
    begun = len(messages)
    while begun and messages[begun - 1].type not in _ANSWERS:
        begun -= 1
    return _said(messages[begun:])


def turn(messages: Sequence[AnyMessage], begun_with: Sequence[AnyMessage] | None) -> tuple[AnyMessage, ...]:
    """Return what was said in the run: what it began with, where that is known, and what came after.

    A run that was resumed in its middle has forgotten what it began with: then it is the last question and the rest.
    """
    if not begun_with:
        return incoming(messages[: _last_question(messages)]) + _said(messages[_last_question(messages) :])
    last = begun_with[-1].id
    place = next((place for place in range(len(messages) - 1, -1, -1) if messages[place].id == last), None)
    # A summary may have replaced the question meanwhile.
    return (*begun_with, *_said(messages[_last_question(messages) if place is None else place + 1 :]))


def _last_question(messages: Sequence[AnyMessage]) -> int:
    """Return the place behind the last message that is no answer; 0 where there is none."""
    return next((place + 1 for place in range(len(messages) - 1, -1, -1) if messages[place].type not in _ANSWERS), 0)


def _said(messages: Sequence[Any]) -> tuple[AnyMessage, ...]:
    """Return the messages without instructions, and without summaries that a middleware put in the place of others."""
    return tuple(message for message in messages if message.type != "system" and not _is_summary(message))


def _is_summary(message: BaseMessage) -> bool:
    return message.additional_kwargs.get("lc_source") == "summarization"
