"""Calls: whose call a run of a voice node is about, what it is named, and what is allowed in it."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Final, Self
from uuid import UUID

from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime

from graphs.met import meeting, said_since
from graphs.transcript import conversation_name
from memory_tools.caller import caller, organization_said, phone_said
from memory_tools.context import member
from memory_tools.memory import Memory, UserMemory
from memory_tools.run import Identify, Run, identify, person
from memory_tools.visit import Visit, visit
from storage.configuration import MemoryConfiguration
from storage.errors import InvalidInput, NoIdentity
from storage.names import check_name

_FLOW: Final = ("flowConfiguration", "flow_configuration")


@dataclass(frozen=True, slots=True)
class Host:
    """What a host said when it built a node."""

    memory: Memory
    flow: str | None
    default: MemoryConfiguration
    identify: Identify | None

    @classmethod
    def of(
        cls,
        memory: Memory,
        flow: str | None,
        configuration: MemoryConfiguration | Mapping[str, Any] | None,
        identify: Identify | None,
    ) -> Self:
        """Check what can be checked before a call; raises InvalidInput and InvalidName."""
        if flow is not None:
            check_name(flow, "flow")
        return cls(memory, flow, MemoryConfiguration.of(configuration), identify)


@dataclass(frozen=True, slots=True)
class Call:
    """What a run of a node knows of the call."""

    host: Host
    state: object
    runtime: Runtime[Any]
    config: RunnableConfig

    @property
    def messages(self) -> Any:
        """What was said so far; nothing where the state has no messages."""
        messages = member(self.state, "messages")
        return () if messages is None else messages

    @property
    def said_since_met(self) -> Any:
        """What was said since the thread met the one whom it is with now."""
        met, messages = member(self.state, "memory_met"), self.messages
        return messages if met is None or not isinstance(messages, Sequence) else said_since(messages, met)

    def meeting(self, person: str | None) -> dict[str, Any] | None:
        """Return what a thread has to keep that meets this person, hashed; None where it met them before."""
        messages = self.messages if isinstance(self.messages, Sequence) else ()
        return meeting(messages, member(self.state, "memory_met"), person)

    @property
    def remembered(self) -> dict[str, Any] | None:
        """Whom the load node met in this run, hashed; None where it met nobody, or does not say so any more."""
        met = member(member(self.state, "memory"), "person") or member(member(self.state, "memory_met"), "person")
        return None if met is None else {"person": met}

    @property
    def conversation(self) -> str | None:
        """The name of the call, or the thread; None where it has neither."""
        here = member(self.state, "conversation", "call_id")
        there = (member(source, "callId", "call_id", "roomName", "room_name") for source in self._sources)
        thread = member(self.config.get("configurable"), "thread_id")
        names = (conversation_name(each) for each in (here, *there, thread) if _is_id(each))
        return next((name for name in names if name is not None), None)

    def person(self) -> UserMemory:
        """Return the memory of who calls; raises NoIdentity and InvalidIdentity."""
        memory, context, run = self.host.memory, self.runtime.context, Run.of(self.runtime, self.config)
        if self.host.identify is not None:
            return self.host.identify(memory, run)
        if isinstance(context, UserMemory):
            return person(memory, context)
        signed_in = run.server_user is not None and member(run.server_user, "is_authenticated") is not False
        metadata = () if signed_in else self._metadata
        who = caller(context, *metadata, default_region=memory.default_region)
        if who is not None:
            return person(memory, who)
        if phone_said(context, *self._metadata) is not None:
            # The number is withheld, or is the word of a client: else all who call through one signed-in backend would
            # share the memory of its user.
            raise NoIdentity
        found = identify(memory, replace(run, context=None))
        if organization_said(context, *metadata) not in (None, found.identity.organization):
            raise NoIdentity("The organization is one thing in the context, and another where the user is named.")
        return found

    def visit(self, who: UserMemory, *, writes: bool) -> AbstractContextManager[Visit]:
        """Open a transaction in which this run may do what is allowed; raises InvalidInput for a malformed flow."""
        context, own, *claimed = (_configuration(member(source, *_FLOW)) for source in self._sources)
        return visit(
            who,
            writes=writes,
            flow=self.host.flow,
            default=self.host.default,
            run=own if context is None else context,
            narrowing=[each for each in claimed if each is not None],
        )

    @property
    def _metadata(self) -> tuple[object, object]:
        """What telephony says beside the context."""
        return member(self.state, "metadata"), self.config.get("metadata")

    @property
    def _sources(self) -> tuple[object, ...]:
        """Where a host may say more than who calls, in the order in which it counts."""
        context = self.runtime.context
        return context, member(context, "metadata"), *self._metadata, self.config.get("configurable")


def _configuration(flow: object) -> MemoryConfiguration | None:
    """Return what the configuration of a flow says of memory; raises InvalidInput where it is none."""
    if flow is None:
        return None
    if not isinstance(flow, Mapping) and not hasattr(flow, "memory"):
        raise InvalidInput("the configuration of a flow is an object")
    return MemoryConfiguration.of(member(flow, "memory"))


def _is_id(value: object) -> bool:
    return isinstance(value, str | int | float | UUID) and not isinstance(value, bool)
