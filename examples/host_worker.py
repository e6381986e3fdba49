"""A worker of your own: threads of a LangGraph checkpointer become memory, changes are told, and SIGTERM ends it.

    python examples/host_worker.py

It takes the place of `usermemory worker` where a host, a publisher or a summarizer is code of yours. A stand-in answers
for a model. Memory and its queue are in memory.db of the current folder, or where USERMEMORY_WORKER_DATABASE or
USERMEMORY_DATABASE says: looking for work among everybody takes the worker's URL on PostgreSQL.
"""

import os
import signal
import threading
from datetime import timedelta

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph

from graphs import Schedule
from graphs.testing import ScriptedChatModel, said
from graphs.work.prices import Prices
from memory_tools.relay import Relay
from storage import outbox
from storage.outbox import Event
from storage.work.batches import list_batches
from storage.work.queues import open_queue
from usermemory import CheckpointedConversations, Memory, Upkeep, Worker

DATABASE = (
    os.environ.get("USERMEMORY_WORKER_DATABASE") or os.environ.get("USERMEMORY_DATABASE") or "sqlite:///memory.db"
)

QUIET = timedelta(0)
"""How long a thread is quiet that has ended: no time here, two hours unless you say so."""


class Told:
    """Whoever is told of changes: a publisher of your own."""

    def __init__(self) -> None:
        self.changed: set[str | None] = set()
        self.everything = threading.Event()

    def publish(self, event: Event) -> None:
        """Hear of one change; what raises is told again."""
        self.changed.add(event.changed)
        if self.changed >= {"conversation", "document"}:
            self.everything.set()

    def close(self) -> None:
        """Let go of what is open."""


def talked() -> InMemorySaver:
    """Return the checkpointer of an agent that Ada talked to; in production one for PostgreSQL or SQLite."""
    saver = InMemorySaver()
    graph = StateGraph(MessagesState).add_node("answer", lambda state: {"messages": [AIMessage("Tell me more.")]})
    agent = graph.add_edge(START, "answer").compile(checkpointer=saver)
    # Whose the thread is: a checkpointer keeps what is configurable, and no `context`.
    agent.invoke(
        {"messages": [HumanMessage("I moved to Bonn.")]}, {"configurable": {"thread_id": "thread-1", "user_id": "ada"}}
    )
    return saver


def main() -> None:
    """Work until SIGTERM or Ctrl-C, and show what became of the thread."""
    until, told = threading.Event(), Told()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: until.set())
    with Memory.open(DATABASE) as memory:
        queue = open_queue(None, memory.database)  # the one in the database; or the URL of an SQS queue
        upkeep = Upkeep(memory, queue, inactivity=QUIET, hosts=[CheckpointedConversations(talked())])
        outbox.enable(memory.database)  # from now on, changes are written down for whoever is told
        worker = Worker(
            memory,
            queue,
            model=ScriptedChatModel.of(*[said('{"summary": "Ada moved to Bonn."}')] * 10),
            prices=Prices(0.25, 2.0),  # of a million tokens in and out
            inactivity=QUIET,
            schedule=Schedule(upkeep, clock=memory.database.clock),
            beside=[Relay(memory.database, told).run],
        )
        # In a thread of its own: a signal's handler may not set an event that its own thread is just waiting at.
        working = threading.Thread(target=worker.run, args=(until,))
        working.start()
        told.everything.wait(60)
        os.kill(os.getpid(), signal.SIGTERM)  # as whoever supervises it does one day; leave these two lines out
        working.join()
        for batch in list_batches(memory.database).entries:
            print(f"{batch.kind}: {batch.updated} of {batch.total} updated for {batch.cost_micros} millionths")
        print("Told of:", *sorted(filter(None, told.changed)))
        print("Remembered:", memory.of(user="ada").conversation_memories.get("thread-1").data["summary"])


if __name__ == "__main__":
    main()
