"""Routes: what is asked at a path, who may ask and what is answered, said once, for the app and its description."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from http_api.asking import Question, Whose, answered, triggered
from http_api.description import described
from http_api.etag import Versioned
from http_api.idempotency import AnswerOnce, answered_once
from http_api.openapi import OF_JOBS
from memory_tools.access import Scope
from memory_tools.operation import Effect, Input

Asking: TypeAlias = Callable[[Request, Question], Awaitable[Response]]
"""Answers a request: `answered` about a person, or `triggered` for those who set work off."""


class Plain(APIRoute):
    """A route whose endpoint takes the request as it came: FastAPI neither reads nor checks anything of it."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        """Return the endpoint itself."""
        return self.endpoint


def add_route(
    router: APIRouter,
    route: str,
    name: str,
    act: Callable[[Any, Any], Any],
    question: type[Input],
    *,
    effect: Effect,
    answer: Mapping[str, Any],
    summary: str,
    tag: str,
    description: str = "",
    example: Mapping[str, Any] | None = None,
    asking: Asking = answered,
    scope: Scope | None = None,
    whose: Whose | None = None,
    status: int = 200,
    versioned: Versioned | None = None,
    once: AnswerOnce = answered_once,
    named_by_header: bool = True,
) -> None:
    """Add a route, such as `POST /x`, to a router of Plain routes.

    Which of the members decide the answer says Question, and which describe it `described`.
    """
    method, _, path = route.partition(" ")
    asked = Question(name, act, question, effect, scope, whose, status, versioned, once)

    async def endpoint(request: Request) -> Response:
        return await asking(request, asked)

    router.add_api_route(
        path,
        endpoint,
        methods=[method],
        **described(
            name,
            method,
            path,
            question,
            summary=summary,
            description=description,
            example=example,
            effect=effect,
            answer=answer,
            status=status,
            tag=tag,
            scope=scope,
            versioned=versioned,
            named_by_header=named_by_header,
            asked_by=OF_JOBS if asking is triggered else None,
            takes_key=asked.writes,
            replays=asked.writes and asking is answered,
        ),
    )
