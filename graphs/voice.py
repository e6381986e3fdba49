"""Voice: the nodes that remember a caller when a call begins, and keep what was said (seed 004)."""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeAlias

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableConfig
from langgraph.channels import UntrackedValue
from langgraph.runtime import Runtime
from typing_extensions import TypedDict

from graphs.greeting import greeting_facts
from graphs.presentation import Known
from graphs.recollection import recollect
from graphs.spoken import SPOKEN, keep_spoken
from graphs.summarizer import Summarizer
from graphs.surviving import surviving
from graphs.update import UpdateGraph, build_update_graph
from memory_tools.caller import caller, member, organization_said, phone_said
from memory_tools.context import Run, identify, person
from memory_tools.memory import Memory, UserMemory
from memory_tools.visit import Visit, require_allowed, visit
from storage.configuration import MemoryConfiguration
from storage.conversations import Totals
from storage.errors import InvalidInput, MemoryDisabled, NoIdentity

VOICE_BUDGET: Final = 600
"""Tokens of memory in a prompt: each one delays the first word."""

DEFAULT_CONVERSATION: Final = "default"
"""Where a call is kept that has neither a name nor a thread."""

DOOR: Final = "voice"

_log = logging.getLogger(__name__)


class MemoryCall(TypedDict, total=False):
    """What the nodes write. They bring these channels; a host that wants to see them has them in its own state."""

    memory: Annotated[dict[str, Any], UntrackedValue(dict)]
    """What `memory_load_node` says; in no checkpoint, so a run that is resumed in its middle has it no more. A server
    that keeps what a run streams keeps it too: let the graph's `stream_channels` leave it out."""

    stored: int
    """How many messages `memory_store_node` kept that were not kept before."""

    reason: str | None
    """Why it kept nothing; None where nothing was in the way."""


class CallState(MemoryCall, total=False):
    """What the nodes read of the host's state."""

    messages: list[Any]
    metadata: Any
    conversation: str | None
    call_id: str | None


VoiceNode: TypeAlias = Callable[..., MemoryCall]
"""A function of the state, the runtime and the config of a run: LangGraph's own types have none of all three."""


def memory_load_node(
    memory: Memory,
    *,
    flow: str | None = None,
    configuration: MemoryConfiguration | Mapping[str, Any] | None = None,
    budget: int = VOICE_BUDGET,
    name: str = "memory_load",
) -> VoiceNode:
    """Return the node that meets the caller when a call begins, in one transaction, and says what is known.

    The state gets `memory`, JSON values only: `known` (whether there is anything, or was an earlier conversation),
    `text` (memory for the system prompt, fenced as data, at most `budget` tokens; empty where nothing is known),
    `greeting` (`graphs.greeting.greeting_facts`), `allowed`, `configuration` (what holds, in camelCase),
    `conversation_count`, and `reason`: None, or the code of what kept memory out, with which the call goes on without.

    Whose call it is says `memory_tools.caller.caller`, by the run's context and the metadata in it, in the state and in
    the config; where they name nobody, a LangGraph server's user or the configurable members
    (`memory_tools.context.identify`). `configuration` is the host's own default. What operators stored for the
    organization and for `flow` stands over it, and over that `flowConfiguration.memory` of the context or the metadata
    (seed 004); where that is none, memory is off. Raises InvalidInput where `configuration` is none.
    """
    default = MemoryConfiguration.of(configuration)

    def load(state: CallState, runtime: Runtime[Any], config: RunnableConfig) -> MemoryCall:
        call = _Call(memory, state, runtime, config)
        said: dict[str, Any] = {}
        with (
            surviving(name, "search_memory", "document", door=DOOR) as seen,
            visit(call.person(), writes=True, flow=flow, default=default, run=call.configuration()) as visited,
        ):
            said = _said_of(visited, call, budget)
        return {"memory": said if seen.error is None else _nothing(seen.error)}

    load.__name__ = name
    return load


def memory_store_node(
    memory: Memory,
    *,
    flow: str | None = None,
    configuration: MemoryConfiguration | Mapping[str, Any] | None = None,
    update: Literal["later", "now"] = "later",
    model: BaseChatModel | None = None,
    summarizer: Summarizer | None = None,
    roles: Collection[str] = SPOKEN,
    name: str = "memory_store",
) -> VoiceNode:
    """Return the node that keeps the messages of the state, in one transaction; placed in a flow, it always does.

    It may run once when the caller hangs up, or after each turn: what is kept already is passed over and counts once,
    by the messages' ids, or where they have none that last, because the transcript begins like the one that is kept.
    Only messages of `roles` are kept. The conversation is the state's `conversation` or `call_id`, `callId` or
    `roomName` of the context or the metadata, else the thread, else DEFAULT_CONVERSATION: name each call, so that it
    counts as one. With `update="now"` the document is updated then, by `model` or `summarizer`, or from the person's
    own sentences; else a later update finds the messages.

    The state gets `stored` and `reason` (see MemoryCall). Storing never fails the call: the log and a span say what
    went wrong. Who calls and what is allowed, `memory_load_node` explains. Raises InvalidInput for an unknown `update`,
    where `configuration` is none, and where both a model and a summarizer are to update now.
    """
    if update not in ("later", "now"):
        raise InvalidInput(f"an update is done later or now, not {update!r}")
    default = MemoryConfiguration.of(configuration)
    graph = build_update_graph(memory, model=model, summarizer=summarizer) if update == "now" else None

    def store(state: CallState, runtime: Runtime[Any], config: RunnableConfig) -> MemoryCall:
        call = _Call(memory, state, runtime, config)
        stored, reason, allowed = 0, None, None
        with surviving(name, "create_memory", "conversations", door=DOOR) as seen:
            who = call.person()
            with visit(who, writes=True, flow=flow, default=default, run=call.configuration()) as visited:
                reason = _refusal(visited)
                if reason is None:
                    name_of_call = call.conversation or DEFAULT_CONVERSATION
                    stored = keep_spoken(visited.stores, name_of_call, member(state, "messages") or (), roles)
                    allowed = require_allowed(who, visited.configuration)
            seen.records(stored)
        if seen.error is not None:
            return {"stored": 0, "reason": seen.error}
        if allowed is not None and graph is not None:
            _update(graph, allowed)
        return {"stored": stored, "reason": reason}

    store.__name__ = name
    return store


@dataclass(frozen=True, slots=True)
class _Call:
    """What a run of a node knows of the call."""

    memory: Memory
    state: CallState
    runtime: Runtime[Any]
    config: RunnableConfig

    @property
    def metadata(self) -> tuple[object, object]:
        """What telephony says beside the context."""
        return member(self.state, "metadata"), self.config.get("metadata")

    @property
    def sources(self) -> tuple[object, ...]:
        """Where a host may say more than who calls, in the order in which it counts."""
        context = self.runtime.context
        return context, member(context, "metadata"), *self.metadata, self.config.get("configurable")

    @property
    def conversation(self) -> str | None:
        """The name of the call, or the thread; None where it has neither."""
        here = member(self.state, "conversation", "call_id")
        there = (member(source, "callId", "call_id", "roomName", "room_name") for source in self.sources)
        thread = member(self.config.get("configurable"), "thread_id")
        return next((name for name in (here, *there, thread) if isinstance(name, str) and name), None)

    def person(self) -> UserMemory:
        """Return the memory of who calls; raises NoIdentity and InvalidIdentity."""
        context = self.runtime.context
        if isinstance(context, UserMemory):
            return person(self.memory, context)
        who = caller(context, *self.metadata, default_region=self.memory.default_region)
        if who is not None:
            return person(self.memory, who)
        if phone_said(context, *self.metadata) is not None:
            # The number is withheld: the user of a telephony server would share one memory among all such callers.
            raise NoIdentity
        server_user = None if self.runtime.server_info is None else self.runtime.server_info.user
        found = identify(self.memory, Run(None, server_user, self.config.get("configurable") or {}))
        if organization_said(context, *self.metadata) not in (None, found.identity.organization):
            raise NoIdentity("The organization is one thing in the context, and another where the user is named.")
        return found

    def configuration(self) -> MemoryConfiguration | None:
        """Return the configuration that came with the run; raises InvalidInput where it is none."""
        given = (member(source, "flowConfiguration", "flow_configuration") for source in self.sources)
        flow = next((each for each in given if each is not None), None)
        if flow is None:
            return None
        if not isinstance(flow, Mapping) and not hasattr(flow, "memory"):
            raise InvalidInput("the configuration of a flow is an object")
        return MemoryConfiguration.of(member(flow, "memory"))


def _said_of(visited: Visit, call: _Call, budget: int) -> dict[str, Any]:
    """Return what the load node says of the person whom a visit found."""
    recollection = recollect(visited, conversation=call.conversation, budget=budget)
    configuration = visited.configuration.model_dump(by_alias=True)
    if recollection.known is None:
        return _nothing(_refusal(visited)) | {"configuration": configuration}
    totals = visited.stores.conversations.totals()
    greeting = greeting_facts(recollection.known, totals)
    return {
        "known": greeting["known"],
        "text": "\n\n".join(recollection.texts),
        "greeting": greeting,
        "allowed": True,
        "configuration": configuration,
        "conversation_count": totals.conversations,
        "reason": None,
    }


def _nothing(reason: str | None) -> dict[str, Any]:
    """Return what the load node says where memory is kept out."""
    return {
        "known": False,
        "text": "",
        "greeting": greeting_facts(Known(0, {}), Totals(0, 0, 0, None)),
        "allowed": False,
        "configuration": {},
        "conversation_count": 0,
        "reason": reason,
    }


def _refusal(visited: Visit) -> str | None:
    """Return why the configuration allows nothing, as a code; None where it does."""
    if visited.allowed:
        return None
    code = NoIdentity.code if visited.configuration.enabled else MemoryDisabled.code
    _log.info("the configuration keeps memory out of this call (%s)", code)
    return code


def _update(graph: UpdateGraph, who: UserMemory) -> None:
    context: Any = who  # bound already: nothing about them is looked up twice
    with surviving("update", "update_memory", "document", door=DOOR) as seen:
        result = graph.invoke({"messages": []}, context=context)
        if result["status"] == "failed":
            seen.failed(result["error"])
