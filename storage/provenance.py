"""Provenance: who changed a memory, through which door, from which sources, and how far that is trusted."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Self

from storage.canonical import canonical
from storage.errors import InvalidInput
from storage.json_types import Json
from storage.trust import Actor, Trust, check_trust, lowest

__all__ = [
    "LABEL_LIMIT",
    "WHY_LIMIT",
    "Actor",
    "ChangeSource",
    "Provenance",
    "TokenUsage",
    "Trust",
    "by_agent",
    "by_operator",
    "by_user",
    "lowest",
    "provenance_text",
]

WHY_LIMIT = 2_000
"""Characters in the reason given for a change."""

LABEL_LIMIT = 256
"""Characters in the name of a door, a model, a prompt or a conversation."""


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """What a model call cost, in tokens."""

    input: int
    output: int

    def __post_init__(self) -> None:
        for count in (self.input, self.output):
            if type(count) is not int or count < 0:
                raise InvalidInput("A token count is a whole number from 0.")

    def as_json(self) -> dict[str, Json]:
        """Return this usage as a JSON object."""
        return {"input": self.input, "output": self.output}

    @classmethod
    def from_json(cls, value: Json) -> Self:
        """Return the usage that `as_json` wrote. Raises InvalidInput for anything else."""
        members = _object(value, "token usage")
        return cls(members.get("input"), members.get("output"))  # type: ignore[arg-type]  # the class checks them


@dataclass(frozen=True, slots=True)
class ChangeSource:
    """Where one change came from: the place in the document, the messages behind it, and how far it is trusted."""

    pointer: str
    """The JSON pointer (RFC 6901) of the changed place."""

    entry: str | None = None
    """The list entry that was changed, by its id or text, where the place is a list."""

    messages: tuple[int, ...] = ()
    """Numbers of the owner's messages."""

    trust: Trust = Trust.AGENT

    def __post_init__(self) -> None:
        if not isinstance(self.pointer, str) or (self.pointer and not self.pointer.startswith("/")):
            raise InvalidInput("The place of a change is a JSON pointer.")
        if self.entry is not None and not isinstance(self.entry, str):
            raise InvalidInput("The entry of a change is a text.")
        object.__setattr__(self, "messages", _message_numbers(self.messages))
        check_trust(self.trust)

    def as_json(self) -> dict[str, Json]:
        """Return this source as a JSON object without empty members."""
        members: dict[str, Json] = {"pointer": self.pointer, "trust": self.trust.label}
        if self.entry is not None:
            members["entry"] = self.entry
        if self.messages:
            members["messages"] = list(self.messages)
        return members

    @classmethod
    def from_json(cls, value: Json) -> Self:
        """Return the source that `as_json` wrote. Raises InvalidInput for anything else."""
        members = _object(value, "source")
        return cls(
            members.get("pointer"),  # type: ignore[arg-type]  # the class checks it
            members.get("entry"),
            tuple(_list(members, "messages")),
            Trust.of(members.get("trust")),
        )


@dataclass(frozen=True, slots=True, init=False)
class Provenance:
    """Who made a change, through what, from which sources, why, by which model and prompt, at what cost."""

    actor: Actor
    through: str
    """The door: `python`, `langchain`, `mcp`, `http`, `cli` or `loop`; a host may name its own."""

    conversations: tuple[str, ...]
    messages: tuple[int, ...]
    """Numbers of the owner's messages, counted over all of the owner's conversations."""

    why: str | None
    model: str | None
    prompt: str | None
    """The version of the prompt."""

    tokens: TokenUsage | None
    trust: Trust
    changes: tuple[ChangeSource, ...]

    def __init__(
        self,
        actor: Actor,
        through: str,
        conversations: Iterable[str] = (),
        messages: Iterable[int] = (),
        why: str | None = None,
        model: str | None = None,
        prompt: str | None = None,
        tokens: TokenUsage | None = None,
        trust: Trust | None = None,
        changes: Iterable[ChangeSource] = (),
    ) -> None:
        """Check and keep what is given; without `trust` it is the lowest of the actor's own and the changes'.

        Raises InvalidInput where a member is not acceptable, or where a trust is higher than the actor's own.
        """
        actor = Actor.of(actor)
        changes = tuple(changes)
        if tokens is not None and not isinstance(tokens, TokenUsage):
            raise InvalidInput("The tokens of a change are a TokenUsage.")
        if not all(isinstance(change, ChangeSource) for change in changes):
            raise InvalidInput("The changes are ChangeSources.")
        keep = object.__setattr__
        keep(self, "actor", actor)
        keep(self, "through", _label(through, "door"))
        keep(self, "conversations", _labels(conversations, "conversation") if conversations else ())
        keep(self, "messages", _message_numbers(messages) if messages else ())
        keep(self, "why", None if why is None else _label(why, "reason", WHY_LIMIT))
        keep(self, "model", None if model is None else _label(model, "model"))
        keep(self, "prompt", None if prompt is None else _label(prompt, "prompt"))
        keep(self, "tokens", tokens)
        keep(self, "trust", _trust_within(actor, trust, changes))
        keep(self, "changes", changes)

    def accepted_by(self, other: "Provenance") -> "Provenance":
        """Return the provenance of this change once `other` answers for it: who, by which door and with which trust.

        The sources, the model and the cost stay those of the change, and the reason unless `other` gives one.
        """
        why = self.why if other.why is None else other.why
        return replace(self, actor=other.actor, through=other.through, trust=other.trust, why=why)

    def as_json(self) -> dict[str, Json]:
        """Return this provenance as a JSON object without empty members."""
        members: dict[str, Json] = {"actor": self.actor.value, "through": self.through, "trust": self.trust.label}
        if self.conversations:
            members["conversations"] = list(self.conversations)
        if self.messages:
            members["messages"] = list(self.messages)
        for name, text in (("why", self.why), ("model", self.model), ("prompt", self.prompt)):
            if text is not None:
                members[name] = text
        if self.tokens is not None:
            members["tokens"] = self.tokens.as_json()
        if self.changes:
            members["changes"] = [change.as_json() for change in self.changes]
        return members

    @classmethod
    def from_json(cls, value: Json) -> Self:
        """Return the provenance that `as_json` wrote, without the members that a newer program may have added.

        Raises InvalidInput where a known member is missing or not acceptable.
        """
        members = _object(value, "provenance")
        tokens = members.get("tokens")
        return cls(
            actor=Actor.of(members.get("actor")),
            through=_label(members.get("through"), "door"),
            conversations=_list(members, "conversations"),
            messages=_list(members, "messages"),
            why=members.get("why"),
            model=members.get("model"),
            prompt=members.get("prompt"),
            tokens=None if tokens is None else TokenUsage.from_json(tokens),
            trust=Trust.of(members.get("trust")),
            changes=[ChangeSource.from_json(change) for change in _list(members, "changes")],
        )


def _trust_within(actor: Actor, trust: Trust | None, changes: tuple[ChangeSource, ...]) -> Trust:
    """Return `trust`, or the default for these changes, once nothing in it exceeds the actor's own."""
    most = actor.trust
    if trust is None:
        trust = lowest((most, *(change.trust for change in changes)))
    check_trust(trust)
    if trust > most or any(change.trust > most for change in changes):
        raise InvalidInput(f"A change by {actor.value} is trusted as {most.label} at the most.")
    return trust


def _label(value: object, what: str, limit: int = LABEL_LIMIT) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= limit:
        raise InvalidInput(f"The {what} is a text of 1 to {limit} characters.")
    return value


def _labels(values: Iterable[str], what: str) -> tuple[str, ...]:
    if isinstance(values, str):
        raise InvalidInput(f"The {what}s are a list of texts, not one text.")
    return tuple([_label(value, what) for value in values])


def _message_numbers(values: Iterable[int]) -> tuple[int, ...]:
    numbers = tuple(values)
    for number in numbers:
        if type(number) is not int or number < 1:
            raise InvalidInput("A message number is a whole number from 1.")
    return numbers


def _object(value: Json, what: str) -> Mapping[str, Json]:
    if not isinstance(value, Mapping):
        raise InvalidInput(f"The {what} of a change is a JSON object.")
    return value


def _list(members: Mapping[str, Json], name: str) -> list[Json]:
    value = members.get(name, [])
    if not isinstance(value, list):
        raise InvalidInput(f"The {name} of a change are a JSON array.")
    return value


@lru_cache(maxsize=64)
def provenance_text(provenance: Provenance) -> str:
    """Return the canonical text that is stored with a version; remembered, because most callers have one for all."""
    return canonical(provenance.as_json())


by_user = Provenance(Actor.USER, "python")
"""The person changed it, through Python."""

by_operator = Provenance(Actor.OPERATOR, "python")
"""An operator changed it, through Python."""


def by_agent(through: str) -> Provenance:
    """Return the provenance of a change that a model made through this door."""
    return Provenance(Actor.AGENT, through)
