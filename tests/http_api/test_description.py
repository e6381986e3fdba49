"""The description: OpenAPI says of every route what it takes and every way in which it can end."""

from collections.abc import Iterator
from typing import Annotated, Any, Final

import jsonschema
import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.security import APIKeyHeader

from http_api import SignedCookie, create_app
from http_api.answer_schemas import answer_schema
from http_api.app import OPEN_PATHS
from http_api.asking import SCOPES
from http_api.operations import OF_THE_ORGANIZATION
from http_api.problems import STATUSES
from http_api.session import COOKIE
from http_api.tasks import tasks_router
from memory_tools.answer import as_json
from memory_tools.memory import Memory
from memory_tools.operation import Effect
from memory_tools.operations import CATALOG
from memory_tools.upkeep import Upkeep
from storage.outcome import Held
from storage.provenance import by_agent
from storage.work.sql_queue import SqlQueue
from tests.http_api.calling import TOKENS, app_of, calling
from tests.mcp_server.serving import Held as HeldTokens

HELD: Final = [HeldTokens(TOKENS)]


@pytest.fixture(scope="module")
def description(open_memory: Memory) -> dict[str, Any]:
    return app_of(open_memory, session=SignedCookie("s" * 32)).openapi()


def operations(description: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield method, path and description of the operations of the catalog."""
    for path, methods in description["paths"].items():
        for method, said in methods.items():
            if path not in OPEN_PATHS:
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


def test_what_everybody_may_ask_of_the_server_is_described_too(description: dict[str, Any]) -> None:
    for path in OPEN_PATHS:
        said = description["paths"][path]["get"]
        assert said["security"] == []
        assert said["responses"].keys() == {"200", "400", "403", "500"}
    assert description["paths"]["/health"]["get"]["responses"]["200"]["content"].keys() == {"application/json"}
    assert description["paths"]["/metrics"]["get"]["responses"]["200"]["content"].keys() == {"text/plain"}


def ways(app: FastAPI, name: str) -> set[str] | None:
    """Return the ways to say who asks that an operation has; None where nothing is said of it."""
    asked = {said["operationId"]: said for methods in app.openapi()["paths"].values() for said in methods.values()}
    security = asked[name].get("security")
    return None if security is None else {way for each in security for way in each}


JOB: Final = "the-token-of-the-jobs"
PERSONAL: Final = "get_user_memory"
OF_OPERATORS: Final = "get_profile_text"
OF_JOBS: Final = "trigger_memory_generation"


def test_an_app_describes_the_ways_to_say_who_asks_that_it_knows(open_memory: Memory) -> None:
    cookie, person = SignedCookie("s" * 32), open_memory.of(user="ada")
    bearer, none = {"bearer"}, set[str]()
    for options, schemes, personal, of_operators, of_jobs in (
        ({"verifiers": HELD}, bearer, bearer, bearer, bearer),
        ({"verifiers": HELD, "job_token": JOB}, {"bearer", "job"}, bearer, bearer, {"bearer", "job"}),
        ({"session": cookie}, {"session"}, {"session"}, None, None),
        ({"session": cookie, "job_token": JOB}, {"session", "job"}, {"session"}, None, {"job"}),
        ({"session": cookie, "verifiers": HELD}, {"bearer", "session"}, {"bearer", "session"}, bearer, bearer),
        ({"session": lambda _: None}, none, None, None, None),
        ({"session": lambda _: None, "verifiers": HELD}, bearer, bearer, bearer, bearer),
        ({"person": person}, none, none, None, None),
        ({"person": person, "job_token": JOB}, {"job"}, none, None, {"job"}),
        ({}, none, None, None, None),
    ):
        upkeep = Upkeep(open_memory, SqlQueue(open_memory.database))
        app = create_app(open_memory, routers=[tasks_router(upkeep)], **options)  # type: ignore[arg-type]
        assert app.openapi()["components"]["securitySchemes"].keys() == schemes
        told = ways(app, PERSONAL), ways(app, OF_OPERATORS), ways(app, OF_JOBS)
        assert told == (personal, of_operators, of_jobs), options
        assert ways(app, "get_health") == none


def test_what_a_host_says_of_its_own_routes_is_left_alone(open_memory: Memory) -> None:
    router = APIRouter()

    @router.get("/own", operation_id="own")
    async def own(_: Annotated[str, Depends(APIKeyHeader(name="X-Own"))]) -> None:
        """Answer nothing."""

    @router.get("/free", operation_id="free")
    async def free() -> None:
        """Answer nothing."""

    app = app_of(open_memory, routers=[router])
    assert app.openapi()["components"]["securitySchemes"].keys() == {"bearer", "APIKeyHeader"}
    assert (ways(app, "own"), ways(app, "free")) == ({"APIKeyHeader"}, None)


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
