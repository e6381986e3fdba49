"""Agents with memory as the tests use them: what is asked, in which thread, and what was told and kept."""

from collections.abc import Callable
from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import (
    HumanMessage,
    SystemMessage,
)
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver

from graphs.middleware import UserMemoryMiddleware
from graphs.testing import ScriptedChatModel
from memory_tools.context import MemoryContext
from memory_tools.memory import Memory, UserMemory

ADA = MemoryContext(user_id="ada")


Run = Callable[..., dict[str, Any]]


def asked(*texts: str) -> dict[str, Any]:
    return {"messages": [HumanMessage(text) for text in texts]}


def in_thread(name: str = "t-1") -> Any:
    return {"configurable": {"thread_id": name}}


def prompt_of(model: ScriptedChatModel, number: int = -1) -> str:
    """Return the system prompt of a call."""
    first = model.prompts[number][0]
    return first.text if isinstance(first, SystemMessage) else ""


def kept(person: UserMemory, conversation: str = "t-1") -> list[tuple[str, Any]]:
    return [(each.role, each.content) for each in person.conversations.messages(conversation).entries]


@tool
def pay(amount: int) -> str:
    """Pay."""
    return "paid"


def paying(memory: Memory, model: ScriptedChatModel) -> Any:
    """Return an agent that keeps its turns and asks a human before it pays."""
    return create_agent(
        model,
        [pay],
        middleware=[
            UserMemoryMiddleware(memory, auto_store=True),
            HumanInTheLoopMiddleware(interrupt_on={"pay": True}),
        ],
        context_schema=MemoryContext,
        checkpointer=InMemorySaver(),
    )
