"""Tools: what a model may ask for, how strictly it is read, and how it is refused."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import anyio
import pytest
from mcp import Client

from mcp_server import create_server
from mcp_server.tools import offered
from memory_tools.memory import Memory, UserMemory
from memory_tools.operations import CATALOG
from storage.errors import InvalidInput
from storage.pointer import pointer
from tests.contents import Contents
from tests.mcp_server.asking import EVERY_CALL, ask, line_of, refusal
from tests.telemetry import Heard

READ = ["get_user_memory", "get_memory_history", "list_memory_items", "get_memory_item"]
WRITE = ["update_user_memory", "set_memory_item"]
ERASE = ["delete_memory_item"]


@pytest.mark.parametrize(
    ("selection", "names"), [("read", READ), ("core", READ + WRITE), ("all", READ + WRITE + ERASE)]
)
async def test_a_selection_offers_its_tools_in_the_order_of_the_catalog(
    memory: Memory, person: UserMemory, era: str, selection: Any, names: list[str]
) -> None:
    async with Client(create_server(memory, person=person, tools=selection), mode=era) as client:
        assert [each.name for each in (await client.list_tools()).tools] == [
            each for each in list(EVERY_CALL) if each in names
        ]
        for name in EVERY_CALL.keys() - set(names):
            assert line_of(await client.call_tool(name, EVERY_CALL[name])) == f"Unknown tool: {name}"
    assert person.items.in_namespace().entries == ()


def test_there_is_no_other_selection() -> None:
    for wrong in ("", "write", "ALL"):
        with pytest.raises(InvalidInput, match="read, core, all"):
            offered(wrong)  # type: ignore[arg-type]


async def test_tools_say_what_they_do(client: Client) -> None:
    async with client:
        tools = (await client.list_tools()).tools
    for tool in tools:
        said = tool.annotations
        assert said is not None
        assert tool.title == tool.name.replace("_", " ").capitalize()
        assert tool.description == CATALOG[tool.name].description
        assert said.open_world_hint is False
        assert said.read_only_hint is (tool.name in READ)
        assert said.destructive_hint is (tool.name in ("set_memory_item", "delete_memory_item"))
        assert said.idempotent_hint is (tool.name not in WRITE)
        assert tool.output_schema is not None


async def test_every_tool_does_what_it_says(client: Client, person: UserMemory) -> None:
    async with client:
        changes = [{"pointer": "/summary", "value": "Ada plays chess."}, {"pointer": "/goals/-", "value": "win"}]
        assert (await ask(client, "update_user_memory", changes=changes, why="She said so."))["version"] == 1
        known = (await ask(client, "get_user_memory"))["value"]
        assert known == {
            "summary": "Ada plays chess.",
            "goals": ["win"],
            "version": 1,
            "last_updated_by": "agent",
        }
        assert (await ask(client, "get_user_memory", at=0)) == {"value": {}}
        await ask(client, "update_user_memory", changes=[{"pointer": "/goals", "remove": True}], expected_version=1)
        assert (await ask(client, "get_user_memory", pointer="/goals/0", at=1)) == {"value": "win"}
        history = await ask(client, "get_memory_history", limit=2)
        assert [each["version"] for each in history["entries"]] == [2, 1]
        assert history["entries"][1]["provenance"]["why"] == "She said so."
        when = history["entries"][1]["created_at"]
        assert (await ask(client, "get_user_memory", at=when, pointer="/goals")) == {"value": ["win"]}
        kept = await ask(client, "set_memory_item", key="tone", value={"of": "voice"}, namespace="prefs")
        item = await ask(client, "get_memory_item", key="tone", namespace="prefs")
        assert item == kept | {"value": {"of": "voice"}}
        assert (await ask(client, "list_memory_items", namespace="prefs"))["entries"][0]["key"] == "tone"
        await ask(client, "delete_memory_item", key="tone", namespace="prefs")
        assert (await ask(client, "list_memory_items", namespace="prefs"))["entries"] == []
    assert person.document.history().entries[0].provenance.through == "mcp"
    assert person.document.history().entries[0].provenance.actor == "agent"


LIKE_JSON = ["null", "[1,2]", '{"a":1}', "true", "1", "1.0", '"x"', " 1", "1e400", "NaN", "", "{", "-0"]


async def test_texts_that_look_like_json_stay_texts(client: Client, person: UserMemory) -> None:
    async with client:
        for number, text in enumerate(LIKE_JSON):
            await ask(client, "set_memory_item", key="text", value=text)
            assert (await ask(client, "get_memory_item", key="text"))["value"] == text
            await ask(client, "update_user_memory", changes=[{"pointer": f"/text-{number}", "value": text}])
            assert (await ask(client, "get_user_memory", pointer=f"/text-{number}")) == {"value": text}
            assert person.items.get("default", "text").value == text
        for name in ("null", "[1,2]", '{"a":1}', "true", "1", "1.0", '"x"'):
            await ask(client, "set_memory_item", namespace=name, key=name, value=name)
            assert (await ask(client, "list_memory_items", namespace=name))["entries"][0]["key"] == name
            assert person.items.get(name, name).value == name
            assert (await ask(client, "list_memory_items", namespace=name, after=name))["entries"] == []
            await ask(client, "delete_memory_item", namespace=name, key=name)
        await ask(client, "update_user_memory", changes=[{"pointer": "/a", "value": "b"}], why="null")
    assert person.document.history().entries[0].provenance.why == "null"


async def test_values_keep_their_kind(client: Client, person: UserMemory) -> None:
    async with client:
        values: list[Any] = [None, True, 0, -1, 1.0, 2**63 - 1, 0.1, [], {}, [None, [1.0]], {"a": {"b": None}}]
        for number, value in enumerate(values):
            await ask(client, "set_memory_item", key="value", value=value)
            found = (await ask(client, "get_memory_item", key="value"))["value"]
            await ask(client, "update_user_memory", changes=[{"pointer": f"/x{number}", "value": value}])
            document = person.document.current().document
            for kept in (found, person.items.get("default", "value").value, document[f"x{number}"]):
                assert (type(kept), repr(kept)) == (type(value), repr(value))


async def test_whose_memory_it_is_is_no_argument(client: Client, contents: Callable[[], Contents]) -> None:
    before = contents()
    async with client:
        for tool, arguments in EVERY_CALL.items():
            for name in ("user", "user_id", "phone", "organization", "owner", "owner_id", "memory", "flow"):
                line = await refusal(client, tool, **arguments, **{name: "bob"})
                assert line.startswith(f"invalid_input: {name}: ")
                assert "bob" not in line
    assert contents() == before


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("set_memory_item", {"value": 1}, "key: is missing"),
    ("set_memory_item", {"key": "a"}, "value: is missing"),
    ("set_memory_item", {}, "key: is missing; value: is missing"),
    ("set_memory_item", {"key": 5, "value": 1}, "key: give a text"),
    ("set_memory_item", {"key": None, "value": 1}, "key: give a text"),
    ("set_memory_item", {"key": ["a"], "value": 1}, "key: give a text"),
    ("set_memory_item", {"key": "a", "value": 1, "namespace": 7}, "namespace: give a text"),
    ("set_memory_item", {"key": "a", "value": 1, "expected_version": "x"}, "expected_version: give a whole number."),
    ("set_memory_item", {"key": "a", "value": 1, "expected_version": -1}, "expected_version: too small: at least 0."),
    ("set_memory_item", {"key": "a", "value": 1, "expected_version": 2**70}, "expected_version: too large: at most "),
    (
        "set_memory_item",
        {"key": "a", "value": 1, "expectedVersion": 1},
        "expectedVersion: there is no argument of this name",
    ),
    ("set_memory_item", {"key": "a", "value": 1, "importence": 9}, "importence: there is no argument of this name"),
    ("list_memory_items", {"limit": 0}, "limit: too small: at least 1."),
    ("list_memory_items", {"limit": 101}, "limit: too large: at most 100."),
    ("list_memory_items", {"limit": "many"}, "limit: give a whole number."),
    ("list_memory_items", {"limit": [1]}, "limit: give a whole number."),
    ("get_memory_history", {"before": -1}, "before: too small: at least 0."),
    ("get_memory_history", {"before": 1.5}, "before: give a whole number."),
    ("get_user_memory", {"at": "yesterday"}, "at: give a whole number or a time, such as 2026-11-20T09:00+00:00."),
    ("get_user_memory", {"at": True, "pointer": 1}, "09:00+00:00; pointer: give a text."),
    ("update_user_memory", {}, "changes: is missing"),
    ("update_user_memory", {"changes": []}, "changes: too few: at least 1."),
    ("update_user_memory", {"changes": "[]"}, "changes: give a list"),
    ("update_user_memory", {"changes": {"pointer": "/a", "value": 1}}, "changes: give a list"),
    ("update_user_memory", {"changes": ["/a"]}, "changes.0: give an object."),
    ("update_user_memory", {"changes": [{"pointer": "/a"}]}, "give a value, which may be null, or remove: true"),
    ("update_user_memory", {"changes": [{"pointer": "/a", "value": 1, "remove": True}]}, "not both"),
    (
        "update_user_memory",
        {"changes": [{"pointer": "/a", "value": 1, "op": "add"}]},
        "changes.0.op: there is no argument of this name",
    ),
    ("update_user_memory", {"changes": [{"pointer": "/a", "value": 1}] * 101}, "changes: too many: at most 100."),
    (
        "update_user_memory",
        {"changes": [{"pointer": "/a", "value": 1}], "why": "x" * 2_001},
        "why: too long: at most 2000 characters.",
    ),
]


async def test_what_is_wrong_is_said_in_one_line_and_nothing_is_kept(
    client: Client, ada: UUID, contents: Callable[[], Contents]
) -> None:
    before = contents()
    async with client:
        for tool, arguments, fault in WRONG:
            line = await refusal(client, tool, **arguments)
            assert line.startswith("invalid_input: ")
            assert fault in line
            assert line.endswith("Correct the arguments and try again.")
            assert not any(word in line for word in ("pydantic", "constrained", "None", "should", "error"))
    assert contents() == before


NOT_TO_BE_KEPT: list[tuple[Any, str]] = [
    (2**64, "invalid_json"),
    ("a\0b", "invalid_json"),
    ({"a\0b": 1}, "invalid_json"),
    ("x" * 10_241, "too_large"),
]


async def test_what_cannot_be_kept_is_refused_also_where_no_gate_is_before_it(
    client: Client, ada: UUID, contents: Callable[[], Contents]
) -> None:
    before = contents()
    async with client:
        for value, code in NOT_TO_BE_KEPT:
            assert (await refusal(client, "set_memory_item", key="a", value=value)).startswith(f"{code}: ")
            changes = [{"pointer": "/a", "value": value if code == "invalid_json" else value * 30}]
            assert (await refusal(client, "update_user_memory", changes=changes)).startswith(f"{code}: ")
    assert contents() == before


async def test_what_is_no_name_is_refused(client: Client, ada: UUID, contents: Callable[[], Contents]) -> None:
    before = contents()
    async with client:
        for name in ("", " a", "a\nb", "a\0b", "e\u0301", "x" * 257, "a\u202eb"):
            for arguments in ({"key": name}, {"key": "a", "namespace": name}):
                for tool in ("get_memory_item", "delete_memory_item"):
                    assert (await refusal(client, tool, **arguments)).startswith("invalid_name: ")
                assert (await refusal(client, "set_memory_item", value=1, **arguments)).startswith("invalid_name: ")
            for arguments in ({"namespace": name}, {"namespace": "a", "after": name}, {"after": pointer((name, "a"))}):
                assert (await refusal(client, "list_memory_items", **arguments)).startswith("invalid_name: ")
    assert contents() == before


async def test_what_no_page_gave_is_no_place_to_go_on(client: Client, ada: UUID) -> None:
    async with client:
        for after in ("", "key 5", "/key 5", "key/5", "/a/b/c", "/a/~", "/a/~2", "//"):
            line = await refusal(client, "list_memory_items", after=after)
            assert line.startswith("invalid_name: " if after == "//" else "invalid_input: ")
            assert "key 5" not in line


async def test_what_was_kept_under_any_name_is_found(client: Client, person: UserMemory) -> None:
    async with client:
        await ask(client, "set_memory_item", key="drink", value="tea", namespace="prefs")
        await ask(client, "set_memory_item", key="pace", value="slow")
        found = (await ask(client, "list_memory_items"))["entries"]
    assert [(each["namespace"], each["key"]) for each in found] == [("default", "pace"), ("prefs", "drink")]


async def test_an_entry_of_a_list_is_read_by_the_name_under_which_it_is_changed(
    client: Client, person: UserMemory
) -> None:
    async with client:
        goals = [{"id": "g-7", "status": "open"}, {"id": 8, "status": "done"}]
        changes = [{"pointer": "/goals", "value": goals}, {"pointer": "/facts/-", "value": "has a cat"}]
        await ask(client, "update_user_memory", changes=changes)
        for place, value in (
            ("/goals/g-7/status", "open"),
            ("/goals/8/status", "done"),
            ("/goals/0/status", "open"),
            ("/facts/has a cat", "has a cat"),
        ):
            assert await ask(client, "get_user_memory", pointer=place) == {"value": value}
        for nowhere in ("/goals/g-9", "/goals/2", "/facts/-", "/facts/has a dog"):
            assert (await refusal(client, "get_user_memory", pointer=nowhere)).startswith("not_found: ")


async def test_two_persons_in_one_process_never_mix(memory: Memory, era: str) -> None:
    names = ["ada", "bob"]

    async def talk(name: str) -> None:
        async with Client(create_server(memory, person=memory.of(user=name)), mode=era) as client:
            for number in range(15):
                await ask(client, "set_memory_item", key=f"key {number}", value=f"of {name}")
                await ask(client, "update_user_memory", changes=[{"pointer": f"/n{number}", "value": name}])
                found = await ask(client, "get_memory_item", key=f"key {number}")
                assert found["value"] == f"of {name}"
                known = (await ask(client, "get_user_memory"))["value"]
                assert {each for place, each in known.items() if place.startswith("n")} == {name}

    async with anyio.create_task_group() as tasks:
        for name in names * 2:
            tasks.start_soon(talk, name)
    for name in names:
        assert {item.value for item in memory.of(user=name).items.in_namespace().entries} == {f"of {name}"}


async def test_what_is_said_is_observed_without_what_it_says(client: Client, heard: Heard) -> None:
    async with client:
        await ask(client, "set_memory_item", key="tone", value="warm and dry")
        await refusal(client, "get_memory_item", key="diagnosis")
    (written, missed) = [span for span in heard.spans if span.attributes and "usermemory.door" in span.attributes]
    assert written.attributes is not None
    assert written.attributes["usermemory.operation"] == "set_memory_item"
    assert written.attributes["usermemory.door"] == "mcp"
    assert missed.attributes is not None
    assert missed.attributes["error.type"] == "not_found"
    told = repr([(span.name, span.attributes, span.events, span.status.description) for span in heard.spans])
    assert "warm" not in told
    assert "diagnosis" not in told
