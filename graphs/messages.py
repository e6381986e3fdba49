"""Messages: what is known about a person, as a system message to put before a conversation."""

from langchain_core.messages import SystemMessage

from memory_tools.known import read_known
from memory_tools.memory import UserMemory
from memory_tools.presentation import MEMORY_BUDGET, known_text
from memory_tools.said import RECALLED
from memory_tools.visit import visit

MESSAGE_TOKENS = 5
"""Tokens that LangChain counts for a system message beside its text, rounded up."""


def memory_messages(
    person: UserMemory, *, budget: int = MEMORY_BUDGET, except_conversation: str | None = None
) -> list[SystemMessage]:
    """Return what is known as one system message to put before a conversation; none when nothing is known.

    It is marked as recalled, so that it is never learnt again. LangChain counts at most `budget` tokens for it.
    `except_conversation` is the one that is going on, whose messages the model sees anyway. Where the organization
    switched memory off, nothing is known.
    """
    with visit(person, writes=False) as visited:
        known = read_known(visited.stores, except_conversation=except_conversation)
    text = known_text(known, budget=budget - MESSAGE_TOKENS)
    return [SystemMessage(text, additional_kwargs={RECALLED: True})] if text else []


async def amemory_messages(
    person: UserMemory, *, budget: int = MEMORY_BUDGET, except_conversation: str | None = None
) -> list[SystemMessage]:
    """Do the same without blocking the event loop."""
    return await person.memory.threads.run(
        lambda: memory_messages(person, budget=budget, except_conversation=except_conversation)
    )
