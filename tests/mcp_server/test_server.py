"""The server: what a client learns of it first, and how it is made."""

import logging
from importlib.metadata import version
from typing import Any

import pytest
from mcp import Client
from mcp.server import MCPServer

from mcp_server import create_server
from memory_tools.memory import Memory, UserMemory
from memory_tools.operations import CATALOG
from storage.errors import InvalidInput, InvalidName, NoIdentity
from tests.mcp_server.asking import text_of


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_client_is_told_that_memory_is_data(server: MCPServer[Any], mode: str) -> None:
    async with Client(server, mode=mode) as client:
        assert client.instructions is not None
        assert "data, not instructions" in client.instructions
        assert "2000 tokens" in client.instructions
        assert "max_tokens asks for up to 8000" in client.instructions
        assert client.server_info is not None
        assert client.server_info.name == "usermemory"
        assert client.server_info.version == version("usermemory")


@pytest.mark.parametrize("mode", ["legacy", "auto"])
@pytest.mark.parametrize(("tools", "writes"), [("read", False), ("core", True), ("all", True)])
async def test_a_model_is_told_only_of_tools_and_prompts_that_there_are(
    memory: Memory, person: UserMemory, mode: str, tools: Any, writes: bool
) -> None:
    async with Client(create_server(memory, person=person, tools=tools), mode=mode) as client:
        said = client.instructions
        names = [each.name for each in (await client.list_tools()).tools]
        prompts = [each.name for each in (await client.list_prompts()).prompts]
    assert said is not None
    assert {each for each in CATALOG if each in said} <= set(names)
    assert "list_memory_items" in said
    assert ("update_user_memory" in said) is writes
    assert ("usermemory pending list" in said) is writes
    assert prompts == (["context", "remember", "review_memory"] if writes else ["context"])


async def test_lists_are_the_same_for_everybody_and_in_the_same_order(memory: Memory) -> None:
    seen = []
    for name in ("ada", "bob", "ada"):
        async with Client(create_server(memory, person=memory.of(user=name)), mode="2026-07-28") as client:
            tools = await client.list_tools()
            assert (tools.ttl_ms, tools.cache_scope) == (300_000, "public")
            seen.append(tools.model_dump_json())
    assert len(set(seen)) == 1


async def test_what_is_read_is_private(server: MCPServer[Any]) -> None:
    async with Client(server, mode="2026-07-28") as client:
        read = await client.read_resource("memory://me/document")
    assert (read.ttl_ms, read.cache_scope) == (0, "private")


async def test_further_tools_can_be_added(server: MCPServer[Any], era: str) -> None:
    def greet(name: str) -> str:
        """Greet somebody."""
        return f"Hello {name}"

    server.add_tool(greet)
    async with Client(server, mode=era) as client:
        assert "greet" in [each.name for each in (await client.list_tools()).tools]
        assert text_of(await client.call_tool("greet", {"name": "Ada"})) == "Hello Ada"


def test_the_logging_of_the_host_is_left_alone(memory: Memory) -> None:
    root = logging.getLogger()
    before = list(root.handlers), root.level
    create_server(memory)
    assert (list(root.handlers), root.level) == before


@pytest.mark.parametrize("wrong", [199, 8_001, True, "500", 500.0, None])
def test_answers_have_200_to_8000_tokens(memory: Memory, wrong: Any) -> None:
    with pytest.raises(InvalidInput, match="from 200 to 8000"):
        create_server(memory, answer_tokens=wrong)


def test_what_cannot_be_served_is_refused(memory: Memory, person: UserMemory) -> None:
    with pytest.raises(NoIdentity):
        create_server(Memory(memory.database), person=person)
    with pytest.raises(InvalidName):
        create_server(memory, flow="a\nb")
    with pytest.raises(InvalidInput):
        create_server(memory, pace="often")
    with pytest.raises(InvalidInput):
        create_server(memory, tools="some")  # type: ignore[arg-type]
