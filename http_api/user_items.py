"""User items: the API of seed 000, `/api/user/{user_id}/memory`: small values of a user under namespace and key."""

from typing import Annotated, Any, Final

from fastapi import APIRouter
from pydantic import Field

from http_api.answer_schemas import ANY, NUMBER, TEXT, WHEN, known, maybe
from http_api.asking import Door, Whose
from http_api.identity import Asker
from http_api.problems import InvalidQuestion
from http_api.routes import Plain, add_route
from http_api.user_id import UserId, of_user_id
from memory_tools.access import Scope
from memory_tools.memory import UserMemory
from memory_tools.operation import NAMED, Effect, Input, Omittable, PageSize
from memory_tools.operations.items import ItemsWanted, list_memory_items
from memory_tools.within import Within
from storage.items import DEFAULT_NAMESPACE, Item
from storage.json_types import Json
from storage.limits import PAGE_LIMIT
from storage.page import Page

PATH: Final = "/api/user/{user_id}/memory"

VALUES_AT_ONCE: Final = 1_000
"""Values in one answer at the most, where no page is asked for."""

OneNamespace = Annotated[
    Omittable[Annotated[str, NAMED]],
    Field(description=f"The group that the key stands in; `{DEFAULT_NAMESPACE}` where none is named."),
]
Key = Annotated[str, Field(description="The key within the namespace.", examples=["tone"]), NAMED]
All = Annotated[
    bool, Field(description="For operators: every key of the namespace, or where none is named, of all of them.")
]


class ValuesWanted(Input):
    """The values of a namespace, or for an operator of all of them: whole, or one page for who says which."""

    user_id: UserId
    namespace: OneNamespace
    all: All = False
    limit: Annotated[
        Omittable[PageSize], Field(description=f"How many, up to {PAGE_LIMIT}. With neither this nor `after`, all.")
    ]
    after: Annotated[Omittable[str], Field(description="The `next` of the answer before.")]

    @property
    def all_at_once(self) -> bool:
        """Whether no page is asked for."""
        return self.limit is None and self.after is None


class NewValueOf(Input):
    """A value to be kept."""

    user_id: UserId
    key: Key
    value: Annotated[Any, Field(description="Any JSON value, up to 10 KB.")]
    namespace: OneNamespace


class ValueNamed(Input):
    """One value; or for an operator all of them."""

    user_id: UserId
    key: Annotated[
        Omittable[Annotated[str, NAMED]], Field(description="The key within the namespace, unless all are meant.")
    ]
    namespace: OneNamespace
    all: All = False


_ROW: Final = known(userId=TEXT, namespace=TEXT, key=TEXT, value=ANY, version=NUMBER, createdAt=WHEN, updatedAt=WHEN)
_TAG: Final = "user items"
_WHO: Final = "A user id that is not the asker's own gets a 404. Operators name anybody."


def user_items_router() -> APIRouter:
    """Return the three routes."""
    router = APIRouter(route_class=Plain)
    add_route(
        router,
        f"GET {PATH}",
        "get_user_items",
        _values,
        ValuesWanted,
        effect=Effect.READ,
        whose=_all_for_operators(Scope.READ),
        answer=known(data={"type": "array", "items": _ROW}, next=maybe(TEXT)),
        summary="List a user's values of one namespace",
        example={"user_id": "ada", "namespace": "icebreakers"},
        tag=_TAG,
        description=_WHO,
    )
    add_route(
        router,
        f"POST {PATH}",
        "post_user_items",
        _kept,
        NewValueOf,
        effect=Effect.WRITE,
        whose=lambda _, asker, ask: asker.person(Scope.WRITE, ask.user_id),
        answer=known(data=_ROW),
        summary="Keep a value, new or in the place of another",
        example={"user_id": "ada", "namespace": "icebreakers", "key": "recent", "value": ["suggestion1"]},
        tag=_TAG,
        description=_WHO,
    )
    add_route(
        router,
        f"DELETE {PATH}",
        "delete_user_items",
        _deleted,
        ValueNamed,
        effect=Effect.ERASE,
        whose=_all_for_operators(Scope.WRITE),
        answer=known(data=known(deleted=NUMBER)),
        summary="Delete a value",
        example={"user_id": "ada", "namespace": "icebreakers", "key": "recent"},
        tag=_TAG,
        description=_WHO,
    )
    return router


def _all_for_operators(scope: Scope) -> Whose:
    """Return what finds the person, and lets only operators ask for all at once."""
    named = of_user_id(scope)

    def whose(door: Door, asker: Asker, ask: ValuesWanted | ValueNamed) -> UserMemory:
        person = named(door, asker, ask)
        if ask.all:
            asker.require(Scope.OPERATE)
        return person

    return whose


def _values(person: UserMemory, ask: ValuesWanted) -> Json:
    namespace = None if ask.all and ask.namespace is None else _namespace(ask)
    wanted = ItemsWanted(namespace=namespace, limit=ask.limit or PAGE_LIMIT, after=ask.after)
    if not ask.all_at_once:
        return _page(list_memory_items(person, wanted), ask)
    with person.read() as stores:
        return _page(_whole(Within(person, stores), wanted), ask)


def _whole(person: UserMemory, wanted: ItemsWanted) -> Page[Item, str]:
    """Return the values of all pages, as far as they go into one answer."""
    page = list_memory_items(person, wanted)
    found = [*page.entries]
    while page.next is not None and len(found) < VALUES_AT_ONCE:
        page = list_memory_items(person, wanted.model_copy(update={"after": page.next}))
        found += page.entries
    return Page(tuple(found), page.next)


def _page(page: Page[Item, str], ask: ValuesWanted) -> Json:
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
