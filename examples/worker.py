"""Memory that keeps itself up to date: two conversations end, and a worker remembers them and updates the document.

    python examples/worker.py

Without a model the person's own sentences are kept; `remembered(memory, model)` lets a chat model write. Memory and its
queue are in memory.db of the current folder, or where USERMEMORY_WORKER_DATABASE or USERMEMORY_DATABASE says: looking
for work among everybody takes the worker's URL on PostgreSQL.
"""

import os
from collections.abc import Iterator
from datetime import timedelta

from langchain_core.language_models import BaseChatModel

from storage.work.batches import Batch, get_batch
from storage.work.queues import open_queue
from usermemory import Memory, Upkeep, Worker

DATABASE = (
    os.environ.get("USERMEMORY_WORKER_DATABASE") or os.environ.get("USERMEMORY_DATABASE") or "sqlite:///memory.db"
)

SAID = {
    "call-1": ["My name is Ada. I moved to Bonn in May.", "I want to sleep better."],
    "call-2": ["I prefer tea in the evening."],
}
"""What Ada said in two calls."""


def talk(memory: Memory) -> None:
    """Keep two conversations that ended three hours ago."""
    ada = memory.of(user="ada")
    ended = memory.database.clock() - timedelta(hours=3)
    for name, texts in SAID.items():
        said = [{"role": "user", "content": text, "said_at": ended, "external_id": text} for text in texts]
        ada.conversations.append(name, said)


def remembered(memory: Memory, model: BaseChatModel | None = None) -> Iterator[Batch]:
    """Have a worker do what there is to do, and give what became of it: first the conversations, then the day."""
    queue = open_queue(None, memory.database)  # the one in the database; or the URL of an SQS queue
    upkeep = Upkeep(memory, queue)
    worker = Worker(memory, queue, model=model)
    for begin in (upkeep.conversations_ended, upkeep.daily):
        batch = begin()
        if batch is not None:  # there is something to do
            worker.drain()  # until the queue is empty; `run` goes on until an event is set, as `usermemory worker` does
            yield get_batch(memory.database, batch.id)


def main() -> None:
    """Talk, remember, and look at what is known now."""
    with Memory.open(DATABASE) as memory:
        talk(memory)
        for batch in remembered(memory):
            print(f"{batch.kind}: {batch.updated} of {batch.total} updated")
        ada = memory.of(user="ada")
        for name in SAID:
            data = ada.conversation_memories.get(name).data
            print(f"\n{name}: {data['summary']}")
            for noted in [*data["facts"], *data["preferences"], *data["open_points"]]:
                print(f"  {noted['text']}  (message {noted['messages'][0]})")
        print("\nThe document:", ada.document.current().document["summary"])


if __name__ == "__main__":
    main()
