"""Pages: lists in parts, each within its budget, and nothing left out or shown twice."""

import random
import string
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa
from mcp import Client
from mcp.server import MCPServer

from mcp_server.fitting import LEAST_TOKENS, compact
from mcp_server.tools import ENTRY_TOKENS, _question
from memory_tools.memory import UserMemory
from memory_tools.operations import CATALOG
from storage.pointer import pointer, tokens
from storage.provenance import by_operator
from tests.mcp_server.asking import ask, insert_items, length, pages


@pytest.fixture
def client(server: MCPServer[Any]) -> Client:
    """What is said is the same in both eras, and each is tried elsewhere."""
    return Client(server, mode="2026-07-28")


@pytest.fixture
def ten_thousand(administrator: sa.Engine, ada: UUID) -> list[str]:
    """The keys of so many items of ada, each of 100 characters."""
    keys = [f"key {number:05}" for number in range(10_000)]
    chance = random.Random(7)
    text = "".join(chance.choice(string.ascii_letters + " ") for _ in range(100))
    insert_items(administrator, ada, "default", ((key, text) for key in keys))
    return keys


async def test_no_default_answer_has_more_than_2000_tokens_at_10_000_items(
    client: Client, ten_thousand: list[str]
) -> None:
    async with client:
        for arguments in ({}, {"after": "/default/key 05000"}, {"limit": 100}, {"limit": 1}):
            page = await ask(client, "list_memory_items", **arguments)
            assert length(page) <= 2_000
            assert len(compact(page)) <= 8_000
    assert page["next"] == "/default/key 00000"


@pytest.mark.parametrize(
    "arguments", [{"after": "/default/key 08999"}, {"namespace": "default", "after": "key 08999"}], ids=str
)
async def test_cut_pages_show_every_item_once(
    client: Client, ten_thousand: list[str], arguments: dict[str, Any]
) -> None:
    seen: list[str] = []
    async with client:
        async for page in pages(client, "list_memory_items", "after", max_tokens=8_000, **arguments):
            assert ("note" in page) == (page["next"] is not None)
            seen += [entry["key"] for entry in page["entries"]]
    assert seen == ten_thousand[9_000:]


NAMED = sorted((namespace, key) for namespace in ("a", "a/b", "b", "~1") for key in ("/", "b/c", "x" * 200, "~0", "é"))
"""Names with what a pointer escapes."""


@pytest.mark.parametrize("limit", [{}, {"limit": 3}], ids=str)
async def test_items_of_all_namespaces_are_paged_by_place_and_those_of_one_by_key(
    client: Client, person: UserMemory, limit: dict[str, int]
) -> None:
    for namespace, key in NAMED:
        person.items.set(namespace, key, "a value " * 9)
    async with client:
        seen: list[tuple[str, str]] = []
        cursors: list[str] = []
        async for page in pages(client, "list_memory_items", "after", max_tokens=500, **limit):
            seen += [(entry["namespace"], entry["key"]) for entry in page["entries"]]
            cursors += [] if page["next"] is None else [page["next"]]
        assert seen == NAMED
        assert len(cursors) >= 3
        assert all(cursor == pointer(found) for cursor in cursors for found in NAMED if tokens(cursor) == [*found])
        alone: list[tuple[str, str]] = []
        async for page in pages(client, "list_memory_items", "after", max_tokens=250, namespace="a/b", **limit):
            alone += [(entry["namespace"], entry["key"]) for entry in page["entries"]]
            assert page["next"] in (None, alone[-1][1])
        assert alone == [found for found in NAMED if found[0] == "a/b"]


async def test_no_more_items_are_read_than_there_is_room_for(client: Client, ten_thousand: list[str]) -> None:
    async with client:
        for arguments in ({"max_tokens": LEAST_TOKENS}, {"max_tokens": 1_000}, {}, {"max_tokens": 8_000}):
            room = arguments.get("max_tokens", 2_000)
            entries = (await ask(client, "list_memory_items", **arguments))["entries"]
            assert 1 <= len(entries) <= min(100, room // ENTRY_TOKENS)
        short = {"max_tokens": 8_000, "namespace": "default"}
        assert len((await ask(client, "list_memory_items", **short, limit=3))["entries"]) == 3


def test_a_page_is_as_long_as_its_room_unless_somebody_says_how_long() -> None:
    listing, history = CATALOG["list_memory_items"], CATALOG["get_memory_history"]
    assert [_question(listing, {}, room).limit for room in (100, 2_000, 8_000)] == [1, 31, 100]
    assert [_question(history, {}, room).limit for room in (100, 2_000)] == [1, 20]
    assert _question(listing, {"limit": 100}, 100).limit == 100
    assert _question(listing, {"limit": None}, 100).limit == 1


async def test_an_entry_says_when_to_the_second(client: Client, person: UserMemory) -> None:
    item = person.items.set("prefs", "drink", "tea")
    async with client:
        (entry,) = (await ask(client, "list_memory_items"))["entries"]
    assert entry == {
        "namespace": "prefs",
        "key": "drink",
        "value": "tea",
        "version": 1,
        "updated_at": item.updated_at.isoformat(timespec="seconds"),
    }


async def test_a_note_says_how_to_go_on(client: Client, ten_thousand: list[str]) -> None:
    async with client:
        page = await ask(client, "list_memory_items", limit=2)
    assert page["note"] == "There is more: give next as after."
    assert page["next"] == "/default/key 00001"


@pytest.mark.parametrize("room", [200, 500, 2_000])
async def test_long_keys_are_never_cut_and_are_paged(
    client: Client, administrator: sa.Engine, ada: UUID, room: int
) -> None:
    keys = [f"{'😀' * 250}{number:03}" for number in range(12)] + ["a", "x" * 256]
    insert_items(administrator, ada, "default", ((key, "value " * 50) for key in keys))
    async with client:
        async for page in pages(client, "list_memory_items", "after", max_tokens=room):
            shown = [entry["key"] for entry in page["entries"]]
            assert shown == sorted(keys)[: len(shown)]
            keys = sorted(keys)[len(shown) :]
            # A name that is longer than the room by itself, and once more as `next`, has to be said all the same.
            assert length(page) <= max(room, 1_250)
    assert keys == []


async def test_names_with_selectors_that_nobody_sees_are_paged(client: Client, person: UserMemory) -> None:
    keys = sorted(["a", "a\ufe0f", "a\ufe01", "b", "❤️"])
    for key in keys:
        person.items.set("default", key, 1)
    async with client:
        seen = [
            entry["key"]
            async for page in pages(client, "list_memory_items", "after", limit=1)
            for entry in page["entries"]
        ]
        assert (await ask(client, "set_memory_item", key="a\ufe0f", value=2))["key"] == "a\ufe0f"
    assert seen == ["a", "a", "a", "b", "❤️"]


@pytest.fixture
def three_hundred(person: UserMemory) -> int:
    """The newest of so many versions of ada's document, some of which change a lot."""
    with person.begin() as stores:
        for number in range(300):
            notes = ["what was said then " * 20] * (40 if number % 50 == 0 else 1)
            stores.snapshots.append({"summary": f"version {number}", "notes": notes}, provenance=by_operator)
    return 300


async def test_a_history_of_large_patches_is_cut_and_every_version_shown_once(
    client: Client, three_hundred: int
) -> None:
    async with client:
        assert length(await ask(client, "get_memory_history")) <= 2_000
        for room in (200, 2_000):
            seen: list[int] = []
            async for page in pages(client, "get_memory_history", "before", max_tokens=room, before=110):
                assert length(page) <= room
                seen += [entry["version"] for entry in page["entries"]]
            assert seen == list(range(109, 0, -1))
        assert (await ask(client, "get_memory_history", limit=1))["note"] == "There is more: give next as before."
