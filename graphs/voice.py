"""Voice: the nodes that remember a caller when a call begins, and keep what was said (seed 004)."""

import logging
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias
from uuid import UUID

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableConfig
from langgraph.channels import UntrackedValue
from langgraph.runtime import Runtime
from typing_extensions import TypedDict

from graphs.call import Call, Host
from graphs.greeting import greeting_facts
from graphs.recollection import fingerprint, recollect, require_same_person
from graphs.spoken import SPOKEN, keep_spoken
from graphs.summarizer import Summarizer
from graphs.surviving import surviving
from graphs.transcript import DEFAULT_CONVERSATION
from graphs.update import build_update_graph, update_afterwards
from memory_tools.known import Known
from memory_tools.memory import Memory
from memory_tools.run import Identify
from memory_tools.visit import Visit, require_allowed
from storage.configuration import MemoryConfiguration
from storage.conversations import Totals
from storage.errors import InvalidInput, MemoryDisabled, NoIdentity

VOICE_BUDGET: Final = 600
"""Tokens of memory in a prompt: each one delays the first word."""

DOOR: Final = "voice"

_log = logging.getLogger(__name__)


class MemoryCall(TypedDict, total=False):
    """What the nodes write and a host tells them: derive your state from it, or LangGraph drops what it does not know.

    `metadata` and `conversation` may also come with the context or the config of a run.
    """

    metadata: Any
    """What telephony says of the call (`memory_tools.caller`)."""

    conversation: str | None
    """The name of the call."""

    memory: Annotated[dict[str, Any], UntrackedValue(dict)]
    """What `memory_load_node` says; in no checkpoint, so a run that is resumed in its middle has it no more. A server
    that keeps what a run streams keeps it too: let the graph's `stream_channels` leave it out."""

    memory_met: dict[str, Any]
    """Whom a thread met (hashed), and behind which message: what was said before was somebody's who is gone."""

    stored: int
    """How many messages `memory_store_node` kept that were not kept before."""

    reason: str | None
    """Why it kept nothing; None where nothing was in the way."""


class CallState(MemoryCall, total=False):
    """What the nodes read of the host's state."""

    messages: list[Any]
    call_id: str | None


VoiceNode: TypeAlias = Callable[..., MemoryCall]
"""A function of the state, the runtime and the config of a run: LangGraph's own types have none of all three."""


def memory_load_node(
    memory: Memory,
    *,
    flow: str | None = None,
    configuration: MemoryConfiguration | Mapping[str, Any] | None = None,
    budget: int = VOICE_BUDGET,
    identify: Identify | None = None,
    name: str = "memory_load",
) -> VoiceNode:
    """Return the node that meets the caller when a call begins, and says what is known.

    It reads in one transaction, and makes a caller whom nobody knows in another one. The state gets `memory`, JSON
    values only: `known` (whether there is anything, or was an earlier conversation), `text` (memory for the system
    prompt, fenced as data, at most `budget` tokens; empty where nothing is known), `greeting`
    (`graphs.greeting.greeting_facts`), `allowed`, `configuration` (what holds, in camelCase), `conversation_count`,
    `person` (a hash that tells the store node who it was), and `reason`: None, or the code of what kept memory out,
    with which the call goes on without.

    Whose call it is says `memory_tools.caller.caller`, by the run's context and the metadata in it, in the state and in
    the config; where they name nobody, a LangGraph server's user or the configurable members
    (`memory_tools.run.identify`). Once a server authenticated a user, metadata of the state and the config are the
    client's word: only the context counts, else that user; and where they hold a number, nobody is named, because a
    backend that signs in for its callers would give all of them one memory. `identify`, a host's own rule, replaces all
    of this.

    `configuration` is the host's own default. What operators stored for the organization and for `flow` stands over it,
    and over that `flowConfiguration.memory` (seed 004) of the context or the metadata in it. One that comes from
    elsewhere only takes away; where any of them is none, memory is off. Raises InvalidInput where `configuration` is
    none, and InvalidName for a `flow` that is none.
    """
    host = Host.of(memory, flow, configuration, identify)

    def load(state: CallState, runtime: Runtime[Any], config: RunnableConfig) -> MemoryCall:
        call = Call(host, state, runtime, config)
        said: dict[str, Any] = {}
        with surviving(name, "search_memory", "document", door=DOOR) as seen:
            who = call.person()
            with call.visit(who, writes=False) as visited:
                said = _said_of(visited, call, budget)
            if visited.allowed and visited.owner is None:
                with call.visit(who, writes=True) as visited:
                    said = _said_of(visited, call, budget)
        if seen.error is not None:
            return {"memory": _nothing(seen.error)}
        met = call.meeting(said.get("person"))
        return {"memory": said} if met is None else {"memory": said, "memory_met": met}

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
    identify: Identify | None = None,
    name: str = "memory_store",
) -> VoiceNode:
    """Return the node that keeps the messages of the state, in one transaction; placed in a flow, it always does.

    It may run once when the caller hangs up, or after each turn: what is kept already is passed over and counts once,
    by the messages' ids, or where they have none that last, because within SAME_CALL the transcript begins like the one
    that is kept. Only messages of `roles` are kept. The conversation is the state's `conversation` or `call_id`,
    `callId` or `roomName` of the context or the metadata, else the thread, else DEFAULT_CONVERSATION: name each call,
    so that it counts as one. With `update="now"` the document is updated then, by `model` or `summarizer`, or from the
    person's own sentences; else a later update finds the messages.

    The state gets `stored` and `reason` (see MemoryCall). Storing never fails the call: the log and a span say what
    went wrong. Of a person who was erased since `memory_load_node` nothing is kept, and `reason` is `erased`. Who calls
    and what is allowed, that node explains. Raises InvalidInput for an unknown `update`, where `configuration` is none,
    and where both a model and a summarizer are to update now; InvalidName for a `flow` that is none.
    """
    if update not in ("later", "now"):
        raise InvalidInput(f"an update is done later or now, not {update!r}")
    host = Host.of(memory, flow, configuration, identify)
    graph = build_update_graph(memory, model=model, summarizer=summarizer) if update == "now" else None

    def store(state: CallState, runtime: Runtime[Any], config: RunnableConfig) -> MemoryCall:
        call = Call(host, state, runtime, config)
        stored, reason, allowed = 0, None, None
        with surviving(name, "create_memory", "conversations", door=DOOR) as seen:
            who = call.person()
            with call.visit(who, writes=True) as visited:
                reason = _refusal(visited)
                if reason is None:
                    require_same_person(visited.stores, call.remembered)
                    conversation = call.conversation or DEFAULT_CONVERSATION
                    stored = keep_spoken(visited.stores, conversation, call.said_since_met, roles)
                    allowed = require_allowed(who, visited.configuration)
            seen.records(stored)
        if seen.error is not None:
            return {"stored": 0, "reason": seen.error}
        if allowed is not None and graph is not None:
            update_afterwards(graph, allowed, door=DOOR)
        return {"stored": stored, "reason": reason}

    store.__name__ = name
    return store


def _said_of(visited: Visit, call: Call, budget: int) -> dict[str, Any]:
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
        "person": _hashed(visited.owner),
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
        "person": None,
        "reason": reason,
    }


def _refusal(visited: Visit) -> str | None:
    """Return why the configuration allows nothing, as a code; None where it does."""
    if visited.allowed:
        return None
    code = NoIdentity.code if visited.configuration.enabled else MemoryDisabled.code
    _log.info("the configuration keeps memory out of this call (%s)", code)
    return code


def _hashed(owner: UUID | None) -> str | None:
    return None if owner is None else fingerprint(owner)
