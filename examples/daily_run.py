"""A daily run: the memory of many people is updated side by side, and who fails stops nobody else.

    python examples/daily_run.py

Without a model the people's own sentences are kept; `build_daily(model)` lets a chat model write the documents. Memory
is in memory.db of the current folder, or where USERMEMORY_DATABASE says.
"""

import operator
import os
from collections import Counter
from typing import Annotated, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Send
from typing_extensions import TypedDict

from graphs.testing import Answer, ScriptedChatModel
from usermemory import Memory, update_memory

AT_ONCE = 4
"""People whose memory is updated at the same time."""

# A LangGraph server imports this file once, in a thread, before it serves: opening the database here blocks nobody, and
# a wrong URL is told at once. A factory would be called on its event loop, and again for each request.
memory = Memory.open(os.environ.get("USERMEMORY_DATABASE", "sqlite:///memory.db"))


class Person(TypedDict):
    """One of them."""

    user: str


class Day(TypedDict, total=False):
    """A run. It names people: offer the graph to operators and schedules, never to the people themselves."""

    users: list[str]
    statuses: Annotated[dict[str, str], operator.or_]
    counts: dict[str, int]


def build_daily(model: BaseChatModel | None = None) -> Any:
    """Return the run as a graph: map the people to updates, reduce what became of them to counts."""

    def update(state: Person, runtime: Runtime) -> Day:
        """Update one person, and tell the stream how far it is: steps and numbers, never content."""
        user = state["user"]

        def tell(step: Any) -> None:
            runtime.stream_writer({"user": user, **step})

        try:
            status: str = update_memory(memory.of(user=user), model=model, on_progress=tell).status
        except Exception as error:  # noqa: BLE001 - the others go on; what was new stays new for the next run
            # Not by an error_handler: what a node raises is written to the checkpoint, and its text may quote people.
            status = f"failed: {type(error).__name__}"
        return {"statuses": {user: status}}

    builder = StateGraph(Day)
    builder.add_node("update", update, input_schema=Person)
    builder.add_node("count", count)
    builder.add_conditional_edges(START, each_person, ["update", "count"])
    builder.add_edge("update", "count")
    return builder.compile().with_config(max_concurrency=AT_ONCE)


def each_person(state: Day) -> list[Send] | str:
    """Send each person to an update of their own."""
    return [Send("update", Person(user=user)) for user in dict.fromkeys(state["users"])] or "count"


def count(state: Day) -> Day:
    """Count what became of today's people; in a thread that goes on, there are those of earlier days too."""
    today = {user: state["statuses"][user] for user in state["users"]}
    return {"counts": dict(Counter(status.partition(":")[0] for status in today.values()))}


daily = build_daily()


def stand_in(prompt: list[BaseMessage]) -> Answer:
    """Write a document as a model would, but for Bob."""
    if "Bob" in prompt[-1].text:
        return RuntimeError("the provider is overloaded")
    return {"document": {"summary": "Somebody who likes the sea."}}


def main() -> None:
    """Let three people talk, and update their memory in one run; one of them fails."""
    people = ("anna", "bob", "cleo")
    for user in people:
        words = f"My name is {user.title()}. I like the sea."
        memory.of(user=user).conversations.append("call-1", [{"role": "user", "content": words}])
    graph = build_daily(ScriptedChatModel.of(*[stand_in] * len(people)))
    for mode, value in graph.stream({"users": people}, stream_mode=["custom", "values"]):
        if mode == "custom":
            print(f"{value['user']:6} {value['stage']}")
        day = value
    print(*(f"\n{user:6} {status}" for user, status in day["statuses"].items()), "\n\nTogether:", day["counts"])
    memory.close()


if __name__ == "__main__":
    main()
