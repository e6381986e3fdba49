"""Conversations: the API of seed 003 for whoever has conversations and makes memories of them: operators.

A conversation has a name, which is the host's id of it and unique for its person, and an id, which is unique. By the id
alone everything else is found, as a message in the queue has it; whose conversation it is, the directory knows.
"""

from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter
from pydantic import BeforeValidator, Field

from http_api.answer_schemas import ANY, NUMBER, OBJECT, TEXT, WHEN, known, maybe
from http_api.asking import Door
from http_api.identity import Asker
from http_api.routes import Plain, add_route
from http_api.user_id import CountedUserId
from memory_tools.access import Scope
from memory_tools.answer import as_json
from memory_tools.memory import UserMemory
from memory_tools.operation import NAMED, Effect, Input, Omittable
from memory_tools.operations.conversation_memories import MessageCount
from memory_tools.operations.conversations import Said
from storage.conversation_memories import ConversationMemory
from storage.errors import NotFound
from storage.json_types import Json
from storage.limits import PAGE_LIMIT
from storage.work.eligible import whose_conversation
from storage.work.unbound import require_workers_role

MESSAGES_AT_ONCE: Final = 1_000
"""Messages of a conversation in one question, and in one answer, at the most."""


def _as_uuid(value: Any) -> Any:
    """Read a UUID, which is text in JSON."""
    return UUID(value) if isinstance(value, str) else value


ConversationId = Annotated[
    UUID,
    BeforeValidator(_as_uuid),
    Field(description="The id of the conversation, which it was given when it began."),
]
Messages = Annotated[
    list[Said], Field(description="What was said, in order.", min_length=1, max_length=MESSAGES_AT_ONCE)
]


class NewConversation(Input):
    """The beginning of a conversation, or what goes on in one of that name."""

    name: Annotated[str, Field(description="The host's own id of the conversation.", examples=["call-17"]), NAMED]
    messages: Messages
    user_id: Annotated[
        Omittable[CountedUserId], Field(description="Whose conversation; else the Memory-... headers say so.")
    ]


class OfConversation(Input):
    """What is about one conversation."""

    conversation_id: ConversationId


class MoreMessages(OfConversation):
    """What else was said."""

    messages: Messages


class TranscriptWanted(OfConversation):
    """The messages of a conversation."""

    limit: Annotated[int, Field(ge=1, le=MESSAGES_AT_ONCE, description="How many messages.")] = MESSAGES_AT_ONCE
    after: Annotated[int, Field(ge=0, description="The `next` of the answer before.")] = 0


class MemoryWanted(OfConversation):
    """The memory of a conversation."""


class NewMemory(OfConversation):
    """What is to be remembered of a conversation, in the place of what was."""

    memory_data: Annotated[dict[str, Any], Field(description="A JSON object of at most 64 KB.")]
    message_count: MessageCount


_CONVERSATION: Final = known(
    id=TEXT, name=TEXT, message_count=NUMBER, last_message_at=maybe(WHEN), created_at=WHEN, updated_at=WHEN
)
_MESSAGE: Final = known(number=NUMBER, role=TEXT, content=ANY, said_at=WHEN, external_id=maybe(TEXT), metadata=OBJECT)
_TRANSCRIPT: Final = known(
    conversation_id=TEXT,
    name=TEXT,
    message_count=NUMBER,
    messages={"type": "array", "items": _MESSAGE},
    next=maybe(NUMBER),
)
_MEMORY: Final = known(
    id=TEXT,
    conversation_id=TEXT,
    name=TEXT,
    memory_data=OBJECT,
    message_count=NUMBER,
    created_at=WHEN,
    updated_at=WHEN,
)
_SAID: Final[Json] = [{"role": "user", "content": "I moved to Bonn.", "external_id": "m-1"}]
_TAG: Final = "conversations"
_ID: Final = "01a1f3a0-0000-7000-8000-000000000017"


def conversations_router() -> APIRouter:
    """Return the routes."""
    router = APIRouter(route_class=Plain)

    add_route(
        router,
        "POST /conversations",
        "post_conversation",
        _begun,
        NewConversation,
        effect=Effect.WRITE,
        scope=Scope.OPERATE,
        whose=_named,
        summary="Keep a conversation of a person, new or going on",
        tag=_TAG,
        answer=_CONVERSATION,
        example={"user_id": "ada", "name": "call-17", "messages": _SAID},
    )
    add_route(
        router,
        "POST /conversations/{conversation_id}/messages",
        "post_conversation_messages",
        _continued,
        MoreMessages,
        effect=Effect.WRITE,
        scope=Scope.OPERATE,
        whose=_of_conversation,
        summary="Keep what else was said in a conversation",
        tag=_TAG,
        answer=_CONVERSATION,
        example={"conversation_id": _ID, "messages": _SAID},
        named_by_header=False,
    )
    add_route(
        router,
        "GET /conversations/{conversation_id}/messages",
        "get_conversation_messages",
        _transcript,
        TranscriptWanted,
        effect=Effect.READ,
        scope=Scope.OPERATE,
        whose=_of_conversation,
        summary="Read a conversation",
        tag=_TAG,
        answer=_TRANSCRIPT,
        example={"conversation_id": _ID},
        named_by_header=False,
    )
    add_route(
        router,
        "GET /conversations/{conversation_id}/memory",
        "get_memory_of_conversation",
        _memory,
        MemoryWanted,
        effect=Effect.READ,
        scope=Scope.OPERATE,
        whose=_of_conversation,
        summary="Read what is remembered of a conversation",
        tag=_TAG,
        answer=_MEMORY,
        example={"conversation_id": _ID},
        named_by_header=False,
    )
    add_route(
        router,
        "POST /memories",
        "post_memory_of_conversation",
        _remembered,
        NewMemory,
        effect=Effect.WRITE,
        scope=Scope.OPERATE,
        whose=_of_conversation,
        summary="Insert or replace what is remembered of a conversation",
        tag=_TAG,
        answer=_MEMORY,
        example={"conversation_id": _ID, "memory_data": {"summary": "Ada moved to Bonn."}},
        named_by_header=False,
    )
    return router


def _named(_: Door, asker: Asker, ask: NewConversation) -> UserMemory:
    """Return the person whom the body or a header names."""
    return asker.person(Scope.OPERATE, ask.user_id)


def _of_conversation(door: Door, asker: Asker, ask: OfConversation) -> UserMemory:
    """Return the person whose conversation it is, by its id."""
    operators = door.operator_memory
    found = whose_conversation(operators.database, ask.conversation_id)
    if found is None and operators is door.memory:
        require_workers_role(operators.database)  # the application's URL sees nobody's
    if found is None or found.organization != asker.organization:
        raise NotFound("there is no such conversation")
    return asker.owned(operators.of_owner(found.owner, found.organization), Scope.OPERATE)


def _begun(person: UserMemory, ask: NewConversation) -> Json:
    with person.begin() as stores:
        stores.conversations.append(ask.name, [said.as_message() for said in ask.messages])
        return _summary(as_json(stores.conversations.by_name(ask.name)))


def _continued(person: UserMemory, ask: MoreMessages) -> Json:
    with person.begin() as stores:
        name = stores.conversations.by_id(ask.conversation_id).name
        stores.conversations.append(name, [said.as_message() for said in ask.messages])
        return _summary(as_json(stores.conversations.by_name(name)))  # in which a merged person's goes on


def _transcript(person: UserMemory, ask: TranscriptWanted) -> Json:
    with person.read() as stores:
        conversation = stores.conversations.by_id(ask.conversation_id)
        found: list[Json] = []
        after: int | None = ask.after
        while after is not None and len(found) < ask.limit:
            size = min(PAGE_LIMIT, ask.limit - len(found))
            page = stores.conversations.messages(conversation.name, limit=size, after=after)
            found += [_without(as_json(message), "conversation") for message in page.entries]
            after = page.next
    return {
        "conversation_id": str(conversation.id),
        "name": conversation.name,
        "message_count": conversation.message_count,
        "messages": found,
        "next": after,
    }


def _memory(person: UserMemory, ask: MemoryWanted) -> Json:
    with person.read() as stores:
        name = stores.conversations.by_id(ask.conversation_id).name
        return _shown(stores.conversation_memories.get(name))


def _remembered(person: UserMemory, ask: NewMemory) -> Json:
    with person.begin() as stores:
        name = stores.conversations.by_id(ask.conversation_id).name
        memory = stores.conversation_memories.set(
            name, ask.memory_data, message_count=ask.message_count, provenance=person.provenance
        )
        return _shown(memory)


def _shown(memory: ConversationMemory) -> Json:
    return {
        "id": str(memory.id),
        "conversation_id": str(memory.id),
        "name": memory.conversation,
        "memory_data": memory.data,
        "message_count": memory.message_count,
        "created_at": memory.created_at.isoformat(),
        "updated_at": memory.updated_at.isoformat(),
    }


def _summary(conversation: Json) -> Json:
    return _without(conversation, "token_count")


def _without(members: Json, name: str) -> Json:
    return {each: value for each, value in members.items() if each != name}
