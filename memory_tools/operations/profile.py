"""Operations on the profile: the one text per person (seed 002)."""

from typing import Annotated

from pydantic import Field

from memory_tools.memory import UserMemory
from memory_tools.operation import Audience, Effect, Input, operation
from storage.profiles import Profile


class NothingToSay(Input):
    """No further input."""


class NewProfile(Input):
    """The text to be kept."""

    text: Annotated[str, Field(description="What is known about the person, in prose, at most 256 KB.")]


@operation(Effect.READ, "GET /profile", Audience.OPERATOR, example={})
def get_profile_text(memory: UserMemory, ask: NothingToSay) -> Profile:
    """Read the one text about the person. Use it where a single paragraph is enough."""
    return memory.profile.get()


@operation(Effect.WRITE, "PUT /profile", Audience.OPERATOR, example={"text": "Ada likes jazz."})
def set_profile_text(memory: UserMemory, ask: NewProfile) -> Profile:
    """Replace the one text about the person; only the newest is kept. Use it after summarizing elsewhere."""
    return memory.profile.set(ask.text)


@operation(Effect.ERASE, "DELETE /profile", Audience.OPERATOR, example={})
def delete_profile_text(memory: UserMemory, ask: NothingToSay) -> None:
    """Delete the one text about the person. Use it when the person asks."""
    memory.profile.delete()
