"""An agent that remembers: middleware tells the model what is known, and a tool lets it write down more.

    python examples/agent.py

A stand-in answers, so that no key is needed; `build_agent("openai:...")` takes a real model. Memory is in memory.db of
the current folder, or where USERMEMORY_DATABASE says.
"""

import os
import re
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage

from graphs.middleware import UserMemoryMiddleware
from graphs.testing import ScriptedChatModel, calls
from memory_tools.langchain import get_user_memory_tools
from usermemory import Memory, MemoryContext

# A LangGraph server imports this file once, in a thread, before it serves: opening the database here blocks nobody, and
# a wrong URL is told at once. A factory would be called on its event loop, and again for each request.
memory = Memory.open(os.environ.get("USERMEMORY_DATABASE", "sqlite:///memory.db"))


def build_agent(model: str | BaseChatModel | None = None) -> Any:
    """Return an agent for everybody: whose memory it is says the context of each run."""
    made = create_agent(
        # Whoever asks a stand-in a thousand times wants a real model.
        model or ScriptedChatModel.of(*[stand_in] * 1_000),
        # What a tool reads stays in the thread, and so in its checkpoints; what the middleware tells does not.
        get_user_memory_tools(memory, operations=["update_user_memory"]),
        system_prompt="You are a friendly host. Write down how people want to be spoken to.",
        middleware=[UserMemoryMiddleware(memory, auto_store=True, update="now")],
        context_schema=MemoryContext,
    )
    # A server keeps what a graph streams as the values of the thread: let that be what was said, not what is known.
    made.stream_channels = ["messages"]
    return made


def stand_in(prompt: list[BaseMessage]) -> str | AIMessage:
    """Answer as a model would that reads its prompt."""
    system, last = prompt[0].text, prompt[-1]
    if last.type == "tool":
        return "I will."
    if wish := re.search(r"speak (\w+)", last.text):
        return calls("update_user_memory", {"changes": [{"pointer": "/tone", "value": wish[1]}]})
    name, tone = re.search(r"name is (\w+)", system), re.search(r'"tone": "(\w+)"', system)
    return f"You are {name[1]}, and I speak {tone[1]}." if name and tone else "We have not met."


agent = build_agent()


def main() -> None:
    """Talk in two threads: the second knows what was said in the first."""
    ada = MemoryContext(user_id="ada")
    for thread, text in (
        ("monday", "My name is Ada. Please speak slowly."),
        ("tuesday", "What do you know about me?"),
    ):
        asked = {"messages": [{"role": "user", "content": text}]}
        answered = agent.invoke(asked, {"configurable": {"thread_id": thread}}, context=ada)
        print(f"{thread}\n  Ada    {text}\n  Agent  {answered['messages'][-1].text}")
    print("\nThe document:", memory.of(user="ada").document.current().document)
    memory.close()


if __name__ == "__main__":
    main()
