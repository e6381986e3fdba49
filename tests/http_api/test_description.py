"""The description: OpenAPI says of every route what it takes and every way in which it can end."""

from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from http_api import SignedCookie, create_app
from http_api.answers import answer_schema
from http_api.asking import SCOPES
from http_api.operations import OF_THE_ORGANIZATION
from http_api.problems import STATUSES
from http_api.session import COOKIE
from memory_tools.answer import as_json
from memory_tools.memory import Memory
from memory_tools.operation import Effect
from memory_tools.operations import CATALOG
from storage.outcome import Held
from storage.provenance import by_agent
from tests.http_api.calling import app_of, calling


@pytest.fixture(scope="module")
def description(open_memory: Memory) -> dict[str, Any]:
    return app_of(open_memory, session=SignedCookie("s" * 32)).openapi()


def operations(description: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in description["paths"].items():
        for method, said in methods.items():
            yield method.upper(), path, said


def test_every_operation_of_the_catalog_is_described(description: dict[str, Any]) -> None:
    described = {said["operationId"]: (method, path) for method, path, said in operations(description)}
    assert described == {name: (each.route.split()[0], f"/v1{each.route.split()[1]}") for name, each in CATALOG.items()}
    assert description["openapi"].startswith("3.1")


def test_every_error_is_documented_for_every_operation(description: dict[str, Any]) -> None:
    for method, path, said in operations(description):
        for kind, status in STATUSES.items():
            answer = said["responses"][str(status)]
            assert kind.code in answer["description"], (method, path, kind)
            assert list(answer["content"]) == ["application/problem+json"]
        assert said["summary"]
        assert said["description"]


def test_every_member_of_a_question_has_a_place(description: dict[str, Any]) -> None:
    for _, path, said in operations(description):
        operation = CATALOG[said["operationId"]]
        parameters = {each["name"]: each for each in said["parameters"] if each["in"] != "header"}
        body = said.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        assert parameters.keys() | body.get("properties", {}).keys() == operation.input.model_fields.keys()
        assert {name for name in parameters if parameters[name]["in"] == "path"} == {
            name for name in parameters if f"{{{name}}}" in path
        }
        headers = {each["name"] for each in said["parameters"] if each["in"] == "header"}
        assert ("Idempotency-Key" in headers) == (operation.effect is not Effect.READ)
        assert SCOPES[operation.effect] in said["description"] or "memory:operate" in said["description"]


def test_every_example_is_a_question_that_may_be_asked(description: dict[str, Any]) -> None:
    for _, _, said in operations(description):
        body = said.get("requestBody", {}).get("content", {}).get("application/json")
        if body is not None:
            jsonschema.validate(body["example"], body["schema"])


def test_an_app_describes_the_ways_to_say_who_asks_that_it_knows(open_memory: Memory) -> None:
    cookie = SignedCookie("s" * 32)
    for app, ways in (
        (app_of(open_memory), {"bearer"}),
        (create_app(open_memory, session=cookie), {"session"}),
        (app_of(open_memory, session=cookie), {"bearer", "session"}),
        (create_app(open_memory, session=lambda _: None), set()),
        (app_of(open_memory, session=lambda _: None), {"bearer"}),
        (create_app(open_memory, person=open_memory.of(user="ada")), set()),
    ):
        description = app.openapi()
        assert description["components"]["securitySchemes"].keys() == ways
        for _, _, said in operations(description):
            assert {name for each in said["security"] for name in each} == ways


def test_every_answer_has_the_schema_that_is_said_of_it(memory: Memory) -> None:
    person = memory.of(user="ada")
    for number in range(4):
        person.document.append({"summary": str(number), "safety_notes": "important"})
    person.items.set("prefs", "tone", "warm")
    person.conversations.append("call-17", [{"role": "user", "content": "Hello"}])
    person.conversation_memories.set("call-17", {"summary": "Ada moved to Bonn."})
    person.profile.set("Ada.")
    removal = [{"op": "remove", "path": "/safety_notes"}]
    tried = set()
    for name, operation in CATALOG.items():
        example = dict(operation.example)
        if "id" in example:
            example["id"] = _held(memory, removal)
        if name not in OF_THE_ORGANIZATION:
            answer = operation(person, operation.input.model_validate(example))
            shown = {"done": True} if answer is None else as_json(answer)
            jsonschema.validate(shown, answer_schema(operation))
            tried.add(name)
            if name == "delete_memory_item":
                person.items.set("prefs", "tone", "warm")
    assert len(tried) == len(CATALOG) - len(OF_THE_ORGANIZATION)


def _held(memory: Memory, removal: list[dict[str, Any]]) -> str:
    person = memory.of(user="ada")
    person.document.append({"summary": "3", "safety_notes": "important"})
    outcome = person.document.append(removal, provenance=by_agent("http"))
    assert isinstance(outcome, Held)
    return outcome.pending_id


@pytest.mark.parametrize("name", ["usermemory_session", "who"])
def test_the_cookie_is_described_by_its_name(open_memory: Memory, name: str) -> None:
    cookie = SignedCookie("s" * 32) if name == COOKIE else SignedCookie("s" * 32, cookie=name)
    schemes = create_app(open_memory, session=cookie).openapi()["components"]["securitySchemes"]
    assert schemes["session"]["name"] == name


async def test_the_description_is_served(open_memory: Memory) -> None:
    async with calling(app_of(open_memory), None) as client:
        served = (await client.get("/openapi.json")).json()
    assert served["components"]["schemas"]["Problem"]["required"] == ["type", "title", "status", "detail", "code"]
    assert "bearer" in served["components"]["securitySchemes"]
    assert "servers" not in served, "it stands where it was found"
