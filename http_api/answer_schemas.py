"""Answer schemas: what operations answer, as JSON schemas for the description of the API."""

from typing import Any, Final, TypeAlias

from memory_tools.operation import Operation
from storage.configuration import MemoryConfiguration

Schema: TypeAlias = dict[str, Any]

TEXT: Final[Schema] = {"type": "string"}
WHEN: Final[Schema] = {"type": "string", "format": "date-time"}
NUMBER: Final[Schema] = {"type": "integer"}
FLAG: Final[Schema] = {"type": "boolean"}
OBJECT: Final[Schema] = {"type": "object"}
ANY: Final[Schema] = {}

PATCH: Final[Schema] = {"type": "array", "items": OBJECT, "description": "RFC 6902."}


def known(**members: Schema) -> Schema:
    """Return the schema of an object that has all these members and no others."""
    return {"type": "object", "properties": members, "required": list(members), "additionalProperties": False}


def maybe(schema: Schema) -> Schema:
    """Return the schema of a value that may be null."""
    return {"anyOf": [schema, {"type": "null"}]}


def page(entry: Schema, following: Schema) -> Schema:
    """Return the schema of one page of a list."""
    return known(entries={"type": "array", "items": entry}, next=maybe(following))


_DONE: Final = known(done={"const": True})
_ITEM: Final = known(namespace=TEXT, key=TEXT, value=ANY, version=NUMBER, created_at=WHEN, updated_at=WHEN)
_OUTCOME: Final[Schema] = {
    "oneOf": [
        known(status={"const": "saved"}, version=NUMBER, patch=PATCH, merged=FLAG),
        known(status={"const": "unchanged"}, version=NUMBER),
        known(
            status={"const": "held"},
            version=NUMBER,
            pending_id=TEXT,
            objections={"type": "array", "items": OBJECT},
            patch=PATCH,
        ),
    ]
}
_VERSION: Final = known(
    version=NUMBER,
    patch=PATCH,
    provenance=OBJECT,
    created_at=WHEN,
    patch_bytes=NUMBER,
    checkpoint_bytes=maybe(NUMBER),
)
_PROFILE: Final = known(text=TEXT, created_at=WHEN, updated_at=WHEN)
_MESSAGE: Final = known(
    number=NUMBER,
    conversation=TEXT,
    role=TEXT,
    content=ANY,
    said_at=WHEN,
    external_id=maybe(TEXT),
    metadata=OBJECT,
)
_CONVERSATION: Final = known(
    id=TEXT,
    name=TEXT,
    message_count=NUMBER,
    token_count=NUMBER,
    last_message_at=maybe(WHEN),
    created_at=WHEN,
    updated_at=WHEN,
)
_CONVERSATION_MEMORY: Final = known(
    id=TEXT,
    conversation=TEXT,
    data=OBJECT,
    message_count=NUMBER,
    provenance=OBJECT,
    created_at=WHEN,
    updated_at=WHEN,
)
_PENDING: Final = known(
    id=TEXT,
    base_version=NUMBER,
    patch=PATCH,
    objections={"type": "array", "items": OBJECT},
    provenance=OBJECT,
    created_at=WHEN,
)

_ANSWERS: Final[dict[str, Schema]] = {
    "get_user_memory": ANY,
    "update_user_memory": _OUTCOME,
    "get_memory_history": page(_VERSION, NUMBER),
    "compare_memory_versions": PATCH,
    "revert_user_memory": _OUTCOME,
    "list_memory_items": page(_ITEM, TEXT),
    "get_memory_item": _ITEM,
    "set_memory_item": _ITEM,
    "push_memory_item": _ITEM,
    "delete_memory_item": _DONE,
    "get_profile_text": _PROFILE,
    "set_profile_text": _PROFILE,
    "delete_profile_text": _DONE,
    "append_messages": {"type": "array", "items": _MESSAGE},
    "list_messages": page(_MESSAGE, NUMBER),
    "list_conversations": page(_CONVERSATION, TEXT),
    "get_conversation_memory": _CONVERSATION_MEMORY,
    "set_conversation_memory": _CONVERSATION_MEMORY,
    "list_conversation_memories": page(_CONVERSATION_MEMORY, TEXT),
    "note_activity": _DONE,
    "list_pending_versions": page(_PENDING, TEXT),
    "get_pending_version": _PENDING,
    "accept_pending_version": _OUTCOME,
    "reject_pending_version": _DONE,
    "get_memory_configuration": MemoryConfiguration.model_json_schema(),
    "set_memory_configuration": MemoryConfiguration.model_json_schema(),
    "reset_memory_configuration": _DONE,
}
"""By the operation's name."""


def answer_schema(operation: Operation[Any, Any]) -> Schema:
    """Return the schema of what an operation answers; of one that is not listed here, any JSON."""
    return _ANSWERS.get(operation.name, ANY)
