"""User text: the API of seed 002, `/api/v1/memory`: one text for each user, the newest."""

from collections.abc import Callable
from typing import Annotated, Any, Final

from fastapi import APIRouter
from pydantic import BeforeValidator, Field
from starlette.requests import Request
from starlette.responses import Response

from http_api.answers import TEXT, WHEN, known, maybe
from http_api.asking import answered
from http_api.description import described
from http_api.identity import Asker
from http_api.operations import Plain
from memory_tools.access import Scope
from memory_tools.memory import UserMemory
from memory_tools.operation import Effect, Input
from storage.errors import NotFound
from storage.json_types import Json

PATH: Final = "/api/v1/memory"


def _as_text(value: Any) -> Any:
    """Take a whole number for its digits: the hosts of this API count their users."""
    return str(value) if type(value) is int else value


UserId = Annotated[
    str,
    BeforeValidator(_as_text, json_schema_input_type=int | str),
    Field(description="The user id: the asker's own, or that of whom an operator names.", examples=["17"]),
]


class TextWanted(Input):
    """Whose text."""

    user_id: UserId


class NewText(Input):
    """The text that takes the place of the one before."""

    user_id: UserId
    content: Annotated[str, Field(description="What is to be remembered, up to 256 KB.")]


_SAVED: Final = known(status={"const": "ok"}, message=TEXT)
_READ: Final = known(status={"const": "ok"}, memory=maybe(known(content=TEXT, created_at=WHEN, updated_at=WHEN)))


def user_text_router() -> APIRouter:
    """Return the two routes."""
    router = APIRouter(route_class=Plain)
    router.add_api_route(
        PATH,
        _save,
        methods=["POST"],
        **described(
            "post_user_text",
            "POST",
            PATH,
            NewText,
            summary="Save or update the one text of a user",
            description="A user id that is not the asker's own gets a 404. Operators name anybody.",
            example={"user_id": "17", "content": "Drinks tea. Lives in Bonn."},
            effect=Effect.WRITE,
            answer=_SAVED,
            tag="user text",
        ),
    )
    path = PATH + "/{user_id}"
    router.add_api_route(
        path,
        _read,
        methods=["GET"],
        **described(
            "get_user_text",
            "GET",
            path,
            TextWanted,
            summary="Retrieve the one text of a user",
            description="`memory` is null where there is none.",
            example={"user_id": "17"},
            effect=Effect.READ,
            answer=_READ,
            tag="user text",
        ),
    )
    return router


async def _save(request: Request) -> Response:
    return await answered(
        request, _saved, NewText, name="post_user_text", effect=Effect.WRITE, whose=_whose(Scope.WRITE)
    )


async def _read(request: Request) -> Response:
    return await answered(
        request, _text, TextWanted, name="get_user_text", effect=Effect.READ, whose=_whose(Scope.READ)
    )


def _whose(scope: Scope) -> Callable[[Asker, TextWanted | NewText], UserMemory]:
    def whose(asker: Asker, ask: TextWanted | NewText) -> UserMemory:
        return asker.person(Scope.OPERATE if asker.may(Scope.OPERATE) else scope, ask.user_id)

    return whose


def _saved(person: UserMemory, ask: NewText) -> Json:
    person.require_trust()
    person.profile.set(ask.content)
    return {"status": "ok", "message": "Memory saved successfully"}


def _text(person: UserMemory, _: TextWanted) -> Json:
    try:
        profile = person.profile.get()
    except NotFound:
        return {"status": "ok", "memory": None}
    memory = {
        "content": profile.text,
        "created_at": profile.created_at.isoformat(),
        "updated_at": profile.updated_at.isoformat(),
    }
    return {"status": "ok", "memory": memory}
