"""The update loop as a node of your own graph, whose checkpoints keep the talk and never the memory.

    python examples/update_subgraph.py

Without a model the person's own sentences are kept; `build_host(model)` lets a chat model write the document. Memory is
in memory.db of the current folder, or where USERMEMORY_DATABASE says.
"""

import os
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph

from usermemory import Memory, MemoryContext, build_update_graph

# A LangGraph server imports this file once, in a thread, before it serves: opening the database here blocks nobody, and
# a wrong URL is told at once. A factory would be called on its event loop, and again for each request.
memory = Memory.open(os.environ.get("USERMEMORY_DATABASE", "sqlite:///memory.db"))


class Talk(MessagesState):
    """What is said, and of each run's result what the host wants to see."""

    status: str
    version: int


def build_host(model: BaseChatModel | None = None, *, checkpointer: BaseCheckpointSaver[Any] | None = None) -> Any:
    """Return the host's graph. A LangGraph server brings a checkpointer of its own."""
    builder = StateGraph(Talk, MemoryContext)
    builder.add_node("answer", answer)
    # It reads `messages` and the context of the host, keeps what it has not seen yet, and updates the document.
    builder.add_node("remember", build_update_graph(memory, model=model))
    builder.add_edge(START, "answer")
    builder.add_edge("answer", "remember")
    return builder.compile(checkpointer=checkpointer)


def answer(state: Talk) -> dict[str, Any]:
    """Answer; here stands whatever your graph does."""
    return {"messages": [AIMessage("Tell me more.")]}


host = build_host()


def main() -> None:
    """Talk twice in one thread, and look for memory in the checkpoints."""
    grace = memory.of(user="grace")
    if grace.document.current().version == 0:  # a document that is appended takes the place of the newest one
        grace.document.append({"summary": "Grace plays chess."})
    saver = InMemorySaver()
    graph = build_host(checkpointer=saver)
    for text in ("I live in Bonn.", "I want to give a talk without panic."):
        said = {"messages": [{"role": "user", "content": text}]}
        done = graph.invoke(said, {"configurable": {"thread_id": "t-1"}}, context=MemoryContext(user_id="grace"))
        print(f"{text:40} {done['status']} as version {done['version']}")
    stored = repr((saver.storage, saver.writes, saver.blobs))
    print("\nThe document:", grace.document.current().document)
    print("The talk is in the checkpoints:", "Bonn" in stored)
    print("The memory is in the checkpoints:", "chess" in stored)
    memory.close()


if __name__ == "__main__":
    main()
