"""Update: the loop `recall -> gather -> summarize -> diff -> guard -> save`, as a graph, as nodes, and as functions."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Literal, TypeAlias, cast

from langchain_core.language_models import BaseChatModel
from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import RetryPolicy

from graphs.extractive import ExtractiveSummarizer
from graphs.isolated import IsolatedGraph
from graphs.material import Source
from graphs.nodes import DatabaseNodes, SummarizeNode
from graphs.state import Status, UpdateInput, UpdateOutput, UpdateState
from graphs.storing import patiently
from graphs.summarizer import ModelSummarizer, Summarizer
from graphs.surviving import surviving
from memory_tools.context import MemoryContext
from memory_tools.memory import Memory, UserMemory
from memory_tools.telemetry import Observation
from memory_tools.visit import require_allowed
from storage.errors import DatabaseUnavailable, InvalidInput
from storage.items import DEFAULT_NAMESPACE
from storage.json_types import Patch

STEPS: Final = ("recall", "gather", "summarize", "diff", "guard", "save")
"""The nodes in their order."""

RESULT: Final = list(UpdateOutput.__annotations__)
"""The members of a result."""

RETRIED: Final = (ConnectionError, TimeoutError)
"""Errors of a model that are tried again by default; the clients of most providers do so themselves."""

Progress: TypeAlias = Mapping[str, Any]
"""One event of a run: its `stage`, and numbers; never content."""

UpdateGraph: TypeAlias = CompiledStateGraph[UpdateState, MemoryContext, UpdateInput, UpdateOutput]


@dataclass(frozen=True, slots=True)
class UpdateResult:
    """What became of one run. All members are JSON values."""

    status: Status
    version: int
    """The version in force now."""

    pending_id: str | None
    """The pending version that waits, where the change was held."""

    patch: Patch
    """What was saved, or is held; empty where nothing was."""

    objections: list[dict[str, Any]]
    """Why the guard holds the change."""

    error: str | None
    """The code of what went wrong. Only after `summarizer_failed` the messages count as seen, and are left behind."""

    reason: str | None
    """After `summarizer_failed`, why the last answer was of no use: a code such as `not_json`, where one is known."""

    tokens: dict[str, int] | None
    """What the model was paid for, `{"input", "output"}`, also in vain."""

    more: bool
    """Whether messages are left for the next run."""


def update_nodes(
    memory: Memory,
    *,
    model: BaseChatModel | None = None,
    summarizer: Summarizer | None = None,
    sources: Sequence[Source] = (),
    roles: Collection[str] = ("user", "assistant"),
    item_namespaces: Sequence[str] = (DEFAULT_NAMESPACE,),
) -> dict[str, Any]:
    """Return the nodes by name, to place in another graph in the order of STEPS, with `next_round` behind `save`.

    They bring the channels they need; those that hold memory are never in a checkpoint. A `values` stream of the host
    shows them like all of its channels: where that leaves the process, run the compiled graph as one node instead.
    `messages` and `conversation` are the host's, and whose memory it is says the context of the run
    (`memory_tools.run.person`). `summarize` is a runnable with both ways, the others are plain functions.
    """
    database = DatabaseNodes(memory, roles, item_namespaces, sources)
    return {
        "recall": database.recall,
        "gather": database.gather,
        "summarize": SummarizeNode(_summarizer(model, summarizer)),
        "diff": database.diff,
        "guard": database.guard,
        "save": database.save,
    }


def next_round(state: UpdateState) -> Literal["recall", "__end__"]:
    """Return where a run goes after `save`: back to `recall` when others changed the same places meanwhile.

    A run that was resumed from a checkpoint in its middle goes back too: nothing of what it read was kept there.
    """
    return "recall" if state.get("round") else "__end__"


def build_update_graph(
    memory: Memory,
    *,
    model: BaseChatModel | None = None,
    summarizer: Summarizer | None = None,
    sources: Sequence[Source] = (),
    roles: Collection[str] = ("user", "assistant"),
    item_namespaces: Sequence[str] = (DEFAULT_NAMESPACE,),
    retry_model_on: tuple[type[Exception], ...] = RETRIED,
    patient: bool = False,
) -> UpdateGraph:
    """Return the loop as a compiled graph, to run alone (`invoke`, `ainvoke`, `stream`) or as a node of another.

    One run takes what is new about the person in its context, at most `graphs.batch.BATCH_MESSAGES` messages of
    `roles` and conversation memories in the place of others, and ends with a result (`UpdateOutput`). With `model` a
    chat model writes the new document, with `summarizer` whatever it is; with neither, the person's own sentences are
    kept (`graphs.extractive`).
    `item_namespaces` are those whose changed items count as new, `sources` what the host knows beside.
    `retry_model_on` are errors of the model that are tried again; every other one is raised, and what was new stays
    new. Steps for which the database is away are tried three times; with `patient` what the model answered is kept at
    hand for longer (`graphs.storing`). No checkpoint of the graph itself is ever written: a run that broke off begins
    again from the database.
    """
    nodes = update_nodes(
        memory, model=model, summarizer=summarizer, sources=sources, roles=roles, item_namespaces=item_namespaces
    )
    if patient:
        nodes["save"] = patiently(nodes["save"])
    builder = StateGraph(UpdateState, MemoryContext, input_schema=UpdateInput, output_schema=UpdateOutput)
    for name in STEPS:
        retried = retry_model_on if name == "summarize" else (DatabaseUnavailable,)
        once = patient and name == "save"
        builder.add_node(name, nodes[name], retry_policy=None if once else RetryPolicy(retry_on=retried))
    builder.add_edge(START, STEPS[0])
    for step, following in pairwise(STEPS):
        builder.add_edge(step, following)
    builder.add_conditional_edges(STEPS[-1], next_round)
    return IsolatedGraph.of(builder.compile(checkpointer=False, name="update_user_memory"))


def update_memory(
    person: UserMemory,
    *,
    messages: Sequence[Any] | None = None,
    conversation: str | None = None,
    model: BaseChatModel | None = None,
    summarizer: Summarizer | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> UpdateResult:
    """Run the loop once for one person: keep `messages` if there are any, then update the document.

    `on_progress` is told each step. What is too much for one run is left: `more` says so. Raises what the model
    raises, and errors of the database; then what was new stays new. Raises MemoryDisabled where the organization
    switched memory off.
    """
    person = _allowed(person)
    graph = build_update_graph(person.memory, model=model, summarizer=summarizer)
    given = _given(messages, conversation)
    result: Any = {}
    events = graph.stream(given, context=_bound(person), stream_mode=["custom", "values"], output_keys=RESULT)
    for mode, value in events:
        if mode == "values":
            result = value
        elif on_progress is not None:
            on_progress(cast(Progress, value))
    return UpdateResult(**result)


async def aupdate_memory(
    person: UserMemory,
    *,
    messages: Sequence[Any] | None = None,
    conversation: str | None = None,
    model: BaseChatModel | None = None,
    summarizer: Summarizer | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> UpdateResult:
    """Do what `update_memory` does without blocking the event loop; the model is awaited on it."""
    person = await person.memory.threads.run(lambda: _allowed(person))
    graph = build_update_graph(person.memory, model=model, summarizer=summarizer)
    given = _given(messages, conversation)
    result: Any = {}
    events = graph.astream(given, context=_bound(person), stream_mode=["custom", "values"], output_keys=RESULT)
    async for mode, value in events:
        if mode == "values":
            result = value
        elif on_progress is not None:
            on_progress(cast(Progress, value))
    return UpdateResult(**result)


def update_afterwards(graph: UpdateGraph, person: UserMemory, *, door: str) -> None:
    """Update the document behind a run or a call, which goes on whatever becomes of it: the log and a span say so."""
    with surviving("update", "update_memory", "document", door=door) as seen:
        _note(seen, graph.invoke(_given(None, None), context=_bound(person)))


async def aupdate_afterwards(graph: UpdateGraph, person: UserMemory, *, door: str) -> None:
    """Do the same, awaiting the model."""
    with surviving("update", "update_memory", "document", door=door) as seen:
        _note(seen, await graph.ainvoke(_given(None, None), context=_bound(person)))


def generate_memory_update(
    memory: Memory, user: str, *, model: BaseChatModel | None = None, **identity: Any
) -> UpdateResult:
    """Update the memory of `user` with what is new (seed 001); `identity` may name the organization or a phone."""
    return update_memory(memory.of(user=user, **identity), model=model)


def _given(messages: Sequence[Any] | None, conversation: str | None) -> UpdateInput:
    return {"messages": list(messages or ()), "conversation": conversation}


def _allowed(person: UserMemory) -> UserMemory:
    """Return the person as their organization's configuration lets them be known."""
    return require_allowed(person, person.memory.configurations.effective(person.identity.organization))


def _bound(person: UserMemory) -> Any:
    """Return the context of a run for a person who is bound already: nothing about them is looked up twice."""
    return person


def _note(seen: Observation, result: Mapping[str, Any]) -> None:
    if result["status"] == "failed":
        seen.failed(result["error"])


def _summarizer(model: BaseChatModel | None, summarizer: Summarizer | None) -> Summarizer:
    if model is not None and summarizer is not None:
        raise InvalidInput("give a model or a summarizer, not both")
    if summarizer is not None:
        return summarizer
    return ExtractiveSummarizer() if model is None else ModelSummarizer(model)
