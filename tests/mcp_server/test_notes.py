"""Notes: what an answer says of what was left out of it, and how to get it."""

from typing import Any

import pytest
from mcp import Client
from mcp.server import MCPServer

from mcp_server import create_server
from memory_tools.memory import Memory, UserMemory
from storage.provenance import by_operator
from tests.mcp_server.asking import ask, length
from tests.mcp_server.conftest import UNPACED


@pytest.fixture
def client(server: MCPServer[Any]) -> Client:
    """What is said is the same in both eras, and each is tried elsewhere."""
    return Client(server, mode="2026-07-28")


async def test_objections_of_which_none_fits_are_named_and_not_shown_as_none(
    memory: Memory, person: UserMemory
) -> None:
    person.document.append({"n" * 900: "a note"}, provenance=by_operator)
    async with Client(create_server(memory, person=person, answer_tokens=200, pace=UNPACED)) as client:
        held = await ask(client, "update_user_memory", changes=[{"pointer": f"/{'n' * 900}", "remove": True}])
    assert held["status"] == "held"
    assert held.get("objections") != []
    assert length(held) <= 200


async def test_what_is_cut_to_nothing_is_left_out_and_named(client: Client, person: UserMemory) -> None:
    person.document.append({"goals": [{"n" * 900: 1}], "notes": {"m" * 900: 1}, "tea": True}, provenance=by_operator)
    person.items.set("default", "long names", {"n" * 900: 1})
    left_out = "For more, give a longer pointer, or max_tokens up to 8000."
    async with client:
        known = await ask(client, "get_user_memory", max_tokens=200)
        assert known["value"] == {"tea": True, "version": 1, "last_updated_by": "operator"}
        assert known["note"] == f"Left out: /goals; /notes. {left_out}"
        goals = await ask(client, "get_user_memory", pointer="/goals", max_tokens=200)
        assert goals == {
            "note": "Left out: /goals: entries 0 to 0. "
            "For more, give the pointer of an entry, such as /goals/0, or max_tokens up to 8000."
        }
        notes = await ask(client, "get_user_memory", pointer="/notes", max_tokens=200)
        assert notes["note"].startswith("Left out: /notes/mmm")
        assert notes["note"].endswith(f"…. {left_out}")
        assert length(notes) <= 200
        for said in (
            await ask(client, "get_memory_item", key="long names", max_tokens=200),
            (await ask(client, "list_memory_items", max_tokens=200))["entries"][0],
        ):
            assert "value" not in said
            assert said["note"] == "Left out: /value. For more, give max_tokens up to 8000."
        (version,) = (await ask(client, "get_memory_history", max_tokens=200))["entries"]
        assert version["patch"] == [{"op": "add", "path": "/goals"}]
        assert version["note"].startswith("Left out: /patch/0/value; /patch: entries 1 to 2. ")


async def test_of_a_list_a_note_says_how_to_get_an_entry(client: Client, person: UserMemory) -> None:
    person.document.append({"log": [f"what she said on day {day}" for day in range(2_000)]}, provenance=by_operator)
    async with client:
        said = await ask(client, "get_user_memory", pointer="/log")
        count = len(said["value"])
        assert said["note"] == (
            f"Left out: /log: entries {count} to 1999. "
            f"For more, give the pointer of an entry, such as /log/{count}, or max_tokens up to 8000."
        )
        more = await ask(client, "get_user_memory", pointer=f"/log/{count}")
        assert more == {"value": f"what she said on day {count}"}


async def test_who_asked_for_the_most_is_not_told_to_ask_for_it(client: Client, person: UserMemory) -> None:
    log = ["what she said " * 20] * 300
    document = {"log": log, "text": "word " * 9_000, "many": {f"name {n}": "tea " * 9 for n in range(2_000)}}
    person.document.append(document, provenance=by_operator)
    async with client:
        answers = [await ask(client, "get_user_memory", pointer=f"/{name}", max_tokens=8_000) for name in document]
        answers.append(await ask(client, "get_user_memory", max_tokens=8_000))
        (version,) = (await ask(client, "get_memory_history", max_tokens=8_000))["entries"]
        answers.append(version)
    ends = [each["note"].partition("For more, ")[2] for each in answers]
    assert ends[0].startswith("give the pointer of an entry, such as /log/")
    assert ends[1] == "read it as a resource."
    assert ends[2] == "give a longer pointer."
    assert ends[3].startswith("give the pointer of an entry, such as /log/")
    assert ends[4] == "read it as a resource."
    assert not any("max_tokens" in each for each in ends)
