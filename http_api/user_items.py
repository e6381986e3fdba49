"""User items: the API of seed 000, `/api/user/{user_id}/memory`: small values of a user under namespace and key."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from http_api.answers import ANY, NUMBER, TEXT, WHEN, known, maybe
from http_api.asking import answered
from http_api.description import described
from http_api.identity import Asker
from http_api.operations import Plain
from http_api.problems import InvalidQuestion
from memory_tools.access import Scope
from memory_tools.memory import UserMemory
from memory_tools.operation import Effect, Input, Omittable, PageSize
from memory_tools.operations.items import ItemsWanted, list_memory_items
from storage.items import DEFAULT_NAMESPACE, Item
from storage.json_types import Json
from storage.limits import PAGE_LIMIT

PATH: Final = "/api/user/{user_id}/memory"

UserId = Annotated[str, Field(description="The user id: the asker's own, or that of whom an operator names.")]
OneNamespace = Annotated[
    Omittable[str], Field(description=f"The group that the key stands in; `{DEFAULT_NAMESPACE}` where none is named.")
]
Key = Annotated[str, Field(description="The key within the namespace.", examples=["tone"])]


All = Annotated[
    bool, Field(description="For operators: every key of the namespace, or where none is named, of all of them.")
]


class ValuesWanted(Input):
    """One page of a namespace, or for an operator of all of them."""

    user_id: UserId
    namespace: OneNamespace
    all: All = False
    limit: PageSize = PAGE_LIMIT
    after: Annotated[Omittable[str], Field(description="The `next` of the page before.")]


class NewValueOf(Input):
    """A value to be kept."""

    user_id: UserId
    key: Key
    value: Annotated[Any, Field(description="Any JSON value, up to 10 KB.")]
    namespace: OneNamespace


class ValueNamed(Input):
    """One value; or for an operator all of them."""

    user_id: UserId
    key: Annotated[Omittable[str], Field(description="The key within the namespace, unless all are meant.")]
    namespace: OneNamespace
    all: All = False


_ROW: Final = known(userId=TEXT, namespace=TEXT, key=TEXT, value=ANY, version=NUMBER, createdAt=WHEN, updatedAt=WHEN)


def user_items_router() -> APIRouter:
    """Return the three routes."""
    router = APIRouter(route_class=Plain)
    for method, endpoint, question, effect, answer, summary in (
        ("GET", _list, ValuesWanted, Effect.READ, _listed(), "List a user's values of one namespace"),
        ("POST", _set, NewValueOf, Effect.WRITE, known(data=_ROW), "Keep a value, new or in the place of another"),
        ("DELETE", _delete, ValueNamed, Effect.ERASE, known(data=known(deleted=NUMBER)), "Delete a value"),
    ):
        name = f"{method.lower()}_user_items"
        router.add_api_route(
            PATH,
            endpoint,
            methods=[method],
            **described(
                name,
                method,
                PATH,
                question,
                summary=summary,
                description="A user id that is not the asker's own gets a 404. Operators name anybody.",
                example=_EXAMPLES[method],
                effect=effect,
                answer=answer,
                tag="user items",
            ),
        )
    return router


_EXAMPLES: Final[Mapping[str, Mapping[str, Json]]] = {
    "GET": {"user_id": "ada", "namespace": "icebreakers"},
    "POST": {"user_id": "ada", "namespace": "icebreakers", "key": "recent", "value": ["suggestion1", "suggestion2"]},
    "DELETE": {"user_id": "ada", "namespace": "icebreakers", "key": "recent"},
}


async def _list(request: Request) -> Response:
    return await answered(
        request, _values, ValuesWanted, name="get_user_items", effect=Effect.READ, whose=_whose(Scope.READ)
    )


async def _set(request: Request) -> Response:
    return await answered(
        request,
        _kept,
        NewValueOf,
        name="post_user_items",
        effect=Effect.WRITE,
        whose=lambda asker, ask: asker.person(Scope.WRITE, ask.user_id),
    )


async def _delete(request: Request) -> Response:
    return await answered(
        request, _deleted, ValueNamed, name="delete_user_items", effect=Effect.ERASE, whose=_whose(Scope.WRITE)
    )


def _whose(scope: Scope) -> Callable[[Asker, ValuesWanted | ValueNamed], UserMemory]:
    def whose(asker: Asker, ask: ValuesWanted | ValueNamed) -> UserMemory:
        person = asker.person(Scope.OPERATE if asker.may(Scope.OPERATE) else scope, ask.user_id)
        if ask.all:
            asker.require(Scope.OPERATE)
        return person

    return whose


def _values(person: UserMemory, ask: ValuesWanted) -> Json:
    namespace = None if ask.all and ask.namespace is None else _namespace(ask)
    page = list_memory_items(person, ItemsWanted(namespace=namespace, limit=ask.limit, after=ask.after))
    return {"data": [_row(item, ask.user_id) for item in page.entries], "next": page.next}


def _kept(person: UserMemory, ask: NewValueOf) -> Json:
    person.require_trust()
    return {"data": _row(person.items.set(_namespace(ask), ask.key, ask.value), ask.user_id)}


def _deleted(person: UserMemory, ask: ValueNamed) -> Json:
    if (ask.key is None) is not ask.all:
        raise InvalidQuestion([{"pointer": "/key", "message": "say which key, or for an operator all=true"}])
    if ask.key is None:
        return {"data": {"deleted": person.items.clear(ask.namespace)}}
    person.require_trust()
    person.items.delete(_namespace(ask), ask.key)
    return {"data": {"deleted": 1}}


def _namespace(ask: ValuesWanted | NewValueOf | ValueNamed) -> str:
    return DEFAULT_NAMESPACE if ask.namespace is None else ask.namespace


def _row(item: Item, user: str) -> Json:
    return {
        "userId": user,
        "namespace": item.namespace,
        "key": item.key,
        "value": item.value,
        "version": item.version,
        "createdAt": item.created_at.isoformat(),
        "updatedAt": item.updated_at.isoformat(),
    }


def _listed() -> dict[str, Any]:
    return known(data={"type": "array", "items": _ROW}, next=maybe(TEXT))
