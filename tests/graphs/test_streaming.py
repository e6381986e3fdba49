import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from blockbuster import BlockingError, blockbuster_ctx
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph

from graphs.summarizer import ModelSummarizer
from graphs.testing import ScriptedChatModel
from graphs.update import aupdate_memory, build_update_graph, update_memory
from memory_tools.context import MemoryContext
from memory_tools.memory import Memory, UserMemory

GIVEN = [{"role": "user", "content": "I drink gunpowder tea."}]
TEA = {"summary": "Ada drinks gunpowder tea."}
ADA = MemoryContext(user_id="ada")


class Talkative(ModelSummarizer):
    """What the summarizer would be if it forgot to ask in private."""

    def __init__(self, model: ScriptedChatModel) -> None:
        super().__init__(model)
        self._aloud = model

    def summarize(self, document: Any, material: Any) -> Any:
        self._aloud.invoke("speak up")
        return super().summarize(document, material)


def host(memory: Memory, summarizer: Any) -> Any:
    """A graph that answers the person, and updates the memory afterwards."""
    speaker = ScriptedChatModel.of("Enjoy your tea!")
    builder = StateGraph(MessagesState, context_schema=MemoryContext)
    builder.add_node("speak", lambda state: {"messages": [speaker.invoke(state["messages"])]})
    builder.add_node("remember", build_update_graph(memory, summarizer=summarizer))
    builder.add_edge(START, "speak")
    builder.add_edge("speak", "remember")
    return builder.compile()


def spoken(messages: Iterable[Any]) -> list[str]:
    """Return the texts of the messages of which these are the tokens."""
    texts: dict[str, str] = {}
    for message in messages:
        texts[message.id] = texts.get(message.id, "") + message.text
    return list(texts.values())


def streamed(graph: Any) -> list[str]:
    given = {"messages": [HumanMessage("I drink gunpowder tea.", id="m1")]}
    stream = graph.stream(given, context=ADA, stream_mode="messages", subgraphs=True)
    return spoken(message for _, (message, _) in stream)


def test_what_the_summarizer_says_stays_out_of_the_hosts_messages(memory: Memory, person: UserMemory) -> None:
    assert streamed(host(memory, ModelSummarizer(ScriptedChatModel.of("no", TEA)))) == ["Enjoy your tea!"]
    assert person.document.current().document["summary"] == TEA["summary"]
    kept = person.conversations.messages("default").entries
    assert [message.role for message in kept] == ["user", "assistant"]


def test_a_summarizer_that_speaks_up_is_heard(memory: Memory) -> None:
    assert "I am here" in streamed(host(memory, Talkative(ScriptedChatModel.of("I am here", TEA))))


def test_an_async_host_hears_nothing_either(memory: Memory) -> None:
    graph = host(memory, ModelSummarizer(ScriptedChatModel.of(TEA)))

    async def run() -> list[str]:
        given = {"messages": [HumanMessage("I drink gunpowder tea.", id="m1")]}
        stream = graph.astream(given, context=ADA, stream_mode="messages", subgraphs=True)
        return spoken([message async for _, (message, _) in stream])

    assert asyncio.run(run()) == ["Enjoy your tea!"]


STAGES = ["recall", "gather", "summarize", "diff", "guard", "save"]


def test_progress_names_the_stages_and_tells_no_content(person: UserMemory) -> None:
    events: list[Any] = []
    update_memory(person, messages=GIVEN, model=ScriptedChatModel.of(TEA), on_progress=events.append)
    assert [event["stage"] for event in events] == STAGES
    assert "gunpowder" not in repr(events)
    events.clear()
    update_memory(person, on_progress=events.append)
    assert [event["stage"] for event in events] == ["recall", "gather", "save"]


def test_the_async_twin_does_the_same_and_blocks_nothing(person: UserMemory) -> None:
    events: list[Any] = []
    model = ScriptedChatModel.of("no", TEA)

    async def run() -> Any:
        first = await aupdate_memory(person, messages=GIVEN, model=model, on_progress=events.append)
        return first, await aupdate_memory(person, messages=[{"role": "user", "content": "I love trains."}])

    with blockbuster_ctx():
        first, second = asyncio.run(run())
    assert (first.status, second.status) == ("saved", "saved")
    assert [event["stage"] for event in events] == STAGES
    assert person.document.current().version == 2


def test_the_graph_blocks_no_event_loop(memory: Memory, person: UserMemory) -> None:
    graph = build_update_graph(memory, model=ScriptedChatModel.of(TEA))
    with blockbuster_ctx():
        result = asyncio.run(graph.ainvoke({"messages": GIVEN}, context=ADA))
    assert result["status"] == "saved"


def test_a_blocking_summarizer_would_be_noticed(memory: Memory) -> None:
    import time

    class Sleepy(ModelSummarizer):
        async def asummarize(self, document: Any, material: Any) -> Any:
            time.sleep(0.001)
            return await super().asummarize(document, material)

    graph = build_update_graph(memory, summarizer=Sleepy(ScriptedChatModel.of(TEA)))
    with blockbuster_ctx(), pytest.raises(BlockingError):
        asyncio.run(graph.ainvoke({"messages": GIVEN}, context=ADA))


def test_the_model_is_awaited_on_the_loop(person: UserMemory) -> None:
    import threading

    threads: list[str] = []

    class Awaited(ScriptedChatModel):
        async def _agenerate(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
            threads.append(threading.current_thread().name)
            return self._generate(messages)

    model = Awaited()
    model._answers = [TEA]
    asyncio.run(aupdate_memory(person, messages=GIVEN, model=model))
    assert threads == ["MainThread"]


def test_the_messages_of_a_langgraph_host_are_learnt_once(memory: Memory, person: UserMemory) -> None:
    model = ScriptedChatModel.of(TEA)
    graph = build_update_graph(memory, model=model)
    given: Any = {"messages": [HumanMessage("I drink tea.", id="m1"), AIMessage("Noted.", id="m2")]}
    assert graph.invoke(given, context={"user_id": "ada"})["status"] == "saved"
    assert graph.invoke(given, context={"user_id": "ada"})["status"] == "nothing_new"
