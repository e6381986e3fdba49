"""Middleware: memory for an agent of `langchain.agents.create_agent`, before the model and after the run."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, NotRequired

try:
    from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse
    from langchain.agents.middleware.types import PrivateStateAttr
    from langchain.chat_models import init_chat_model
except ModuleNotFoundError as missing:
    if (missing.name or "").partition(".")[0] != "langchain":
        raise
    raise ImportError("the middleware needs langchain 1.2 or newer: pip install 'usermemory[agents]'") from missing
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AnyMessage, SystemMessage
from langgraph.channels import UntrackedValue
from langgraph.config import get_config
from langgraph.runtime import Runtime

from graphs.private import Private
from graphs.recollection import BUDGET, LEAST_BUDGET, Recollection, recollect, require_same_person
from graphs.summarizer import Summarizer
from graphs.surviving import surviving
from graphs.transcript import DEFAULT_CONVERSATION, conversation_name, transcript
from graphs.turn import incoming, turn
from graphs.update import UpdateGraph, aupdate_afterwards, build_update_graph, update_afterwards
from memory_tools.langchain import get_user_memory_tools
from memory_tools.memory import Memory, UserMemory, opened
from memory_tools.run import Identify, Run, identify
from memory_tools.visit import require_allowed, visit
from storage.configuration import MemoryConfiguration
from storage.errors import InvalidInput, NoIdentity

DOOR: Final = "middleware"


@dataclass(frozen=True, slots=True)
class _Begun:
    """What a run began with. It holds memory and messages: no checkpoint may keep it."""

    recollection: Recollection | None
    """What was read; None where that failed."""

    messages: tuple[AnyMessage, ...]
    named: bool
    """Whether the run names somebody."""


class MemoryState(AgentState[Any]):
    """What the middleware adds to the state of an agent; neither is shown to a caller."""

    user_memory: NotRequired[Annotated[Private[dict[str, _Begun]], UntrackedValue(object), PrivateStateAttr]]
    """What the run began with, by the middleware's name; in no checkpoint, and empty to whatever writes it down."""

    user_memory_sent: NotRequired[Annotated[dict[str, Any] | None, PrivateStateAttr]]
    """Which version of whose memory (hashed) the thread was sent, by the middleware's name: no content, so it stays."""


class UserMemoryMiddleware(AgentMiddleware[MemoryState, Any, Any]):
    """Tells the model what is known about the person, and keeps what was said.

    Before the run it reads memory once and puts it behind the host's own system prompt, fenced as data, within a token
    budget. After the run it keeps the turn's messages where `auto_store` is on, and with `update="now"` updates the
    document at once; else a later update finds them. Whose memory it is says the run (`memory_tools.run.identify`).
    Where memory fails or nobody is named, the agent answers without it; the log and a span say so.
    """

    state_schema = MemoryState

    def __init__(
        self,
        memory: Memory | UserMemory,
        *,
        auto_store: bool | None = None,
        tools: bool | Collection[str] = False,
        update: Literal["later", "now"] = "later",
        model: str | BaseChatModel | None = None,
        summarizer: Summarizer | None = None,
        configuration: MemoryConfiguration | Mapping[str, Any] | None = None,
        flow: str | None = None,
        budget: int = BUDGET,
        identify: Identify = identify,
        name: str = "UserMemoryMiddleware",
    ) -> None:
        """Bind the middleware to an open memory.

        `auto_store` and `configuration` are the host's own defaults: what operators stored for the organization or
        the `flow` wins. `tools` brings the agent's operations too, all or those named. `model` or `summarizer` write
        the document when `update` is `"now"`; with neither, the person's own sentences are kept. `budget` is in tokens.
        `name` tells two of them in one agent apart. Raises InvalidInput for what is none of these, for a `model` or a
        `summarizer` without `update="now"`, and for both at once.
        """
        if update not in ("later", "now"):
            raise InvalidInput(f"an update is done later or now, not {update!r}")
        if update == "later" and (model is not None or summarizer is not None):
            raise InvalidInput('a model or a summarizer is for update="now"')
        if budget < LEAST_BUDGET:
            raise InvalidInput(f"a budget is at least {LEAST_BUDGET} tokens, not {budget}")
        wanted = None if tools is True else tools or ()
        self._default = MemoryConfiguration.of(configuration)
        if auto_store is not None:
            self._default = MemoryConfiguration(auto_store=auto_store).over(self._default)
        self.tools = get_user_memory_tools(
            memory, operations=wanted, flow=flow, configuration=self._default, identify=identify
        )
        self._own_tools = {tool.name for tool in self.tools}
        self._memory = memory
        self._threads = opened(memory).threads
        self._graph: UpdateGraph | None = None
        if update == "now":
            writer = init_chat_model(model) if isinstance(model, str) else model
            self._graph = build_update_graph(opened(memory), model=writer, summarizer=summarizer)
        self._flow = flow
        self._budget = budget
        self._identify = identify
        self._name = name

    @property
    def name(self) -> str:
        """The name of its nodes in the agent's graph."""
        return self._name

    def before_agent(self, state: MemoryState, runtime: Runtime[Any]) -> dict[str, Any]:
        """Read what is known about the person, in one transaction."""
        begun = self._begin(state, runtime)
        held: Private[dict[str, _Begun]] = state.get("user_memory") or Private()
        change: dict[str, Any] = {"user_memory": Private((held.value or {}) | {self._name: begun})}
        if begun.recollection is not None:
            change["user_memory_sent"] = (state.get("user_memory_sent") or {}) | {self._name: begun.recollection.sent}
        return change

    async def abefore_agent(self, state: MemoryState, runtime: Runtime[Any]) -> dict[str, Any]:
        """Do the same in a thread."""
        return await self._threads.run(lambda: self.before_agent(state, runtime))

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Put memory behind the host's own system prompt."""
        begun = self._begun(request.state) or self._begin(request.state, request.runtime)
        return handler(self._told(request, begun))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Do the same; a run that was resumed in its middle reads in a thread."""
        begun = self._begun(request.state)
        if begun is None:
            begun = await self._threads.run(lambda: self._begin(request.state, request.runtime))
        return await handler(self._told(request, begun))

    def after_agent(self, state: MemoryState, runtime: Runtime[Any]) -> None:
        """Keep the turn, in one transaction, and update the document where that is wanted at once."""
        person = self._keep(state, runtime)
        if person is not None and self._graph is not None:
            update_afterwards(self._graph, person, door=DOOR)

    async def aafter_agent(self, state: MemoryState, runtime: Runtime[Any]) -> None:
        """Do the same, the database in threads and the model on the event loop."""
        person = await self._threads.run(lambda: self._keep(state, runtime))
        if person is not None and self._graph is not None:
            await aupdate_afterwards(self._graph, person, door=DOOR)

    def _begin(self, state: Any, runtime: Runtime[Any]) -> _Begun:
        recollection = None
        with surviving("recall", "search_memory", "document", door=DOOR) as seen:
            with visit(self._person(runtime), writes=False, flow=self._flow, default=self._default) as visited:
                recollection = recollect(
                    visited, conversation=_thread(runtime), sent=self._sent(state), budget=self._budget
                )
            seen.records(len(recollection.texts))
        return _Begun(
            recollection, incoming(state["messages"], in_thread=_in_thread(runtime)), seen.error != NoIdentity.code
        )

    def _told(self, request: ModelRequest[Any], begun: _Begun) -> ModelRequest[Any]:
        """Return the request with memory in it; without our tools where memory may not be used."""
        recollection = begun.recollection
        if recollection is not None and not recollection.allowed and self._own_tools:
            request = request.override(tools=[tool for tool in request.tools if not self._is_own(tool)])
        if recollection is None or not recollection.texts:
            return request
        told: list[Any] = [] if request.system_message is None else [*request.system_message.content_blocks]
        for text in recollection.texts:  # apart from what stands before, for whoever joins the blocks to one text
            told.append({"type": "text", "text": f"\n\n{text}" if told else text})
        return request.override(system_message=SystemMessage(content=told))

    def _keep(self, state: Any, runtime: Runtime[Any]) -> UserMemory | None:
        """Keep the turn where that is allowed; return the person whose turn was kept."""
        begun = self._begun(state)
        if begun is not None and not begun.named:
            return None
        recollection = None if begun is None else begun.recollection
        if recollection is not None and not (recollection.allowed and recollection.configuration.auto_store):
            return None
        begun_with = None if begun is None else begun.messages
        said = turn(state["messages"], begun_with, in_thread=_in_thread(runtime))
        remembered = self._sent(state) if recollection is None else recollection.sent
        kept = None
        with surviving("keep_turn", "create_memory", "conversations", door=DOOR) as seen:
            person = self._person(runtime)
            with visit(person, writes=True, flow=self._flow, default=self._default) as visited:
                if visited.allowed and visited.configuration.auto_store:
                    require_same_person(visited.stores, remembered)
                    new = transcript(said, run=_run(runtime))
                    seen.records(len(visited.stores.conversations.append(_thread(runtime), new)))
                    kept = require_allowed(person, visited.configuration)
        return kept

    def _person(self, runtime: Runtime[Any]) -> UserMemory:
        if isinstance(self._memory, UserMemory):
            return self._memory
        return self._identify(self._memory, Run.of(runtime, get_config()))

    def _begun(self, state: Any) -> _Begun | None:
        """Return what the run began with; None in a run that was resumed in its middle."""
        private: Private[dict[str, _Begun]] | None = state.get("user_memory")
        return None if private is None or private.value is None else private.value.get(self._name)

    def _sent(self, state: Any) -> dict[str, Any] | None:
        sent: dict[str, Any] | None = (state.get("user_memory_sent") or {}).get(self._name)
        return sent

    def _is_own(self, tool: Any) -> bool:
        return getattr(tool, "name", None) in self._own_tools


def _thread(runtime: Runtime[Any]) -> str:
    """Return the conversation that a run belongs to: its thread."""
    thread: Any = None if runtime.execution_info is None else runtime.execution_info.thread_id
    return conversation_name(thread) or DEFAULT_CONVERSATION


def _in_thread(runtime: Runtime[Any]) -> bool:
    return _thread(runtime) != DEFAULT_CONVERSATION


def _run(runtime: Runtime[Any]) -> str:
    """Return what tells this run from others, for messages without an id."""
    return "" if runtime.execution_info is None else runtime.execution_info.task_id
