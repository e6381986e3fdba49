"""Operations on conversations: keep what was said."""

from typing import Annotated, Any, Literal

from pydantic import Field

from memory_tools.memory import UserMemory
from memory_tools.operation import NAMED, Audience, Effect, Input, Omittable, PageSize, operation
from memory_tools.written_time import WrittenTime
from storage.conversations import Conversation, Message, NewMessage
from storage.limits import PAGE_LIMIT
from storage.page import Page

Name = Annotated[str, Field(description="The host's id of the conversation."), NAMED]


class Said(Input):
    """One message."""

    role: Annotated[Literal["user", "assistant", "tool", "system"], Field(description="Who said it.")]
    content: Annotated[Any, Field(description="The text, or content blocks.")]
    said_at: Annotated[Omittable[WrittenTime], Field(description="When, with a zone; now by default.")]
    external_id: Annotated[Omittable[str], Field(description="The host's id: the same one is kept once.")]
    metadata: Annotated[
        dict[str, Any], Field(description="Anything the host wants kept with it.", default_factory=dict)
    ]

    def as_message(self) -> NewMessage:
        """Return the message on its way in."""
        return NewMessage(self.role, self.content, self.said_at, self.external_id, self.metadata)


class Transcript(Input):
    """Messages of one conversation, in order."""

    conversation: Name
    messages: Annotated[list[Said], Field(description="What was said, in order.")]


class MessagesWanted(Input):
    """One page of a conversation."""

    conversation: Name
    limit: PageSize = PAGE_LIMIT
    after: Annotated[int, Field(description="The last message number of the page before.", ge=0)] = 0


class ConversationsWanted(Input):
    """One page of conversations, newest first."""

    limit: PageSize = 20
    after: Annotated[Omittable[str], Field(description="The `next` of the page before.")]


@operation(
    Effect.WRITE,
    "POST /conversations/{conversation}/messages",
    Audience.OPERATOR,
    example={"conversation": "call-17", "messages": [{"role": "user", "content": "I moved to Bonn."}]},
)
def append_messages(memory: UserMemory, ask: Transcript) -> tuple[Message, ...]:
    """Keep messages of a conversation and return those that were new. Use it while or after people talk."""
    return memory.conversations.append(ask.conversation, [said.as_message() for said in ask.messages])


@operation(
    Effect.READ, "GET /conversations/{conversation}/messages", Audience.OPERATOR, example={"conversation": "call-17"}
)
def list_messages(memory: UserMemory, ask: MessagesWanted) -> Page[Message, int]:
    """List the messages of one conversation in order. Use it to read a transcript again."""
    return memory.conversations.messages(ask.conversation, limit=ask.limit, after=ask.after)


@operation(Effect.READ, "GET /conversations", Audience.OPERATOR, example={"limit": 5})
def list_conversations(memory: UserMemory, ask: ConversationsWanted) -> Page[Conversation, str]:
    """List conversations, the one with the newest message first. Use it to find a transcript."""
    return memory.conversations.all(limit=ask.limit, after=ask.after)
