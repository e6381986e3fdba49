"""Resources: a person's memory at its addresses, byte by byte."""

import json
import logging
from typing import Any

import pytest
from mcp import Client
from mcp.server import MCPServer
from mcp.shared.exceptions import MCPError
from mcp_types import TextResourceContents

from mcp_server import create_server
from mcp_server.asker import recognizing
from mcp_server.places import DOCUMENT, HISTORY, ITEM, VERSION, item_uri
from mcp_server.resources import add_resources, reading
from memory_tools.memory import Memory, UserMemory
from storage.canonical import dumps
from storage.configuration import MemoryConfiguration
from storage.database import Database


async def read(client: Client, uri: str) -> str:
    """Return the text of a resource."""
    (content,) = (await client.read_resource(uri)).contents
    assert isinstance(content, TextResourceContents)
    assert (content.uri, content.mime_type) == (uri, "application/json")
    return content.text


async def refused(client: Client, uri: str) -> MCPError:
    with pytest.raises(MCPError) as error:
        await client.read_resource(uri)
    assert len(str(error.value).splitlines()) == 1
    return error.value


async def test_there_are_four_addresses_the_same_for_everybody(client: Client) -> None:
    async with client:
        resources = (await client.list_resources()).resources
        templates = (await client.list_resource_templates()).resource_templates
    assert [each.uri for each in resources] == [DOCUMENT, HISTORY]
    assert [each.uri_template for each in templates] == [VERSION, ITEM]
    for each in (*resources, *templates):
        assert each.title
        assert each.description
        assert each.mime_type == "application/json"


async def test_the_document_and_its_versions_and_its_history(client: Client, person: UserMemory) -> None:
    async with client:
        assert await read(client, DOCUMENT) == "{}"
        assert json.loads(await read(client, HISTORY)) == {"entries": [], "next": None}
        person.document.append({"summary": "Ada\u202e plays chess."})
        person.document.append({"summary": "Ada plays go."})
        assert await read(client, DOCUMENT) == dumps(person.document.current().document)
        assert await read(client, "memory://me/document/0") == "{}"
        assert json.loads(await read(client, "memory://me/document/1"))["summary"] == "Ada\u202e plays chess."
        history = json.loads(await read(client, HISTORY))
    assert [each["version"] for each in history["entries"]] == [2, 1]
    assert history["entries"][0]["patch"] == list(person.document.history().entries[0].patch)


VALUES: list[Any] = ["tea\u202e\u200b\u0007", "null", None, 1.0, 2**63 - 1, 1e300, {"b": [1], "a": {}}, "x" * 10_000]


async def test_a_value_is_given_byte_by_byte(client: Client, person: UserMemory) -> None:
    async with client:
        for value in VALUES:
            person.items.set("default", "value", value)
            assert await read(client, item_uri("default", "value")) == dumps(value)


NAMES = [
    "..",
    ".",
    "a/b",
    "/etc/passwd",
    "../../x",
    "%2F",
    "%",
    "%zz",
    "{x}",
    "{namespace}",
    "?a=b",
    "#a",
    "a b",
    "a+b",
    "C:\\x",
    "日本語",
    "😀",
    "é",
    "null",
    "x" * 256,
    "語" * 256,
    "&;=@:,$!'()*~",
]


async def test_names_are_no_paths(client: Client, person: UserMemory) -> None:
    async with client:
        for number, name in enumerate(NAMES):
            person.items.set(name, name, number)
            person.items.set("default", name, -number)
            assert await read(client, item_uri(name, name)) == str(number)
            assert await read(client, item_uri("default", name)) == str(-number)


async def test_what_is_not_there_is_not_found(client: Client, person: UserMemory) -> None:
    person.document.append({"summary": "Ada"})
    async with client:
        for uri in (item_uri("default", "none"), "memory://me/document/2", item_uri("..", "..")):
            error = await refused(client, uri)
            assert (error.code, error.data) == (-32602, {"code": "not_found"})
            assert str(error).startswith("not_found: ")


async def test_a_version_is_a_number(client: Client) -> None:
    async with client:
        for version in ("x", "-1", "1.0", "%31%20", "\u0661", "9" * 11, "1e3", "0x1", "null"):
            error = await refused(client, f"memory://me/document/{version}")
            assert (error.code, error.data) == (-32602, {"code": "invalid_input"})


async def test_a_version_beyond_all_versions_is_not_found_or_no_version(client: Client) -> None:
    async with client:
        for version in ("2147483647", "2147483648", "9999999999"):
            assert (await refused(client, f"memory://me/document/{version}")).code == -32602


ELSEWHERE = [
    "memory://bob/document",
    "memory://me/",
    "memory://me/items/default",
    "memory://me/items/default/a/b",
    "memory://me/items//a",
    "memory://me/items/default/",
    "memory://me/items/default/%00",
    "memory://me/items/default/%ff",
    "memory://me/document/1/2",
    "file:///etc/passwd",
    "memory://me/document?user=bob",
    "memory://me/" + "x" * 100_000,
]


async def test_there_is_nothing_at_other_addresses(client: Client, person: UserMemory) -> None:
    person.document.append({"summary": "Ada"})
    async with client:
        for uri in ELSEWHERE:
            error = await refused(client, uri)
            assert error.code == -32602
            assert "Ada" not in str(error)


async def test_memory_that_was_switched_off_is_not_read(
    operators_database: Database, client: Client, person: UserMemory
) -> None:
    person.items.set("default", "tone", "warm")
    Memory(operators_database).configurations.set(MemoryConfiguration(enabled=False))
    async with client:
        for uri in (DOCUMENT, HISTORY, "memory://me/document/0", item_uri("default", "tone")):
            assert (await refused(client, uri)).data == {"code": "memory_disabled"}


async def test_nobody_is_somebody(memory: Memory) -> None:
    async with Client(create_server(memory)) as client:
        assert (await refused(client, DOCUMENT)).data == {"code": "no_identity"}


async def test_a_closed_memory_says_only_that_it_does_not_answer(memory: Memory, client: Client) -> None:
    async with client:
        memory.close()
        for uri in (DOCUMENT, HISTORY, "memory://me/document/0", item_uri("default", "tone")):
            error = await refused(client, uri)
            assert (error.code, error.data) == (-32603, {"code": "database_unavailable"})
            assert "sql" not in str(error).lower()


async def test_of_an_error_that_nobody_foresaw_nothing_is_told(
    memory: Memory, person: UserMemory, era: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    def break_down(person: UserMemory) -> str:
        raise RuntimeError("SELECT secret FROM items")

    server: MCPServer[Any] = MCPServer("double", middleware=[recognizing(memory, person, None)])
    read = reading(5)
    add_resources(server, lambda question: read(break_down))
    async with Client(server, mode=era) as client:
        for uri in (DOCUMENT, HISTORY, "memory://me/document/0", item_uri("default", "tone")):
            error = await refused(client, uri)
            assert (error.code, str(error).partition(":")[0]) == (-32603, "internal_error")
    assert "a resource failed: RuntimeError" in caplog.text
    assert "SELECT" not in caplog.text
