"""Operations on the configuration of the organization that a person belongs to, and of its flows."""

from typing import Annotated

from pydantic import Field

from memory_tools.memory import UserMemory
from memory_tools.operation import NAMED, Audience, Effect, Input, operation
from storage.configuration import MemoryConfiguration

Flow = Annotated[
    Annotated[str, NAMED] | None,
    Field(description="The flow; the organization's own level by default.", examples=["support-line"]),
]


class LevelWanted(Input):
    """One level of configuration."""

    flow: Flow = None


class NewConfiguration(LevelWanted):
    """Members to be set at one level."""

    configuration: Annotated[
        MemoryConfiguration, Field(description="The members to set, in camelCase; the others stay as they are.")
    ]


@operation(Effect.READ, "GET /configuration", Audience.OPERATOR, example={"flow": "support-line"})
def get_memory_configuration(memory: UserMemory, ask: LevelWanted) -> MemoryConfiguration:
    """Return what memory may do in the organization or in one of its flows. Use it to see what holds there."""
    return memory.configurations.effective(memory.identity.organization, flow=ask.flow)


@operation(Effect.WRITE, "PUT /configuration", Audience.OPERATOR, example={"configuration": {"autoStore": True}})
def set_memory_configuration(memory: UserMemory, ask: NewConfiguration) -> MemoryConfiguration:
    """Set what memory may do in the organization or in one of its flows. Use it to switch memory on or off."""
    return memory.configurations.set(ask.configuration, memory.identity.organization, flow=ask.flow)


@operation(Effect.ERASE, "DELETE /configuration", Audience.OPERATOR, example={"flow": "support-line"})
def reset_memory_configuration(memory: UserMemory, ask: LevelWanted) -> None:
    """Forget what was set for the organization or one of its flows. Use it to let the level below hold again."""
    memory.configurations.reset(memory.identity.organization, flow=ask.flow)
