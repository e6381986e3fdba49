"""Nodes: the six steps of the update loop, each doing one thing."""

from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.config import get_stream_writer
from langgraph.runtime import Runtime

from graphs.answer import Unusable, checked_document
from graphs.asking import NoUsableAnswer, added, charge, paid, reason_of
from graphs.batch import Batch, next_batch
from graphs.evidence import provenance
from graphs.private import Private
from graphs.state import Bill, Change, GatherState, Recalled, Status, UpdateState
from graphs.summarizer import Summarizer, Summary
from graphs.transcript import DEFAULT_CONVERSATION, conversation_name, transcript
from memory_tools.context import MemoryContext
from memory_tools.memory import Memory, UserMemory
from memory_tools.run import person
from memory_tools.telemetry import count_outcome, observed
from memory_tools.visit import require_allowed
from storage.difference import proven_difference
from storage.document import strip_rendered
from storage.errors import IdempotencyKeyReused, InvalidInput, MemoryDisabled, SummarizerFailed, VersionConflict
from storage.guard import examine
from storage.outcome import Held, Outcome, Saved
from storage.provenance import TokenUsage
from storage.stores import Stores

ROUNDS = 3
"""How often a run begins, when others change the same places of the document meanwhile."""

DOOR: Final = "loop"
"""The door that telemetry names."""

INTERRUPTED: Final = "interrupted"
"""The error of a run that was resumed in its middle, where nothing is left of it: checkpoints never hold memory."""


class _Overtaken(Exception):
    """Another run recorded an outcome for the same material first."""


@dataclass(frozen=True)
class DatabaseNodes:
    """The nodes that read and write the database: plain functions, which LangGraph runs in threads under `ainvoke`."""

    memory: Memory
    roles: Collection[str]
    namespaces: Sequence[str]
    sources: Sequence[Any]

    def recall(self, state: UpdateState, runtime: Runtime[MemoryContext]) -> UpdateState:
        """Read the newest version of the document, and forget what an earlier round or run left."""
        runtime.stream_writer({"stage": "recall"})
        with observed("search_memory", name="recall", store="document", door=DOOR):
            snapshot = self._person(runtime).document.current()
        recalled = Recalled(snapshot.version, strip_rendered(snapshot.document))
        spent = state.get("tokens") if state.get("round") else None
        begun = UpdateState(recalled=Private(recalled), version=recalled.version, tokens=spent, bill=Private(Bill()))
        return _nothing_yet() | begun

    def gather(self, state: GatherState, runtime: Runtime[MemoryContext], config: RunnableConfig) -> UpdateState:
        """Keep the messages that came with the run, and read what is new since the cursors."""
        who = self._person(runtime)
        messages = state.get("messages")
        if messages and not state.get("round"):
            run = runtime.execution_info.task_id if runtime.execution_info else ""
            thread = conversation_name(config.get("configurable", {}).get("thread_id"))
            name = state.get("conversation") or thread or DEFAULT_CONVERSATION
            who.conversations.append(name, transcript(messages, run))
        batch = next_batch(who, roles=self.roles, namespaces=self.namespaces, sources=self.sources)
        runtime.stream_writer({"stage": "gather", "messages": len(batch.material.said), "more": batch.more})
        return {"batch": Private(batch), "more": batch.more}

    def _person(self, runtime: Runtime[MemoryContext]) -> UserMemory:
        """Return whom the run is about. A person who is bound already was allowed where they were bound."""
        who = person(self.memory, runtime.context)
        if isinstance(runtime.context, UserMemory):
            return who
        return require_allowed(who, self.memory.configurations.effective(who.identity.organization))

    def diff(self, state: UpdateState, runtime: Runtime[MemoryContext]) -> UpdateState:
        """Make the patch from the recalled to the new document, and prove it by applying it."""
        recalled, batch, summary = _held(state, "recalled"), _held(state, "batch"), _held(state, "summary")
        if recalled is None or batch is None or summary is None:
            return {}
        runtime.stream_writer({"stage": "diff"})
        before, after = recalled.document, summary.document
        sources = provenance(before, after, summary, batch.material, _usage(state))
        return {"patch": proven_difference(before, after), "change": Private(Change(after, sources))}

    def guard(self, state: UpdateState, runtime: Runtime[MemoryContext]) -> UpdateState:
        """Say what the guard will object to. Saving asks it again, and that is what counts."""
        recalled, change = _held(state, "recalled"), _held(state, "change")
        if recalled is None or change is None:
            return {}
        runtime.stream_writer({"stage": "guard"})
        rules = self.memory.database.policy.guard
        objections = examine(recalled.document, change.document, rules, trust=change.provenance.trust)
        return {"objections": [objection.as_json() for objection in objections]}

    def save(self, state: UpdateState, runtime: Runtime[MemoryContext]) -> UpdateState:
        """Record the outcome, and move the cursors, in one transaction; or send the run back to its beginning.

        What no summarizer could make anything of is left behind (`CursorStore.go_back`).
        """
        with observed("update_memory", name="save", store="document", door=DOOR) as seen:
            result = self._recorded(state, runtime)
            if result.get("error"):
                seen.failed(str(result["error"]))
        if not result.get("round"):  # else the run goes back to its beginning
            count_outcome(result["status"])
        event = {"stage": "save", "status": result["status"], "version": result.get("version", state.get("version"))}
        runtime.stream_writer(event)
        return result

    def _recorded(self, state: UpdateState, runtime: Runtime[MemoryContext]) -> UpdateState:
        batch, change, failed = _held(state, "batch"), _held(state, "change"), state.get("error")
        if batch is None or (batch.material and change is None and not failed):
            return _again(state, INTERRUPTED)
        if change is None and not batch.moves:
            return _ended(state)
        who = self._person(runtime)
        if not who.identity.names and not self.memory.configurations.effective(who.identity.organization).enabled:
            raise MemoryDisabled  # a job knows people by no name, and memory may have been switched off while it asked
        try:
            with who.begin() as stores:
                batch.require_same_person(stores)
                outcome = None if change is None else _appended(stores, change, _held(state, "recalled"), batch)
                if batch.overtaken(stores):
                    raise _Overtaken
                if failed:
                    batch.leave_behind(stores)
                else:
                    batch.record(stores)
        except (_Overtaken, IdempotencyKeyReused):
            return _ended(state) | UpdateState(
                status="nothing_new", error=None, reason=None, version=who.document.current().version
            )
        except (VersionConflict, InvalidInput) as conflict:  # alone, or in what a merge made of both sides
            return _again(state, conflict.code)
        return _ended(state) if outcome is None else _result(outcome)


def _appended(stores: Stores, change: Change, recalled: Recalled, batch: Batch) -> Outcome:
    # The lock of the head row makes two runs wait for each other. Before the first version there is none, and the
    # idempotency key is what the second one waits at.
    key = "update:" + ",".join(map(str, batch.since.values())) if recalled.version == 0 and batch.moves else None
    return stores.snapshots.append(
        change.document, expected_version=recalled.version, provenance=change.provenance, idempotency_key=key
    )


class SummarizeNode(Runnable[UpdateState, UpdateState]):
    """The node that asks the summarizer: under `ainvoke` the model is awaited on the event loop, without a thread."""

    name = "summarize"

    def __init__(self, summarizer: Summarizer) -> None:
        self._summarizer = summarizer

    def __call__(self, state: UpdateState) -> UpdateState:
        """Do the same as `invoke`; here LangGraph reads which state the node takes."""
        return self.invoke(state)

    def invoke(self, input: UpdateState, config: RunnableConfig | None = None, **_: Any) -> UpdateState:  # noqa: A002
        """Make the new document, unless there is nothing new."""
        question = _question(input)
        if question is None:
            return {}
        recalled, batch = question
        try:
            with _billing(input):
                summary = self._summarizer.summarize(recalled.document, batch.material)
            return _summarized(summary, recalled, batch, input)
        except SummarizerFailed as failure:
            return _failed(failure, input)

    async def ainvoke(
        self,
        input: UpdateState,  # noqa: A002
        config: RunnableConfig | None = None,
        **_: Any,
    ) -> UpdateState:
        """Do the same, awaiting the model."""
        question = _question(input)
        if question is None:
            return {}
        recalled, batch = question
        try:
            with _billing(input):
                summary = await self._summarizer.asummarize(recalled.document, batch.material)
            return _summarized(summary, recalled, batch, input)
        except SummarizerFailed as failure:
            return _failed(failure, input)


def _held(state: UpdateState, name: Literal["recalled", "batch", "summary", "change", "bill"]) -> Any:
    """Return what an earlier node handed on; None where there is nothing, or where only a serializer's copy is left."""
    private = state.get(name)
    return None if private is None else private.value


def _question(state: UpdateState) -> tuple[Recalled, Batch] | None:
    recalled, batch = _held(state, "recalled"), _held(state, "batch")
    if recalled is None or batch is None or not batch.material:
        return None
    get_stream_writer()({"stage": "summarize", "messages": len(batch.material.said)})
    return recalled, batch


def _summarized(summary: Summary, recalled: Recalled, batch: Batch, state: UpdateState) -> UpdateState:
    """Return what is new in the state, once the document of whatever summarizer can be kept."""
    try:
        document = checked_document(summary.document, before=recalled.document, schema=batch.material.schema)
    except Unusable as unusable:
        raise NoUsableAnswer(str(unusable), tokens=summary.tokens, reason=unusable.reason) from None
    checked = Summary(document, summary.evidence, summary.model, summary.prompt, summary.tokens)
    return {"summary": Private(checked), "tokens": _spent(state, summary.tokens)}


def _failed(failure: SummarizerFailed, state: UpdateState) -> UpdateState:
    return {"error": failure.code, "reason": reason_of(failure), "tokens": _spent(state, paid(failure))}


@contextmanager
def _billing(state: UpdateState) -> Generator[None]:
    """Let an error that leaves the block say what was paid in this round so far, and remember that for the next try."""
    try:
        yield
    except SummarizerFailed:
        raise
    except BaseException as error:
        bill = _held(state, "bill") or Bill()
        bill.tokens = added(bill.tokens, paid(error))
        charge(error, bill.tokens)
        raise


def _spent(state: UpdateState, tokens: TokenUsage | None) -> dict[str, int] | None:
    """Return what the run has cost so far, its earlier rounds and the tries that broke off included."""
    bill = _held(state, "bill") or Bill()
    total = added(added(_usage(state), bill.tokens), tokens)
    return None if total is None else total.as_json()


def _usage(state: UpdateState) -> TokenUsage | None:
    spent = state.get("tokens")
    return None if spent is None else TokenUsage(**spent)


def _nothing_yet() -> UpdateState:
    empty = UpdateState(summary=Private(), change=Private(), pending_id=None, patch=[], objections=[])
    return empty | UpdateState(error=None, reason=None)


def _ended(state: UpdateState) -> UpdateState:
    """Return the end of a run that saved nothing: the version in force is the one it started from."""
    status: Status = "failed" if state.get("error") else "nothing_new"
    return _forgotten() | UpdateState(status=status, patch=[], objections=[])


def _again(state: UpdateState, error: str) -> UpdateState:
    """Send the run back to its beginning, and after the last round report the error; the material stays new."""
    begun = state.get("round", 0) + 1
    nothing = UpdateState(status="failed", error=error, reason=None, pending_id=None, patch=[], objections=[])
    known = UpdateState(version=state.get("version", 0), tokens=state.get("tokens"), more=state.get("more", False))
    return _forgotten() | nothing | known | UpdateState(round=begun if begun < ROUNDS else 0)


def _result(outcome: Outcome) -> UpdateState:
    result = _forgotten() | UpdateState(version=outcome.version, patch=[], objections=[])
    match outcome:
        case Saved():
            return result | UpdateState(status="saved", patch=outcome.patch)
        case Held():
            objections = [objection.as_json() for objection in outcome.objections]
            held = UpdateState(status="held", patch=outcome.patch, objections=objections)
            return result | held | UpdateState(pending_id=outcome.pending_id)
        case _:
            return result | UpdateState(status="unchanged")


def _forgotten() -> UpdateState:
    """Return the state without what was only needed on the way."""
    return {"summary": Private(), "change": Private(), "round": 0}
