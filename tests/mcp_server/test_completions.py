"""Completions: names of one's own items, and of nobody else's."""

from itertools import product
from uuid import UUID

import pytest
import sqlalchemy as sa
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import PromptReference, ResourceTemplateReference

from mcp_server import create_server
from mcp_server.places import ITEM, VERSION
from memory_tools.memory import Memory, UserMemory
from storage.configuration import MemoryConfiguration
from storage.database import Database
from tests.mcp_server.asking import insert_items

AN_ITEM = ResourceTemplateReference(uri=ITEM)


async def names(client: Client, argument: str, beginning: str, **others: str) -> list[str]:
    """Return how the beginning of a name goes on."""
    result = await client.complete(AN_ITEM, {"name": argument, "value": beginning}, context_arguments=others or None)
    return result.completion.values


async def test_names_are_completed_in_order(client: Client, person: UserMemory) -> None:
    for namespace, key in (
        ("prefs", "tone"),
        ("prefs", "topics"),
        ("prefs", "tea"),
        ("people", "bob"),
        ("default", "x"),
    ):
        person.items.set(namespace, key, 1)
    async with client:
        assert await names(client, "namespace", "") == ["default", "people", "prefs"]
        assert await names(client, "namespace", "p") == ["people", "prefs"]
        assert await names(client, "namespace", "prefs") == ["prefs"]
        assert await names(client, "namespace", "q") == []
        assert await names(client, "key", "to", namespace="prefs") == ["tone", "topics"]
        assert await names(client, "key", "", namespace="prefs") == ["tea", "tone", "topics"]
        assert await names(client, "key", "") == ["x"]
        assert await names(client, "key", "", namespace="none") == []
        assert await names(client, "nothing", "p") == []


async def test_a_beginning_is_no_pattern(client: Client, person: UserMemory) -> None:
    for key in ("%", "%a", "_", "_a", "*", "a", "ab", "A", "[a]", "\\", "ä", "日本", "😀"):
        person.items.set("default", key, 1)
        person.items.set(key, "x", 1)
    async with client:
        for argument, others in (("key", []), ("namespace", ["default"])):
            assert await names(client, argument, "%") == ["%", "%a"]
            assert await names(client, argument, "_") == ["_", "_a"]
            assert await names(client, argument, "*") == ["*"]
            assert await names(client, argument, "a") == ["a", "ab"]
            assert await names(client, argument, "日") == ["日本"]
            assert await names(client, argument, "😀") == ["😀"]
            assert await names(client, argument, "'; DROP TABLE items; --") == []
            assert len(await names(client, argument, "")) == 13 + len(others)


async def test_only_ones_own_names_are_completed(memory: Memory, client: Client, person: UserMemory) -> None:
    memory.of(user="bob").items.set("secret", "diagnosis", 1)
    async with client:
        assert await names(client, "namespace", "") == []
        assert await names(client, "key", "", namespace="secret") == []
    assert memory.of(user="bob").items.namespaces() == ["secret"]


async def test_of_many_the_first_hundred_are_named(client: Client, administrator: sa.Engine, ada: UUID) -> None:
    insert_items(administrator, ada, "default", [("key", 1)])
    insert_items(administrator, ada, "default", ((f"key {number:04}", 1) for number in range(150)))
    async with client:
        result = await client.complete(AN_ITEM, {"name": "key", "value": "key"})
        assert result.completion.values == ["key", *(f"key {number:04}" for number in range(99))]
        assert result.completion.has_more is True
        assert (await client.complete(AN_ITEM, {"name": "key", "value": "key 014"})).completion.has_more is False


async def test_of_anything_else_nothing_is_known(client: Client, person: UserMemory) -> None:
    person.items.set("default", "x", 1)
    async with client:
        for reference in (ResourceTemplateReference(uri=VERSION), PromptReference(name="remember")):
            assert (await client.complete(reference, {"name": "what", "value": ""})).completion.values == []


async def test_what_no_name_begins_with_is_refused(client: Client) -> None:
    async with client:
        for argument, beginning in product(("namespace", "key"), (" a", "a\0", "a\nb", "x" * 300, "e\u0301", "\u202e")):
            with pytest.raises(MCPError, match="invalid_name: ") as error:
                await names(client, argument, beginning)
            assert (error.value.code, error.value.data) == (-32602, {"code": "invalid_name"})


async def test_memory_that_was_switched_off_is_not_read(
    operators_database: Database, client: Client, person: UserMemory
) -> None:
    person.items.set("default", "x", 1)
    Memory(operators_database).configurations.set(MemoryConfiguration(enabled=False))
    async with client:
        with pytest.raises(MCPError, match="memory_disabled"):
            await names(client, "key", "")


async def test_nobody_has_no_names(memory: Memory) -> None:
    async with Client(create_server(memory)) as client:
        with pytest.raises(MCPError, match="no_identity"):
            await names(client, "key", "")
