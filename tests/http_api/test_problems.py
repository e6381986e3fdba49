"""Problem details: every error has a status, and nothing is told that is not meant to be."""

import inspect
import logging
from typing import Any

import pytest
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from http_api.problems import INTERNAL, STATUSES, status_of, told
from http_api.routes import Plain
from memory_tools.memory import Memory
from storage import errors
from storage.errors import (
    DatabaseUnavailable,
    InsufficientScope,
    NotFound,
    RateLimited,
    TimedOut,
    UserMemoryError,
    VersionConflict,
)
from tests.http_api.calling import app_of, calling, code

EVERY = [each for _, each in inspect.getmembers(errors, inspect.isclass) if issubclass(each, UserMemoryError)]


@pytest.mark.parametrize("kind", EVERY, ids=lambda kind: kind.code)
def test_every_error_has_a_status_of_its_own(kind: type[UserMemoryError]) -> None:
    assert kind in STATUSES
    answer = told(kind())
    assert answer.status_code == STATUSES[kind]
    assert answer.media_type == "application/problem+json"


def test_a_new_kind_of_error_has_the_status_of_the_one_above_it() -> None:
    class Newer(NotFound):
        """Something."""

    assert status_of(Newer()) == 404


def test_a_refusal_says_which_token_would_do() -> None:
    answer = told(InsufficientScope(scope="memory:write"), ["Bearer x"])
    assert 'error="insufficient_scope"' in answer.headers["www-authenticate"]
    assert 'scope="memory:write"' in answer.headers["www-authenticate"]


def test_who_comes_too_early_is_told_when_to_come_back() -> None:
    assert told(RateLimited(retry_after=7)).headers["retry-after"] == "7"
    assert int(told(DatabaseUnavailable()).headers["retry-after"]) > 0
    assert int(told(TimedOut()).headers["retry-after"]) > 0
    assert "retry-after" not in told(NotFound()).headers


def test_of_a_conflict_only_the_places_are_told_to_who_may_not_read() -> None:
    error = VersionConflict(current=4, conflicts=[{"pointer": "/summary", "theirs": "SECRET"}])
    hidden, shown = bytes(told(error).body), bytes(told(error, may_read=True).body)
    assert b"/summary" in hidden
    assert b"SECRET" not in hidden
    assert b"SECRET" in shown
    assert b'"current":4' in hidden


async def test_of_what_nobody_foresaw_nothing_is_told_and_nothing_logged(
    open_memory: Memory, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_: Request) -> Response:
        raise ValueError("SECRET")

    router = APIRouter(route_class=Plain)
    router.add_api_route("/fail", fail)
    with caplog.at_level(logging.DEBUG):
        async with calling(app_of(open_memory, routers=[router])) as client:
            answer = await client.get("/fail")
    assert code(answer) == (500, INTERNAL)
    assert "SECRET" not in answer.text + caplog.text
    assert "ValueError" in caplog.text


@pytest.mark.parametrize(
    ("method", "path", "said", "allow"),
    [
        ("GET", "/nothing", (404, "not_found"), None),
        ("GET", "/v1", (404, "not_found"), None),
        ("GET", "/v1/document/", (404, "not_found"), None),
        ("POST", "/v1/document", (405, "method_not_allowed"), "GET, HEAD, PATCH"),
        ("POST", "/v1/items/prefs/tone", (405, "method_not_allowed"), "DELETE, GET, HEAD, PUT"),
        ("TRACE", "/v1/items/prefs/tone", (405, "method_not_allowed"), "DELETE, GET, HEAD, PUT"),
        ("GET", "/v1/document/revert", (405, "method_not_allowed"), "POST"),
    ],
)
async def test_what_there_is_no_route_for_is_a_problem_too(
    open_memory: Memory, method: str, path: str, said: Any, allow: str | None
) -> None:
    async with calling(app_of(open_memory)) as client:
        answer = await client.request(method, path)
    assert code(answer) == said
    assert answer.headers.get("allow") == allow


async def test_faults_are_told_by_place_and_repeat_no_input(open_memory: Memory) -> None:
    async with calling(app_of(open_memory)) as client:
        answer = await client.put("/v1/items/a/b", json={"expected_version": "SECRET", "other": "SECRET"})
    assert code(answer) == (422, "invalid_input")
    assert {fault["pointer"] for fault in answer.json()["errors"]} == {"/value", "/expected_version", "/other"}
    assert "SECRET" not in answer.text


async def test_the_routes_of_a_host_that_fastapi_checks_repeat_no_input(open_memory: Memory) -> None:
    router = APIRouter()

    @router.get("/counted")
    async def counted(count: int) -> int:
        return count

    async with calling(app_of(open_memory, routers=[router])) as client:
        answer = await client.get("/counted?count=SECRET")
        assert (await client.get("/counted?count=3")).json() == 3
    assert code(answer) == (422, "invalid_input")
    assert answer.json()["errors"][0]["pointer"] == "/count"
    assert "SECRET" not in answer.text
