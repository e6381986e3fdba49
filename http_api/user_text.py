"""User text: the API of seed 002, `/api/v1/memory`: one text for each user, the newest."""

from typing import Annotated, Final

from fastapi import APIRouter
from pydantic import Field

from http_api.answer_schemas import TEXT, WHEN, known, maybe
from http_api.routes import Plain, add_route
from http_api.user_id import CountedUserId, of_user_id
from memory_tools.access import Scope
from memory_tools.memory import UserMemory
from memory_tools.operation import Effect, Input
from storage.errors import NotFound
from storage.json_types import Json

PATH: Final = "/api/v1/memory"


class TextWanted(Input):
    """Whose text."""

    user_id: CountedUserId


class NewText(Input):
    """The text that takes the place of the one before."""

    user_id: CountedUserId
    content: Annotated[str, Field(description="What is to be remembered, up to 256 KB.")]


_SAVED: Final = known(status={"const": "ok"}, message=TEXT)
_READ: Final = known(status={"const": "ok"}, memory=maybe(known(content=TEXT, created_at=WHEN, updated_at=WHEN)))


def user_text_router() -> APIRouter:
    """Return the two routes."""
    router = APIRouter(route_class=Plain)
    add_route(
        router,
        f"POST {PATH}",
        "post_user_text",
        _saved,
        NewText,
        effect=Effect.WRITE,
        whose=of_user_id(Scope.WRITE),
        answer=_SAVED,
        summary="Save or update the one text of a user",
        tag="user text",
        description="A user id that is not the asker's own gets a 404. Operators name anybody.",
        example={"user_id": "17", "content": "Drinks tea. Lives in Bonn."},
    )
    add_route(
        router,
        f"GET {PATH}/{{user_id}}",
        "get_user_text",
        _text,
        TextWanted,
        effect=Effect.READ,
        whose=of_user_id(Scope.READ),
        answer=_READ,
        summary="Retrieve the one text of a user",
        tag="user text",
        description="`memory` is null where there is none.",
        example={"user_id": "17"},
    )
    return router


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
