"""Trust: who makes a change, and how far that is trusted."""

from collections.abc import Iterable
from enum import IntEnum, StrEnum

from storage.errors import InvalidInput


class Trust(IntEnum):
    """How far the source of a change is trusted, in order: operator > user > agent > tool."""

    TOOL = 1
    AGENT = 2
    USER = 3
    OPERATOR = 4

    @property
    def label(self) -> str:
        """The name of this trust in JSON, such as `user`."""
        return self.name.lower()

    @classmethod
    def of(cls, label: object) -> "Trust":
        """Return the trust that `label` names. Raises InvalidInput for any other value."""
        if isinstance(label, str) and (trust := _TRUST_CALLED.get(label)):
            return trust
        raise _no_trust()


class Actor(StrEnum):
    """Who made a change."""

    USER = "user"
    AGENT = "agent"
    TOOL = "tool"
    JOB = "job"
    OPERATOR = "operator"

    @property
    def trust(self) -> Trust:
        """How far this actor is trusted at the most: a job runs a model, so it is trusted as an agent is."""
        return _TRUST_OF[self]

    @classmethod
    def of(cls, name: object) -> "Actor":
        """Return the actor that `name` names, or is. Raises InvalidInput for any other value."""
        if type(name) is cls:
            return name
        if isinstance(name, str) and (actor := _ACTOR_CALLED.get(name)):
            return actor
        raise InvalidInput("The actor is one of user, agent, tool, job and operator.")


_TRUST_OF = {
    Actor.OPERATOR: Trust.OPERATOR,
    Actor.USER: Trust.USER,
    Actor.AGENT: Trust.AGENT,
    Actor.JOB: Trust.AGENT,
    Actor.TOOL: Trust.TOOL,
}

_ACTOR_CALLED = {actor.value: actor for actor in Actor}

_TRUST_CALLED = {trust.label: trust for trust in Trust}


def lowest(trusts: Iterable[Trust]) -> Trust:
    """Return the lowest of `trusts`: what is made of several sources is trusted as the worst of them.

    Of none at all it is TOOL, because what cites nothing cannot claim more.
    """
    return min(trusts, default=Trust.TOOL)


def check_trust(value: object) -> None:
    """Raise InvalidInput unless `value` is a Trust: neither its number nor its label is one."""
    if type(value) is not Trust:
        raise _no_trust()


def _no_trust() -> InvalidInput:
    return InvalidInput("Trust is one of operator, user, agent and tool.")
