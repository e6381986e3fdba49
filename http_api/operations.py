"""Operations: the routes of the catalog, each made from what the operation says of itself."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from http_api.answers import answer_schema
from http_api.asking import SCOPES, Ask, answered
from http_api.description import described
from http_api.etag import OPERATIONS
from http_api.identity import Asker
from memory_tools.access import Scope
from memory_tools.memory import UserMemory
from memory_tools.operation import Audience, Operation
from memory_tools.operations import CATALOG
from storage.identity import Identity

ROOT: Final = "/v1"
"""What the paths of the catalog begin with."""

OF_THE_ORGANIZATION: Final = frozenset(
    {"get_memory_configuration", "set_memory_configuration", "reset_memory_configuration"}
)
"""Operations that are about no person: who asks for them names nobody, and they work where memory is switched off."""


class Plain(APIRoute):
    """A route whose endpoint takes the request as it came: FastAPI neither reads nor checks anything of it."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        """Return the endpoint itself."""
        return self.endpoint


def catalog_router() -> APIRouter:
    """Return the routes of all operations."""
    router = APIRouter(route_class=Plain)
    for operation in CATALOG.values():
        method, _, path = operation.route.partition(" ")
        router.add_api_route(
            ROOT + path,
            _endpoint(operation),
            methods=[method],
            **described(
                operation.name,
                method,
                ROOT + path,
                operation.input,
                summary=operation.name.replace("_", " ").capitalize(),
                description=operation.description,
                example=operation.example,
                effect=operation.effect,
                answer=answer_schema(operation),
                tag=operation.function.__module__.rpartition(".")[2],
                scope=_scope(operation),
                versioned=OPERATIONS.get(operation.name),
            ),
        )
    return router


def _scope(operation: Operation[Any, Any]) -> Scope:
    return Scope.OPERATE if operation.audience is Audience.OPERATOR else SCOPES[operation.effect]


def _endpoint(operation: Operation[Any, Any]) -> Callable[[Request], Awaitable[Response]]:
    name, question, scope, versioned = (
        operation.name,
        operation.input,
        _scope(operation),
        OPERATIONS.get(operation.name),
    )
    is_personal = name not in OF_THE_ORGANIZATION
    function: Callable[[UserMemory, Ask], Any] = operation.function

    async def endpoint(request: Request) -> Response:
        return await answered(
            request,
            function,
            question,
            name=name,
            effect=operation.effect,
            scope=scope,
            whose=None if is_personal else lambda asker, _: _anybody(request, asker),
            versioned=versioned,
            keeps_keys=is_personal,
        )

    endpoint.__name__ = name
    return endpoint


def _anybody(request: Request, asker: Asker) -> UserMemory:
    """Return somebody of the organization, whose own memory stays closed, in the hands of operators."""
    identity = Identity(organization=asker.organization, user=asker.principal.actor[:256])
    return UserMemory(request.app.state.door.operator_memory, identity).acting(asker.provenance)
