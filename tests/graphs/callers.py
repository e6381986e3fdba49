"""Callers and voice flows as the tests use them."""

from typing import Any, cast
from uuid import UUID

from langchain_core.messages import HumanMessage, SystemMessage
from langgraph.graph import START, MessagesState, StateGraph

from graphs.testing import ScriptedChatModel
from graphs.voice import MemoryCall, memory_load_node, memory_store_node
from memory_tools.memory import Memory, UserMemory
from storage.database import Database
from storage.directory import find
from storage.identity import Identity

NUMBER = "+1234567890"
"""Seed 004's own."""


OTHER = "+12025550143"


SEED: Any = {"organizationId": "org-123", "metadata": {"phoneNumber": NUMBER}}


CANARY = "canary in the memory"


class Flow(MessagesState, MemoryCall):
    """A voice flow that looks at all that the nodes write."""


class Plain(MemoryCall, total=False):
    """A flow that keeps its messages as they come."""

    messages: list[Any]


def flow(
    memory: Memory,
    *,
    answers: ScriptedChatModel | None = None,
    load: dict[str, Any] | None = None,
    store: dict[str, Any] | None = None,
    state: Any = Flow,
    saver: Any = None,
) -> Any:
    """Return the voice flow of seed 004: remember, answer, store."""
    builder = StateGraph(state, context_schema=None)
    model = answers or ScriptedChatModel.of(*["Goodbye."] * 5)

    def answer(given: Any) -> dict[str, Any]:
        told = given.get("memory") or {}
        prompt = [SystemMessage("You answer the telephone.\n\n" + told.get("text", "")), *given.get("messages", [])]
        reply = model.invoke(prompt)
        return {"messages": [reply] if state is Flow else [*given.get("messages", []), reply]}

    builder.add_node("load", memory_load_node(memory, **(load or {})))
    builder.add_node("answer", cast(Any, answer))
    builder.add_node("store", memory_store_node(memory, **(store or {})))
    for step, following in ((START, "load"), ("load", "answer"), ("answer", "store")):
        builder.add_edge(step, following)
    return builder.compile(checkpointer=saver)


def says(*texts: str, call: str = "call-1", metadata: Any = None) -> Any:
    given = {"messages": [HumanMessage(text) for text in texts], "conversation": call}
    return given if metadata is None else {**given, "metadata": metadata}


def caller(memory: Memory, phone: str = NUMBER) -> UserMemory:
    return memory.of(phone=phone, organization="org-123")


def texts(person: UserMemory, conversation: str = "call-1") -> list[Any]:
    return [message.content for message in person.conversations.messages(conversation).entries]


def in_prompt(model: ScriptedChatModel) -> str:
    return str(model.prompts[-1][0].text)


def owner_of(database: Database) -> UUID:
    found = find(database, Identity.of(phone=NUMBER, organization="org-123"))
    assert found is not None
    return found.owner
