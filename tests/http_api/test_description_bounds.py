"""The description takes what the server takes, and refuses what it refuses: bounds, headers and tags."""

from typing import Any, Final

import jsonschema
import pytest

from memory_tools.memory import Memory
from memory_tools.operations import CATALOG
from tests.http_api.calling import app_of, calling

PERSONAL: Final = "get_user_memory"
LONG: Final = "x" * 257
QUESTIONS: Final = [
    ("GET", "/v1/items", {"limit": "100"}, True),
    ("GET", "/v1/items", {"limit": "101"}, False),
    ("GET", "/v1/items", {"limit": "0"}, False),
    ("GET", "/v1/items", {"namespace": ""}, False),
    ("GET", "/v1/items", {"namespace": LONG}, False),
    ("GET", "/v1/items", {"namespace": "prefs", "after": "tone"}, True),
    ("GET", "/v1/items/{namespace}/{key}", {"namespace": "prefs", "key": "tone"}, True),
    ("GET", "/v1/items/{namespace}/{key}", {"namespace": LONG, "key": "tone"}, False),
    ("GET", "/v1/items/{namespace}/{key}", {"namespace": "prefs", "key": LONG}, False),
    ("PUT", "/v1/items/{namespace}/{key}", {"namespace": "a", "key": "b", "value": None}, True),
    ("PUT", "/v1/items/{namespace}/{key}", {"namespace": "a", "key": "b", "value": 1, "expected_version": None}, True),
    ("PUT", "/v1/items/{namespace}/{key}", {"namespace": "a", "key": "b", "value": 1, "expected_version": -1}, False),
    ("PUT", "/v1/items/{namespace}/{key}", {"namespace": "a", "key": "b", "value": 1, "other": 1}, False),
    ("PATCH", "/v1/document", {"changes": [{"pointer": "/x", "value": 1}], "why": "y" * 2_000}, True),
    ("PATCH", "/v1/document", {"changes": [{"pointer": "/x", "value": 1}], "why": "y" * 2_001}, False),
    ("PATCH", "/v1/document", {"changes": [{"pointer": "/x", "value": 1, "remove": None}], "why": None}, True),
    ("PATCH", "/v1/document", {"changes": [{"pointer": "/x", "value": 1, "other": 1}]}, False),
    ("PATCH", "/v1/document", {"changes": []}, False),
    ("PATCH", "/v1/document", {"changes": [{"pointer": "/x", "value": 1}] * 101}, False),
    ("GET", "/v1/document/history", {"before": "-1"}, False),
    ("GET", "/v1/document/history", {"before": "1"}, True),
    ("PATCH", "/v1/document", {"changes": [{"pointer": "/x"}]}, False),
    ("PATCH", "/v1/document", {"changes": [{"pointer": "/x", "remove": True}]}, True),
    ("PATCH", "/v1/document", {"changes": [{"pointer": "/x", "remove": True, "value": 1}]}, False),
    ("PATCH", "/v1/document", {"changes": [{"pointer": "x", "value": 1}]}, False),
    ("GET", "/v1/document", {"pointer": "~"}, False),
    ("GET", "/v1/document", {"at": "0"}, True),
    ("GET", "/v1/configuration", {"flow": "support-line"}, True),
    ("GET", "/v1/configuration", {"flow": ""}, False),
    ("GET", "/v1/configuration", {"flow": LONG}, False),
]
"""Method and path, what is asked, and whether that is a question."""


@pytest.mark.parametrize(("method", "path", "members", "is_one"), QUESTIONS)
async def test_the_description_takes_the_questions_that_the_server_takes(
    memory: Memory, method: str, path: str, members: dict[str, Any], is_one: bool
) -> None:
    app = app_of(memory)
    memory.of(user="ada").items.set("prefs", "tone", "warm")
    said = app.openapi()["paths"][path][method.lower()]
    described = is_described(said, members)
    in_path = {name for name in members if f"{{{name}}}" in path}
    rest = {name: each for name, each in members.items() if name not in in_path}
    async with calling(app, "operator" if "configuration" in path else "ada") as client:
        asked = {"params": rest} if method == "GET" else {"json": rest}
        answer = await client.request(method, path.format(**{name: members[name] for name in in_path}), **asked)
    assert (described, answer.status_code not in (400, 422)) == (is_one, is_one), answer.text


def is_described(said: dict[str, Any], members: dict[str, Any]) -> bool:
    """Tell whether the schemas of an operation take these members: those of its parameters as text."""
    parameters = {each["name"]: each["schema"] for each in said["parameters"]}
    body = {name: each for name, each in members.items() if name not in parameters}
    as_text = {name: members[name] for name in members if name in parameters}
    whole = said.get("requestBody", {"content": {"application/json": {"schema": {"maxProperties": 0}}}})
    return jsonschema.Draft202012Validator(whole["content"]["application/json"]["schema"]).is_valid(body) and all(
        jsonschema.Draft202012Validator(parameters[name]).is_valid(
            int(value) if parameters[name].get("type") == "integer" else value
        )
        for name, value in as_text.items()
    )


HEADERS: Final = [
    (PERSONAL, "Memory-User", "M%C3%BCller", True),
    (PERSONAL, "Memory-User", "%e4%ba%ba", True),
    (PERSONAL, "Memory-User", "M%C3%BCller%", False),
    (PERSONAL, "If-None-Match", '"5"', True),
    (PERSONAL, "If-None-Match", 'W/"5"', True),
    (PERSONAL, "If-None-Match", '"4", W/"5"', True),
    (PERSONAL, "If-None-Match", "*", True),
    (PERSONAL, "If-None-Match", "5", False),
    ("set_memory_item", "If-None-Match", "*", True),
    ("set_memory_item", "If-None-Match", '"2"', False),
    ("set_memory_item", "If-Match", '"2-a", "3-a"', True),
    ("set_memory_item", "If-Match", "2", False),
]
"""An operation, a header, and whether it may have this value."""


@pytest.mark.parametrize(("name", "header", "value", "may_be"), HEADERS)
async def test_the_description_takes_the_headers_that_the_server_takes(
    memory: Memory, name: str, header: str, value: str, may_be: bool
) -> None:
    app, operation = app_of(memory), CATALOG[name]
    method, _, path = operation.route.partition(" ")
    said = app.openapi()["paths"][f"/v1{path}"][method.lower()]
    [schema] = [each["schema"] for each in said["parameters"] if each["name"] == header]
    body = {"value": 1} if method == "PUT" else None
    async with calling(app, "gateway") as client:
        url = f"/v1{path}".format(namespace="a", key="b")
        answer = await client.request(method, url, headers={"Memory-User": "ada", header: value}, json=body)
    assert jsonschema.Draft202012Validator(schema).is_valid(value) is may_be
    assert (answer.status_code != 400) is may_be, answer.text


async def test_the_tags_of_answers_look_as_they_are_described(memory: Memory) -> None:
    app = app_of(memory)
    async with calling(app) as client:
        for method, path, body in (
            ("PUT", "/v1/items/{namespace}/{key}", {"value": 1}),
            ("GET", "/v1/items/{namespace}/{key}", None),
            ("GET", "/v1/document", None),
            ("PATCH", "/v1/document", {"changes": [{"pointer": "/x", "value": 1}]}),
        ):
            answer = await client.request(method, path.format(namespace="a", key="b"), json=body)
            said = app.openapi()["paths"][path][method.lower()]["responses"]["200"]["headers"]["ETag"]
            jsonschema.validate(answer.headers["etag"], said["schema"])
