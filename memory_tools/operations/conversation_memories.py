"""Operations on conversation memories: what is worth remembering of each conversation (seed 003)."""

from typing import Annotated, Any

from pydantic import Field

from memory_tools.memory import UserMemory
from memory_tools.operation import Audience, Effect, Input, Omittable, PageSize, operation
from memory_tools.operations.conversations import Name
from storage.conversation_memories import ConversationMemory
from storage.page import Page

MessageCount = Annotated[
    Omittable[Annotated[int, Field(ge=1)]],
    Field(description="Of how many messages it is made, from the first; all by default."),
]


class NamedConversation(Input):
    """One conversation."""

    conversation: Name


class NewConversationMemory(Input):
    """What is to be remembered of one conversation."""

    conversation: Name
    data: Annotated[dict[str, Any], Field(description="A JSON object of at most 64 KB.")]
    message_count: MessageCount


class ConversationMemoriesWanted(Input):
    """One page of conversation memories, those changed last first."""

    limit: PageSize = 20
    after: Annotated[Omittable[str], Field(description="The `next` of the page before.")]


@operation(
    Effect.READ, "GET /conversations/{conversation}/memory", Audience.OPERATOR, example={"conversation": "call-17"}
)
def get_conversation_memory(memory: UserMemory, ask: NamedConversation) -> ConversationMemory:
    """Read what is remembered of one conversation. Use it instead of the transcript."""
    return memory.conversation_memories.get(ask.conversation)


@operation(
    Effect.WRITE,
    "PUT /conversations/{conversation}/memory",
    Audience.OPERATOR,
    example={"conversation": "call-17", "data": {"summary": "Ada moved to Bonn."}},
)
def set_conversation_memory(memory: UserMemory, ask: NewConversationMemory) -> ConversationMemory:
    """Replace what is remembered of one conversation. Use it after summarizing elsewhere."""
    return memory.conversation_memories.set(ask.conversation, ask.data, message_count=ask.message_count)


@operation(Effect.READ, "GET /conversation_memories", Audience.OPERATOR, example={"limit": 5})
def list_conversation_memories(memory: UserMemory, ask: ConversationMemoriesWanted) -> Page[ConversationMemory, str]:
    """List what is remembered of conversations, changed last first. Use it to look back over many."""
    return memory.conversation_memories.all(limit=ask.limit, after=ask.after)
