"""Turns: which messages of a thread belong to the run that just ended."""

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage


def incoming(messages: Sequence[AnyMessage], *, in_thread: bool = True) -> tuple[AnyMessage, ...]:
    """Return the messages that a run begins with: those behind the last answer before what was said last.

    A call of a tool is no answer: where an earlier run failed or was given up, its question is still unanswered and is
    among them. So is what another agent answered in the same run. What was said before comes from a checkpoint, or from
    a host that sends the whole thread each time, and was kept in its own turn. Outside of a thread, where messages
    have no ids that last, a turn also ends at the result of a tool behind which somebody speaks.
    """
    return _said(messages[_beginning(messages, in_thread) :])


def turn(
    messages: Sequence[AnyMessage], begun_with: Sequence[AnyMessage] | None, *, in_thread: bool = True
) -> tuple[AnyMessage, ...]:
    """Return what was said in the run, as it stands now: what it began with, and what came after.

    What a middleware put in the place of a message, under its id, counts: somebody may have been blacked out. What was
    taken out of the thread meanwhile counts as it was. A run that was resumed in its middle has forgotten what it began
    with: then it is what lies behind the answer before its own.
    """
    if not begun_with:
        return incoming(messages, in_thread=in_thread)
    now = {message.id: message for message in messages}
    last = begun_with[-1].id
    place = next((place for place in range(len(messages) - 1, -1, -1) if messages[place].id == last), None)
    if place is None:  # a summary took the question's place
        begun = {message.id for message in begun_with}
        rest = [message for message in incoming(messages, in_thread=in_thread) if message.id not in begun]
    else:
        rest = list(messages[place + 1 :])
    return (*(now.get(message.id, message) for message in begun_with), *_said(rest))


def _beginning(messages: Sequence[AnyMessage], in_thread: bool) -> int:
    """Return the place behind the last answer before what was said last; 0 where there is none."""
    place = len(messages)
    while place and _is_answer(messages[place - 1]):
        place -= 1
    while place and not _is_answer(messages[place - 1]):
        spoken = place < len(messages) and messages[place].type == "human"
        if not in_thread and spoken and messages[place - 1].type == "tool":
            break
        place -= 1
    return place


def _is_answer(message: BaseMessage) -> bool:
    return isinstance(message, AIMessage) and not message.tool_calls


def _said(messages: Sequence[Any]) -> tuple[AnyMessage, ...]:
    """Return the messages without instructions, and without summaries that a middleware put in the place of others."""
    return tuple(message for message in messages if message.type != "system" and not is_summary(message))


def is_summary(message: BaseMessage) -> bool:
    """Tell whether LangChain's summarization wrote it, in the place of what was said."""
    return message.additional_kwargs.get("lc_source") == "summarization"
