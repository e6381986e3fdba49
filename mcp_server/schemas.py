"""Schemas: what a model is told of a tool's arguments, and what a program may rely on in its answer."""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from memory_tools.operation import Effect, Operation

_Schema: TypeAlias = dict[str, Any]


def _any_of(*types: str) -> _Schema:
    """Return the schema of a value that is of one of `types`: the Inspector warns of a list of types in one schema."""
    return {"anyOf": [{"type": each} for each in types]}


JSON: Final = _any_of("string", "number", "boolean", "object", "array")
"""What a value of any type is said to be: clients that see `{}` guess, and clients that see null send it as a text."""

MAX_TOKENS: Final = "max_tokens"
"""The argument that every tool has which reads: how long the answer may be."""

_TEXT: Final = {"type": "string"}
_WHEN: Final = {"type": "string", "format": "date-time"}
_NUMBER: Final = {"type": "integer"}
_ANY: Final = _any_of("string", "number", "boolean", "object", "array", "null")
_NOTE: Final = {"type": "string", "description": "What was left out, and how to ask for it."}


def input_schema(operation: Operation[Any, Any]) -> _Schema:
    """Return the JSON schema of the arguments: in one piece, without titles, unknown arguments refused."""
    given = operation.input.model_json_schema()
    schema: _Schema = _plain(given, given.get("$defs", {}))
    del schema["description"]  # the tool's own says it
    if operation.effect is Effect.READ:
        schema["properties"][MAX_TOKENS] = {"type": "integer"}  # how many, the server's instructions say
    return schema


def _plain(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """Return the schema with what its references stand for, without titles, and with a type for every value."""
    if isinstance(schema, list):
        return [_plain(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _plain(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    plain = {name: _plain(each, definitions) for name, each in schema.items() if name not in ("title", "$defs")}
    if "properties" in schema:
        # Here the names are those of arguments, of which one may well be called title.
        plain["properties"] = {name: _typed(_plain(each, definitions)) for name, each in schema["properties"].items()}
        plain["additionalProperties"] = False
    return plain


def _typed(schema: _Schema) -> _Schema:
    if isinstance(types := schema.get("type"), list):
        return {**{name: each for name, each in schema.items() if name != "type"}, **_any_of(*types)}
    return schema if schema.keys() & {"type", "anyOf", "enum"} else {**schema, **JSON}


def output_schema(operation: Operation[Any, Any]) -> _Schema:
    """Return the JSON schema of what the tool answers with."""
    return _ANSWERS.get(operation.name, _VALUE)


def _object(required: str, **properties: _Schema) -> _Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


_VALUE: Final = _object("", value=_ANY, note=_NOTE)  # what is cut to nothing is left out, here and below

_DONE: Final = _object("done", done={"type": "boolean"})

_OUTCOME: Final = _object(
    "status version",
    status={"enum": ["saved", "unchanged", "held"], "type": "string"},
    version=_NUMBER,
    merged={"type": "boolean", "description": "Whether others' changes were kept beside it."},
    pending_id=_TEXT,
    objections={"type": "array", "items": {"type": "object"}},
    note=_NOTE,
)

_WRITTEN: Final = _object(
    "namespace key version created_at updated_at",
    namespace=_TEXT,
    key=_TEXT,
    version=_NUMBER,
    created_at=_WHEN,
    updated_at=_WHEN,
)

_ITEM: Final = _object(
    "namespace key version created_at updated_at",
    **_WRITTEN["properties"],
    value=_ANY,
    note=_NOTE,
)


def _page(following: str, entry: _Schema) -> _Schema:
    return _object(
        "entries next", entries={"type": "array", "items": entry}, next=_any_of(following, "null"), note=_NOTE
    )


_ANSWERS: Final = {
    "update_user_memory": _OUTCOME,
    "get_memory_history": _page(
        "integer",
        _object(
            "version created_at",
            version=_NUMBER,
            created_at=_WHEN,
            provenance={"type": "object", "description": "Who made the change, through what, from what, why."},
            patch={"type": "array", "items": {"type": "object"}, "description": "RFC 6902."},
            note=_NOTE,
        ),
    ),
    "list_memory_items": _page(
        "string",
        _object(
            "namespace key version updated_at",
            namespace=_TEXT,
            key=_TEXT,
            value=_ANY,
            version=_NUMBER,
            updated_at=_WHEN,
            note=_NOTE,
        ),
    ),
    "get_memory_item": _ITEM,
    "set_memory_item": _WRITTEN,
    "delete_memory_item": _DONE,
}
"""By the operation's name; one that is not listed answers with a value."""
