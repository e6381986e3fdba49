"""Operations: the routes of the catalog, each made from what the operation says of itself."""

from typing import Any, Final

from fastapi import APIRouter

from http_api.answer_schemas import answer_schema
from http_api.asking import SCOPES, Door
from http_api.etag import VERSIONED
from http_api.idempotency import answered_once, configured_once
from http_api.identity import Asker
from http_api.routes import Plain, add_route
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


def catalog_router() -> APIRouter:
    """Return the routes of all operations."""
    router = APIRouter(route_class=Plain)
    for operation in CATALOG.values():
        _add(router, operation)
    return router


def _add(router: APIRouter, operation: Operation[Any, Any]) -> None:
    method, _, path = operation.route.partition(" ")
    is_personal = operation.name not in OF_THE_ORGANIZATION
    add_route(
        router,
        f"{method} {ROOT}{path}",
        operation.name,
        operation.function,
        operation.input,
        effect=operation.effect,
        answer=answer_schema(operation),
        summary=operation.name.replace("_", " ").capitalize(),
        tag=operation.function.__module__.rpartition(".")[2],
        description=operation.description,
        example=operation.example,
        scope=Scope.OPERATE if operation.audience is Audience.OPERATOR else SCOPES[operation.effect],
        whose=None if is_personal else _anybody,
        versioned=VERSIONED.get(operation.name),
        once=answered_once if is_personal else configured_once,
    )


def _anybody(door: Door, asker: Asker, _: Any) -> UserMemory:
    """Return somebody of the organization, whose own memory stays closed, in the hands of operators."""
    identity = Identity(organization=asker.organization, user=asker.principal.actor[:256])
    return UserMemory(door.operator_memory, identity).acting(asker.provenance)
