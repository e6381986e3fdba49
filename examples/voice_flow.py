"""A voice flow that knows its callers: load what is known, talk, store what was said.

    python examples/voice_flow.py

A stand-in talks, so that no key is needed; `build_voice(model)` takes a real chat model. Memory is in memory.db of the
current folder, or where USERMEMORY_DATABASE says.
"""

import os
import re
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, SystemMessage
from langgraph.graph import END, START, MessagesState, StateGraph

from graphs.testing import ScriptedChatModel
from graphs.voice import MemoryCall, memory_load_node, memory_store_node
from usermemory import Memory, MemoryContext

# A LangGraph server imports this file once, in a thread, before it serves: opening the database here blocks nobody, and
# a wrong URL is told at once. A factory would be called on its event loop, and again for each request.
memory = Memory.open(os.environ.get("USERMEMORY_DATABASE", "sqlite:///memory.db"))


class Call(MessagesState, MemoryCall):
    """What is said, and what is known about who calls. The latter is in no checkpoint."""


def build_voice(model: BaseChatModel | None = None) -> Any:
    """Return the flow. Who calls says the context of each run: a phone number is enough."""
    # Whoever asks a stand-in a thousand times wants a real model.
    speaker = model or ScriptedChatModel.of(*[stand_in] * 1_000)

    def talk(state: Call) -> dict[str, Any]:
        """Answer with what is known in mind."""
        told = f"You answer the phone. Be brief.\n\n{state['memory']['text']}"
        return {"messages": [speaker.invoke([SystemMessage(told), *state["messages"]])]}

    flow: Any = StateGraph(Call, context_schema=MemoryContext, output_schema=MessagesState)
    flow.add_node("load", memory_load_node(memory))
    flow.add_node("talk", talk)
    flow.add_node("store", memory_store_node(memory, update="now"))
    flow.add_edge(START, "load")
    flow.add_edge("load", "talk")
    flow.add_edge("talk", "store")
    flow.add_edge("store", END)
    compiled = flow.compile()
    # A server keeps what a graph streams as the values of the thread: let that be what was said, not what is known.
    compiled.stream_channels = ["messages"]
    return compiled


def stand_in(prompt: list[BaseMessage]) -> str:
    """Answer as a model would that reads its prompt."""
    name = re.search(r"name is (\w+)", prompt[0].text)
    return f"Welcome back, {name[1]}! How is it going?" if name else "Hello! I do not think we have met."


voice = build_voice()


def main() -> None:
    """Let the same number call twice."""
    caller = MemoryContext(phone="+12025550123")
    for call, text in (
        ("call-1", "Hello! My name is Ada. I want to sleep better."),
        ("call-2", "Hi, it is me again."),
    ):
        said = {"messages": [{"role": "user", "content": text}]}
        answered = voice.invoke(said, {"configurable": {"thread_id": call}}, context=caller)
        print(f"{call}\n  Caller  {text}\n  Agent   {answered['messages'][-1].text}")
    print("\nKept:", memory.of(phone="+12025550123").conversations.totals().conversations, "calls")
    memory.close()


if __name__ == "__main__":
    main()
