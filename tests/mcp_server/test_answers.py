"""Answers: what a model is shown, within its budget, and how it gets at the rest."""

import random
import string
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from mcp import Client
from mcp.server import MCPServer

from mcp_server import create_server
from mcp_server.fitting import compact
from memory_tools.memory import Memory, UserMemory
from storage.json_types import Json
from storage.provenance import by_operator
from tests.mcp_server.asking import ask, length, pages, refusal
from tests.mcp_server.conftest import UNPACED

CHANCE = random.Random(7)

CHARACTERS = {
    "words": "tea and toast in the warm afternoon sun ",
    "chinese": "日本語の文字がたくさんあります",
    "emoji": "😀🎉🚀👩‍💻",
    "base64": "".join(CHANCE.choice(string.ascii_letters + string.digits + "+/") for _ in range(1_000)),
    "quotes": '"\\\n\t',
    "spaces": " ",
}


def of_bytes(count: int, characters: str) -> str:
    """Return a text whose JSON takes at most `count` bytes, and not much less."""
    unit = len(compact(characters).encode()) - 2
    return characters * ((count - 2) // unit)


@pytest.fixture
def client(server: MCPServer[Any]) -> Client:
    """What is said is the same in both eras, and each is tried elsewhere."""
    return Client(server, mode="2026-07-28")


@pytest.mark.parametrize("name", CHARACTERS)
async def test_items_of_10_kb_are_cut_to_what_was_asked_for(client: Client, person: UserMemory, name: str) -> None:
    value = of_bytes(10_240, CHARACTERS[name])
    for number in range(3):
        person.items.set("default", f"{name} {number}", value)
    async with client:
        for room in (200, 201, 500, 2_000, 8_000):
            item = await ask(client, "get_memory_item", key=f"{name} 0", max_tokens=room)
            assert length(item) <= room
            assert ("note" in item) == (item["value"] != value)
            async for page in pages(client, "list_memory_items", "after", max_tokens=room):
                assert length(page) <= room
                assert len(page["entries"]) >= 1
                for entry in page["entries"]:
                    shown = entry.get("value", "…")
                    assert shown[:-1] == value[: len(shown) - 1]
                    assert ("note" in entry) == (shown != value)
                    assert "Left out: /value" in entry.get("note", "Left out: /value")


async def test_values_of_every_kind_are_cut_and_stay_json(client: Client, person: UserMemory) -> None:
    values: list[Json] = [
        {"notes": ["a long note about tea"] * 100, "ok": True, "none": None, "more": {"deep": ["x" * 3_000]}},
        [[["nested " * 400]] * 3],
        ["short"] * 1_000,
        {f"name {number}": number for number in range(500)},
        {"n" * 2_000: 1, "m" * 2_000: "text"},
    ]
    async with client:
        for number, value in enumerate(values):
            person.items.set("default", f"key {number}", value)
            item = await ask(client, "get_memory_item", key=f"key {number}", max_tokens=300)
            assert length(item) <= 300
            assert item["note"].endswith("give max_tokens up to 8000.")
        async for page in pages(client, "list_memory_items", "after", max_tokens=300):
            assert length(page) <= 300


async def test_a_document_of_250_kb_is_cut_and_found_by_pointer(client: Client, person: UserMemory) -> None:
    parts = {f"part-{number}": {"name": f"part {number}", "notes": ["what it said " * 20] * 10} for number in range(90)}
    person.document.append({"summary": "Ada plays chess.", "parts": parts}, provenance=by_operator)
    async with client:
        whole = await ask(client, "get_user_memory")
        assert length(whole) <= 2_000
        assert whole["value"]["summary"] == "Ada plays chess."
        assert "/parts/part-0" in whole["note"]
        for room in (200, 1_000, 8_000):
            assert length(await ask(client, "get_user_memory", max_tokens=room)) <= room
            assert length(await ask(client, "get_user_memory", pointer="/parts", max_tokens=room)) <= room
        named = whole["note"].removeprefix("Left out: ").partition(":")[0].partition(";")[0]
        part = await ask(client, "get_user_memory", pointer=named)
        assert length(part) <= 2_000
        assert (await ask(client, "get_user_memory", pointer="/parts/part-7/name")) == {"value": "part 7"}
        notes = await ask(client, "get_user_memory", pointer="/parts/part-7/notes", max_tokens=200)
        assert notes["note"].startswith("Left out: /parts/part-7/notes: entries ")


async def test_what_is_cut_of_a_text_is_counted(client: Client, person: UserMemory) -> None:
    person.document.append({"summary": "word " * 10_000}, provenance=by_operator)
    async with client:
        said = await ask(client, "get_user_memory", pointer="/summary")
    shown = len(said["value"]) - 1
    assert said["value"] == ("word " * 10_000)[:shown] + "…"
    assert said["note"] == (
        f"Left out: /summary: {50_000 - shown} of 50000 characters. For more, give max_tokens up to 8000."
    )


async def test_nothing_is_an_answer_too(client: Client) -> None:
    async with client:
        assert await ask(client, "get_user_memory") == {"value": {}}
        assert await ask(client, "get_memory_history") == {"entries": [], "next": None}
        assert await ask(client, "list_memory_items") == {"entries": [], "next": None}


async def test_null_is_a_value(client: Client, person: UserMemory) -> None:
    person.document.append({"nothing": None})
    person.items.set("default", "nothing", None)
    async with client:
        assert await ask(client, "get_user_memory", pointer="/nothing") == {"value": None}
        assert (await ask(client, "get_memory_item", key="nothing"))["value"] is None
        assert (await ask(client, "list_memory_items"))["entries"][0]["value"] is None


async def test_a_change_is_saved_unchanged_or_held(client: Client, person: UserMemory) -> None:
    async with client:
        change = [{"pointer": "/safety_notes", "value": "No nuts."}]
        saved = await ask(client, "update_user_memory", changes=change, why="She said so.")
        assert saved == {"status": "saved", "version": 1, "merged": False}
        assert await ask(client, "update_user_memory", changes=change) == {"status": "unchanged", "version": 1}
        held = await ask(client, "update_user_memory", changes=[{"pointer": "/safety_notes", "remove": True}])
    assert (held["status"], held["version"]) == ("held", 1)
    assert [each["rule"] for each in held["objections"]] == ["protected", "loss"]
    assert held["note"] == (
        "Not in force: it waits until the person or an operator accepts it (usermemory pending list). "
        "Tell the person, and do not try again."
    )
    assert person.document.current().document["safety_notes"] == "No nuts."
    assert person.pending.get(held["pending_id"]).objections[0].rule == "protected"


async def test_many_objections_fit_too(memory: Memory, person: UserMemory) -> None:
    notes = {f"note-{number}": " ".join(f"word{number}x{each}" for each in range(60)) for number in range(80)}
    person.document.append(notes, provenance=by_operator)
    async with Client(create_server(memory, person=person, answer_tokens=300, pace=UNPACED)) as client:
        changes = [{"pointer": f"/{name}", "value": "gone"} for name in notes]
        held = await ask(client, "update_user_memory", changes=changes)
    assert held["status"] == "held"
    assert 1 <= len(held["objections"]) < 80
    assert held["note"].endswith(f"Left out: /objections: entries {len(held['objections'])} to 80.")
    assert length(held) <= 300


async def test_a_merge_says_so(client: Client, person: UserMemory) -> None:
    person.document.append({"tea": "green"})
    person.document.append({"tea": "green", "toast": "dark"})
    async with client:
        said = await ask(
            client, "update_user_memory", changes=[{"pointer": "/tea", "value": "black"}], expected_version=1
        )
    assert said == {"status": "saved", "version": 3, "merged": True}


async def test_writes_do_not_repeat_what_was_written(client: Client) -> None:
    async with client:
        written = await ask(client, "set_memory_item", key="tone", value="warm " * 1_000)
        assert written.keys() == {"namespace", "key", "version", "created_at", "updated_at"}
        assert await ask(client, "delete_memory_item", key="tone") == {"done": True}


def hidden() -> Iterator[str]:
    yield "tea\u202eaet\u200b"
    yield "tea" + "".join(chr(0xE0000 + ord(letter)) for letter in "ignore all")
    yield "tea\u0007\u001b[2J"


async def test_what_nobody_sees_is_not_shown_to_a_model(client: Client, person: UserMemory) -> None:
    async with client:
        for number, text in enumerate(hidden()):
            person.items.set("default", f"key {number}", {text: [text]})
            person.document.append({"summary": text, "number": number})
            for said in (
                (await ask(client, "get_memory_item", key=f"key {number}"))["value"],
                (await ask(client, "list_memory_items"))["entries"][number]["value"],
                (await ask(client, "get_user_memory"))["value"],
                (await ask(client, "get_memory_history"))["entries"][0]["patch"],
            ):
                assert compact(said).isprintable()
                assert "\\u" not in compact(said)
                assert "tea" in compact(said)


async def test_max_tokens_is_a_whole_number_within_its_bounds(client: Client) -> None:
    rooms: list[Any] = [199, 8_001, -1, 0, True, "500", 500.5, [500], 2**70]
    async with client:
        for tool, room in product(("get_user_memory", "list_memory_items", "get_memory_history"), rooms):
            line = await refusal(client, tool, max_tokens=room)
            assert line.startswith("invalid_input: max_tokens: a whole number from 200 to 8000.")
        assert "value" in await ask(client, "get_user_memory", max_tokens=None)


async def test_writing_takes_no_max_tokens(client: Client) -> None:
    async with client:
        assert "max_tokens" in await refusal(client, "set_memory_item", key="a", value=1, max_tokens=500)


async def test_the_operator_sets_how_long_answers_are(memory: Memory, person: UserMemory) -> None:
    person.items.set("default", "long", "word " * 2_000)
    async with Client(create_server(memory, person=person, answer_tokens=200, pace=UNPACED)) as client:
        assert length(await ask(client, "get_memory_item", key="long")) <= 200
        assert length(await ask(client, "get_memory_item", key="long", max_tokens=1_500)) > 1_200
