"""User ids: whose memory is meant by the `user_id` that stands in a path or in a body."""

from typing import Annotated, Any, Protocol

from pydantic import BeforeValidator, Field

from http_api.asking import Door, Whose
from http_api.identity import Asker
from memory_tools.access import Scope
from memory_tools.memory import UserMemory
from memory_tools.operation import NAMED

_WHOSE = "The user id: the asker's own, or that of whom an operator names."


def _as_text(value: Any) -> Any:
    """Take a whole number for its digits."""
    return str(value) if type(value) is int else value


UserId = Annotated[str, Field(description=_WHOSE), NAMED]

CountedUserId = Annotated[
    str,
    BeforeValidator(_as_text, json_schema_input_type=int | str),
    Field(description=_WHOSE, examples=["17"]),
    NAMED,
]
"""For hosts that count their users, as those of seed 002 do."""


class NamesUser(Protocol):
    """A question that says whose memory it is about."""

    @property
    def user_id(self) -> str:
        """The user id."""


def of_user_id(scope: Scope) -> Whose:
    """Return what finds the person of a `user_id`: for an operator anybody's, else the asker's own, who needs `scope`.

    Raises NotFound for anybody else, as `Asker.person` does.
    """

    def whose(_: Door, asker: Asker, ask: NamesUser) -> UserMemory:
        return asker.person(Scope.OPERATE if asker.may(Scope.OPERATE) else scope, ask.user_id)

    return whose
