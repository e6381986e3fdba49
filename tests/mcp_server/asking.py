"""Asking: a tool called as a client calls it, its answer checked as a program checks it."""

import json
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from functools import cache
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from jsonschema import Draft202012Validator, FormatChecker
from mcp import Client
from mcp_types import CallToolResult, TextContent

from mcp_server.fitting import compact, tokens
from mcp_server.schemas import output_schema
from memory_tools.operations import CATALOG
from storage.json_types import Json
from storage.tables import items

EVERY_CALL: dict[str, dict[str, Any]] = {
    "get_user_memory": {},
    "update_user_memory": {"changes": [{"pointer": "/tea", "value": "green"}]},
    "get_memory_history": {},
    "list_memory_items": {},
    "get_memory_item": {"key": "tone"},
    "set_memory_item": {"key": "tone", "value": "warm"},
    "delete_memory_item": {"key": "tone"},
}
"""A call of every tool that a model has, in the order of the catalog, with what it needs and no more."""


async def ask(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """Return what a tool answered: in both forms the same, and as its output schema has it."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, text_of(result)
    said = result.structured_content
    assert said is not None
    assert text_of(result) == compact(said)
    _promised(tool).validate(json.loads(text_of(result)))
    return said


@cache
def _promised(tool: str) -> Draft202012Validator:
    return Draft202012Validator(output_schema(CATALOG[tool]), format_checker=FormatChecker())


async def refusal(client: Client, tool: str, **arguments: Any) -> str:
    """Return the one line with which a tool refused."""
    return line_of(await client.call_tool(tool, arguments))


def line_of(result: CallToolResult) -> str:
    """Return the line of a result that has to be an error."""
    assert result.is_error
    assert result.structured_content is None
    line = text_of(result)
    assert len(line.splitlines()) == 1
    assert len(line) <= 600
    return line


def text_of(result: CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


def length(said: dict[str, Any]) -> int:
    """Return how many tokens a model is shown of an answer."""
    return tokens(compact(said))


async def pages(client: Client, tool: str, cursor: str, **arguments: Any) -> AsyncIterator[dict[str, Any]]:
    """Yield the pages of a list, each asked for with the `next` of the one before."""
    while True:
        page = await ask(client, tool, **arguments)
        yield page
        if page["next"] is None:
            return
        arguments[cursor] = page["next"]


def insert_items(administrator: sa.Engine, owner: UUID, namespace: str, values: Iterable[tuple[str, Json]]) -> None:
    """Keep many items at once, past the operations."""
    now = datetime.now(UTC)
    rows = [
        {
            "owner_id": owner,
            "namespace": namespace,
            "key": key,
            "value": compact(value),
            "version": 1,
            "created_at": now,
            "updated_at": now,
        }
        for key, value in values
    ]
    with administrator.begin() as connection:
        connection.execute(sa.insert(items), rows)
