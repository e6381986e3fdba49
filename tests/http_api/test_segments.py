"""Segments: a slash inside a segment stays there, and no segment leads upward."""

from urllib.parse import quote

import pytest

from memory_tools.memory import Memory
from tests.http_api.calling import app_of, calling, code
from tests.http_api.calling import raw as raw_request

NAMES = [
    "a/b",
    "/",
    "//",
    "a%2Fb",
    "%",
    "%25",
    "100 %",
    "ü",
    "日本/語",
    "a?b#c",
    "a;b",
    "a+b",
    "...",
    "a..b",
    ".a",
    "a.",
    "\\",
    "~0",
    "*",
]


@pytest.mark.parametrize("name", NAMES)
async def test_an_item_of_any_name_is_found_by_its_path(memory: Memory, name: str) -> None:
    path = f"/v1/items/{quote(name, safe='')}/{quote(name, safe='')}"
    async with calling(app_of(memory)) as client:
        put = await client.put(path, json={"value": name})
        assert put.status_code == 200, put.text
        assert (put.json()["namespace"], put.json()["key"]) == (name, name)
        assert (await client.get(path)).json()["value"] == name
        assert [(each.namespace, each.key) for each in memory.of(user="ada").items.all().entries] == [(name, name)]
        assert (await client.delete(path)).json() == {"done": True}


async def test_a_name_with_a_slash_is_not_that_of_another_route(memory: Memory) -> None:
    async with calling(app_of(memory)) as client:
        await client.put("/v1/items/books/a%2Fentries", json={"value": 1})
        assert (await client.get("/v1/items/books/a/entries")).status_code == 405
        assert (await client.get("/v1/items/books/a%2fentries")).json()["value"] == 1
        assert (await client.get("/v1%2Fdocument")).status_code == 404
        assert (await client.get("/v1/d%6Fcument")).status_code == 200


@pytest.mark.parametrize("raw", [b"..", b".", b"%2e%2e", b"%2E.", b".%2e", b"%2e"])
async def test_no_segment_leads_upward(memory: Memory, raw: bytes) -> None:
    memory.of(user="ada").items.set("a", "b", 1)
    app = app_of(memory)
    for path in (b"/v1/items/a/" + raw, b"/v1/items/" + raw + b"/b", b"/v1/items/a/b/" + raw + b"/entries"):
        status, problem = await raw_request(app, "DELETE", path)
        assert (status, problem["code"]) == (400, "invalid_input")
    assert len(memory.of(user="ada").items.all().entries) == 1


@pytest.mark.parametrize("raw", ["%FF", "%C3", "%ed%a0%80", "%zz", "%", "%2", "%c0%af"])
async def test_what_is_no_utf8_names_nothing(open_memory: Memory, raw: str) -> None:
    status, problem = await raw_request(app_of(open_memory), "GET", f"/v1/items/a/{raw}".encode())
    assert (status, problem["code"]) == (400, "invalid_input")


@pytest.mark.parametrize("raw", ["%00", "a%00", "%0a", "%E2%80%8B", "%20a", "u%CC%88", "a" * 257])
async def test_what_is_no_name_is_refused_as_python_refuses_it(open_memory: Memory, raw: str) -> None:
    async with calling(app_of(open_memory)) as client:
        assert code(await client.get(f"/v1/items/a/{raw}")) == (422, "invalid_name")
        assert code(await client.put(f"/v1/items/{raw}/b", json={"value": 1})) == (422, "invalid_name")
