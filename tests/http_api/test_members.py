"""Members: what a body or a query may say, how long it may be, and what is said of what it may not."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import pytest
from starlette.requests import Request
from starlette.types import Message

from http_api.members import BODY_LIMIT, body_of
from memory_tools.memory import Memory
from storage.errors import TooLarge
from tests.contents import Contents
from tests.http_api.calling import app_of, calling, code, raw

JSON: Final = {"content-type": "application/json"}

WAITING: Final = {"expect": "100-continue"}
"""Of clients that send nothing until they are asked to: what is read for them is read to be used."""

PATH: Final = b"/v1/items/a/b"

VALUES: Final[list[Any]] = [
    None, True, False, 0, -1, 2**63 - 1, -(2**63) + 1, 0.1, -0.0, 1e16, 5e-324, 1.7976931348623157e308, "", "ü",
    "日本語😀", "\\u0000", "\u2028\ufeff", [], {}, {"": {"": []}}, {"é": 1, "e\u0301": 2}, "NaN", [[[]]],
    {"__proto__": {"x": 1}}, "x" * 9_000, {"$ref": "#"}, list(range(200)), "true", "null", "1e400", {"value": {"a": 1}},
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda value: ascii(value)[:30])
async def test_every_value_that_python_keeps_comes_back_to_the_letter(memory: Memory, value: Any) -> None:
    async with calling(app_of(memory)) as client:
        put = await client.put("/v1/items/a/b", content=json.dumps({"value": value}), headers=JSON)
        assert put.status_code == 200, put.text
        got = await client.get("/v1/items/a/b")
    for kept in (got.json()["value"], memory.of(user="ada").items.get("a", "b").value):
        assert json.dumps(kept, sort_keys=True) == json.dumps(value, sort_keys=True)


@pytest.mark.parametrize(
    ("method", "path", "body", "pointer"),
    [
        ("PUT", "/v1/items/a/b", b"[]", ""),
        ("PUT", "/v1/items/a/b", b"1", ""),
        ("PUT", "/v1/items/a/b", b"null", ""),
        ("PUT", "/v1/items/a/b", b"{}", "/value"),
        ("PUT", "/v1/items/a/b", b'{"value":1,"other":2}', "/other"),
        ("PUT", "/v1/items/a/b", b'{"value":1,"user":"bob"}', "/user"),
        ("PUT", "/v1/items/a/b", b'{"value":1,"key":"b"}', "/key"),
        ("PUT", "/v1/items/a/b?value=1", b"{}", "/value"),
        ("PUT", "/v1/items/a/b?other=1", b'{"value":1}', "/other"),
        ("PATCH", "/v1/document", b'{"changes":[]}', "/changes"),
        ("PATCH", "/v1/document", b'{"changes":[{"pointer":"/x"}]}', "/changes/0"),
        ("GET", "/v1/items?limit=0", b"", "/limit"),
        ("GET", "/v1/items?limit=101", b"", "/limit"),
        ("GET", "/v1/items?limit=1e2", b"", "/limit"),
        ("GET", "/v1/items?other=1", b"", "/other"),
        ("GET", "/v1/items?user=bob", b"", "/user"),
        ("GET", "/v1/items/a/b?key=c", b"", "/key"),
    ],
)
async def test_what_is_unknown_or_of_another_kind_is_refused_by_its_place(
    open_memory: Memory, method: str, path: str, body: bytes, pointer: str
) -> None:
    async with calling(app_of(open_memory)) as client:
        answer = await client.request(method, path, content=body, headers=JSON if body else {})
    assert code(answer) == (422, "invalid_input")
    assert pointer in [fault["pointer"] for fault in answer.json()["errors"]]


NO_NUMBERS: Final[list[Any]] = [True, False, "2", "", 2.5, 1.0, [2], {}]
NO_FLAGS: Final[list[Any]] = ["true", "false", "yes", 1, 0, 1.0, []]


@pytest.mark.parametrize(
    ("method", "path", "body", "pointer"),
    [
        ("PUT", "/v1/items/a/b", {"value": 1, "expected_version": ...}, "/expected_version"),
        ("POST", "/v1/items/a/c/entries", {"value": 1, "keep": ...}, "/keep"),
        (
            "PATCH",
            "/v1/document",
            {"changes": [{"pointer": "/x", "value": 1}], "expected_version": ...},
            "/expected_version",
        ),
        ("POST", "/v1/document/revert", {"version": ...}, "/version"),
        ("PUT", "/v1/conversations/c/memory", {"data": {}, "message_count": ...}, "/message_count"),
        ("PUT", "/v1/configuration", {"configuration": {"retentionDays": ...}}, "/configuration/retentionDays"),
    ],
)
async def test_a_whole_number_in_a_body_is_nothing_else(
    memory: Memory, contents: Callable[[], Contents], method: str, path: str, body: Any, pointer: str
) -> None:
    person = memory.of(user="ada")
    person.items.set("a", "b", "read by nobody")
    person.conversations.append("c", [{"role": "user", "content": "Hello"}] * 3)
    before = contents()
    async with calling(app_of(memory), "operator", **{"Memory-User": "ada"}) as client:
        for wrong in NO_NUMBERS:
            answer = await client.request(method, path, json=_with(body, wrong))
            assert (wrong, code(answer)) == (wrong, (422, "invalid_input"))
            assert {fault["pointer"] for fault in answer.json()["errors"]} == {pointer}
    assert contents() == before


async def test_a_flag_in_a_body_is_nothing_else(memory: Memory) -> None:
    memory.of(user="ada").document.append({"summary": "kept"})
    change = {"pointer": "/summary"}
    async with calling(app_of(memory)) as client:
        for wrong in NO_FLAGS:
            answer = await client.patch("/v1/document", json={"changes": [change | {"remove": wrong}]})
            assert (wrong, code(answer)) == (wrong, (422, "invalid_input"))
            assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/changes/0/remove"]
        assert (await client.get("/v1/document")).json()["summary"] == "kept"
        removed = await client.patch("/v1/document", json={"changes": [change | {"remove": True}]})
        assert removed.status_code == 200


def _with(body: Any, value: Any) -> Any:
    """Return the body with the value in the place of `...`."""
    if isinstance(body, dict):
        return {name: _with(each, value) for name, each in body.items()}
    return value if body is ... else body


@pytest.mark.parametrize(
    "query",
    [
        "limit=1&limit=2",
        "limit=1&limit=1",
        "%ff=1",
        "namespace=%ff",
        "namespace=%",
        "a=%zz",
        "&".join(f"a{n}=1" for n in range(30)),
    ],
)
async def test_a_query_that_cannot_be_read_is_refused(open_memory: Memory, query: str) -> None:
    async with calling(app_of(open_memory)) as client:
        assert code(await client.get(f"/v1/items?{query}")) == (400, "invalid_input")


async def test_a_query_is_typed_by_the_question(memory: Memory) -> None:
    person = memory.of(user="ada")
    for number in range(3):
        person.items.set("a b", f"k{number}", number)
        person.document.append({"summary": str(number)})
    async with calling(app_of(memory)) as client:
        page = (await client.get("/v1/items?namespace=a+b&limit=2")).json()
        assert [entry["key"] for entry in page["entries"]] == ["k0", "k1"]
        assert (await client.get("/v1/items", params={"namespace": "a b", "after": page["next"]})).json()[
            "next"
        ] is None
        assert (await client.get("/v1/document?at=2")).json()["summary"] == "1"
        assert (await client.get("/v1/document?at=2020-01-01T00:00:00Z")).json() == {}
        assert code(await client.get("/v1/document?at=1.5")) == (422, "invalid_input")
        assert code(await client.get("/v1/document?at=9")) == (404, "not_found")


# How long.
async def test_a_body_may_have_1_mib(open_memory: Memory) -> None:
    async with calling(app_of(open_memory)) as client:
        body = b'{"value":1}'.ljust(BODY_LIMIT)
        assert (await client.put("/v1/items/a/b", content=body, headers=JSON)).status_code == 200
        assert code(await client.put("/v1/items/a/b", content=body + b" ", headers=JSON)) == (413, "too_large")


async def test_a_body_in_pieces_is_refused_as_soon_as_it_is_too_long(open_memory: Memory) -> None:
    piece, sent = b" " * 64 * 1024, 0

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield piece

    async def receive() -> Message:
        nonlocal sent
        sent += 1
        return {"type": "http.request", "body": piece, "more_body": True}

    async with calling(app_of(open_memory)) as client:
        assert code(await client.put("/v1/items/a/b", content=endless(), headers=JSON)) == (413, "too_large")
    with pytest.raises(TooLarge):
        await body_of(Request({"type": "http", "method": "PUT", "headers": []}, receive))
    assert sent == BODY_LIMIT // len(piece) + 1


async def test_a_declared_length_is_refused_before_anything_is_read(open_memory: Memory) -> None:
    read = 0

    async def receive() -> Message:
        nonlocal read
        read += 1
        return {"type": "http.disconnect"}

    for length in (str(BODY_LIMIT + 1), "9" * 500):
        headers = WAITING | {"content-length": length}
        status, problem = await raw(app_of(open_memory), "PUT", PATH, headers, receive)
        assert (status, problem["code"]) == (413, "too_large")
    assert read == 0


async def test_half_a_body_is_none(memory: Memory) -> None:
    pieces: list[Message] = [
        {"type": "http.request", "body": b'{"value":1}', "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        return pieces.pop(0)

    status, _ = await raw(app_of(memory), "PUT", PATH, JSON, receive)
    assert status == 499
    assert memory.of(user="ada").items.all().entries == ()


async def test_nobody_who_is_not_known_has_a_body_read(open_memory: Memory) -> None:
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        sent += 1
        yield b"{}"

    async with calling(app_of(open_memory), None) as client:
        answer = await client.put("/v1/items/a/b", content=body(), headers=JSON | WAITING)
    assert code(answer) == (401, "unauthenticated")
    assert sent == 0


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Type": "application/problem+json"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
async def test_a_body_is_json_and_says_so(open_memory: Memory, headers: dict[str, str]) -> None:
    async with calling(app_of(open_memory)) as client:
        answer = await client.put("/v1/items/a/b", content=b'{"value":1}', headers=headers)
    assert code(answer) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=UTF-8", 'application/json;charset="utf-8"']
)
async def test_json_may_be_written_in_several_ways(open_memory: Memory, kind: str) -> None:
    async with calling(app_of(open_memory)) as client:
        answer = await client.put("/v1/items/a/b", content=b'{"value":1}', headers={"Content-Type": kind})
    assert answer.status_code == 200


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_what_takes_no_body_is_given_none(open_memory: Memory, method: str) -> None:
    open_memory.of(user="ada").items.set("a", "b", 1)
    async with calling(app_of(open_memory)) as client:
        answer = await client.request(method, "/v1/items/a/b", content=b"{}", headers=JSON)
        assert code(answer) == (400, "invalid_input")
        assert (await client.request(method, "/v1/items/a/b")).status_code == 200


async def test_a_body_that_takes_long_to_look_at_does_not_keep_others_waiting(open_memory: Memory) -> None:
    body = "{" + ",".join(f'"{number}":0' for number in range(80_000)) + "}"
    async with calling(app_of(open_memory)) as client:
        hostile = asyncio.create_task(client.put("/v1/items/a/b", content=body, headers=JSON))
        turns = 0
        while not hostile.done():
            assert (await client.get("/v1/items/a/none")).status_code == 404
            turns += 1
    assert code(await hostile)[0] in (400, 413, 422)
    assert turns > 2
