"""The agent on a real provider: any endpoint that speaks OpenAI's wire format, with streaming, tools and token counts.

    OPENAI_API_KEY=... python examples/provider.py --base-url https://... --model ...

A server on your own machine (Ollama, vLLM, llama.cpp) needs no key. Memory is in memory.db of the current folder, or
where USERMEMORY_DATABASE says. Install `langchain-openai` first.
"""

import argparse
import os
from collections.abc import Sequence
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from graphs.middleware import UserMemoryMiddleware
from memory_tools.langchain import get_user_memory_tools
from usermemory import Memory, MemoryContext

SAID = (
    ("monday", "My name is Ada. Please remember that I like to be spoken to slowly."),
    ("tuesday", "What do you know about me?"),
)
"""What the person says, and in which thread."""


def build_agent(memory: Memory, model: BaseChatModel) -> Any:
    """Return an agent with memory: what is known stands behind the prompt, and the tools read and write more."""
    return create_agent(
        model,
        get_user_memory_tools(memory),
        system_prompt="You are a friendly host. Write down what people ask you to remember.",
        middleware=[UserMemoryMiddleware(memory, auto_store=True, update="now")],
        context_schema=MemoryContext,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Talk in two threads, streaming, and say what it cost."""
    given = _parser().parse_args(arguments)
    key = SecretStr(os.environ.get("OPENAI_API_KEY", "none"))
    # LangChain asks for token counts in a stream only at OpenAI's own address.
    model = ChatOpenAI(model=given.model, base_url=given.base_url, api_key=key, stream_usage=True)
    with Memory.open(os.environ.get("USERMEMORY_DATABASE", "sqlite:///memory.db")) as memory:
        agent = build_agent(memory, model)
        for thread, text in SAID:
            print(f"{thread}\n  Ada    {text}\n  Agent  ", end="")
            asked = {"messages": [{"role": "user", "content": text}]}
            run: Any = {"configurable": {"thread_id": thread}}
            context = MemoryContext(user_id=given.user)  # never sent to the provider
            for chunk, about in agent.stream(asked, run, context=context, stream_mode="messages"):
                if about["langgraph_node"] == "model":
                    print(chunk.text, end="", flush=True)
            print()
        print("\nTokens:", memory.of(user=given.user).conversations.totals().tokens)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Talk to an agent with memory on a provider of your choice.")
    endpoint = os.environ.get("OPENAI_BASE_URL")
    parser.add_argument(
        "--base-url", default=endpoint, required=endpoint is None, help="such as http://127.0.0.1:11434/v1"
    )
    parser.add_argument("--model", default=os.environ.get("OPENAI_MODEL", "gpt-5-mini"))
    parser.add_argument("--user", default="ada", help="whose memory it is")
    return parser


if __name__ == "__main__":
    main()
