import asyncio
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from operator import add
from typing import Any

import pytest
from blockbuster import blockbuster_ctx
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.utils import message_chunk_to_message
from langchain_core.tools import tool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from pydantic import BaseModel

import graphs
import usermemory
from graphs.testing import ScriptedChatModel, calls, refused, said, truncated, truncated_call

ASKED: list[Any] = [HumanMessage("What is twice four?")]


@tool
def double(number: int) -> int:
    """Return twice a number."""
    return 2 * number


@tool
def halve(number: int) -> float:
    """Return half of a number."""
    return number / 2


class Mood(BaseModel):
    """How somebody feels."""

    word: str


def in_the_loop(run: Callable[[], Any]) -> Any:
    """Await something on an event loop that notices whatever blocks it."""
    with blockbuster_ctx():
        return asyncio.run(run())


def without_id(message: BaseMessage) -> dict[str, Any]:
    return message.model_dump(exclude={"id"})


ANSWERS = [
    said("Two  words,\n\nand a half. ", model_name="oracle-7", finish_reason="stop"),
    said(""),
    calls("double", {"number": 4}, ("halve", {"number": 9}), text="One moment.", finish_reason="tool_calls"),
    calls("double", {}, id="call_1"),
    calls("tell", {"text": 'a "quoted", {braced} text', "deep": [{"é": None}, 1.5, True]}),
    refused(),
    truncated('{"summary": "Ada dri'),
    truncated_call("double", '{"number": 4, "note": "cut o'),
    truncated_call("double", ""),
    AIMessage([{"type": "text", "text": "In a block."}], id="msg_1"),
    AIMessage("With an id.", id="msg_2"),
    AIMessage("Bare."),
]


@pytest.mark.parametrize("answer", ANSWERS)
def test_streamed_chunks_add_up_to_the_message_that_invoke_returns(answer: AIMessage) -> None:
    model = ScriptedChatModel.of(*[answer] * 4)

    async def run() -> tuple[AIMessage, list[AIMessageChunk]]:
        return await model.ainvoke(ASKED), [chunk async for chunk in model.astream(ASKED)]

    whole, chunks = model.invoke(ASKED), list(model.stream(ASKED))
    later, later_chunks = in_the_loop(run)
    for message in (whole, reduce(add, chunks), later, reduce(add, later_chunks)):
        assert without_id(message_chunk_to_message(message)) == without_id(answer)
    assert [chunk.chunk_position for chunk in chunks] == [None] * (len(chunks) - 1) + ["last"]
    assert chunks[-1].usage_metadata == answer.usage_metadata
    assert len({chunk.id for chunk in chunks}) == 1
    assert model.left == 0


def test_a_text_is_streamed_in_words_and_a_call_in_pieces() -> None:
    model = ScriptedChatModel.of(said("Enjoy your tea!"), calls("tell", {"text": "Enjoy your tea!"}))
    assert [chunk.text for chunk in model.stream(ASKED)] == ["Enjoy ", "your ", "tea!", ""]
    pieces = [piece for chunk in model.stream(ASKED) for piece in chunk.tool_call_chunks]
    assert [piece["name"] for piece in pieces] == ["tell", None, None, None, None]
    assert "".join(piece["args"] or "" for piece in pieces) == '{"text": "Enjoy your tea!"}'


def test_a_graph_streams_the_tokens() -> None:
    model = ScriptedChatModel.of(calls("double", {"number": 4}), "It is eight.")
    given: Any = {"messages": ASKED}
    stream = create_agent(model, [double]).stream(given, stream_mode="messages")
    spoken = [message for message, _ in stream if isinstance(message, AIMessageChunk)]
    assert [chunk.text for chunk in spoken if chunk.text] == ["It ", "is ", "eight."]
    assert next(piece["name"] for chunk in spoken for piece in chunk.tool_call_chunks) == "double"


def agent(model: ScriptedChatModel) -> Any:
    return create_agent(model, [double, halve])


def tool_node(model: ScriptedChatModel) -> Any:
    bound = model.bind_tools([double, halve])

    async def aspeak(state: MessagesState) -> Any:
        return {"messages": [await bound.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState)
    builder.add_node("speak", lambda state: {"messages": [bound.invoke(state["messages"])]})
    builder.add_node("tools", ToolNode([double, halve]))
    builder.add_edge(START, "speak")
    builder.add_conditional_edges("speak", tools_condition)
    builder.add_edge("tools", "speak")
    return builder.compile()


@pytest.mark.parametrize("build", [agent, tool_node])
@pytest.mark.parametrize("awaited", [False, True])
def test_an_agent_calls_what_the_script_says(build: Callable[[ScriptedChatModel], Any], awaited: bool) -> None:
    model = ScriptedChatModel.of(calls("double", {"number": 4}, ("halve", {"number": 9})), "Eight, and 4.5.")
    graph, given = build(model), {"messages": ASKED}
    result = asyncio.run(graph.ainvoke(given)) if awaited else graph.invoke(given)
    answers = [message for message in result["messages"] if isinstance(message, ToolMessage)]
    assert {message.name: message.content for message in answers} == {"double": "8", "halve": "4.5"}
    assert result["messages"][-1].text == "Eight, and 4.5."
    assert [len(prompt) for prompt in model.prompts] == [1, 4]
    assert model.bound_tools == [convert_to_openai_tool(double), convert_to_openai_tool(halve)]


def test_a_loop_by_hand_shares_the_script_and_the_record() -> None:
    model = ScriptedChatModel.of(calls("double", {"number": 4}, id="call_7"), "Eight.")
    bound, messages = model.bind_tools([double], tool_choice="double", parallel_tool_calls=False), [*ASKED]
    answer = bound.invoke(messages)
    messages += [answer, double.invoke(answer.tool_calls[0])]
    assert model.bound_tools == [convert_to_openai_tool(double)]
    assert model.invoke(messages).text == "Eight."
    assert model.bound_tools == []
    assert [len(prompt) for prompt in model.prompts] == [1, 3]
    assert messages[-1].tool_call_id == "call_7"


def test_tools_of_every_form_can_be_bound() -> None:
    def greet(name: str) -> str:
        """Greet somebody."""
        return f"Hello {name}!"

    model = ScriptedChatModel.of("Hello!")
    model.bind_tools([greet, Mood, convert_to_openai_tool(double)]).invoke(ASKED)
    assert [each["function"]["name"] for each in model.bound_tools] == ["greet", "Mood", "double"]


def test_structured_output_is_a_tool_call() -> None:
    model = ScriptedChatModel.of(*[calls("Mood", {"word": "glad"})] * 4)
    assert model.with_structured_output(Mood).invoke(ASKED) == Mood(word="glad")
    assert model.with_structured_output(convert_to_openai_tool(Mood)).invoke(ASKED) == {"word": "glad"}
    both = in_the_loop(lambda: model.with_structured_output(Mood, include_raw=True).ainvoke(ASKED))
    assert (both["parsed"], both["parsing_error"]) == (Mood(word="glad"), None)
    assert both["raw"].tool_calls[0]["args"] == {"word": "glad"}
    given: Any = {"messages": ASKED}
    result = create_agent(model, response_format=Mood).invoke(given)
    assert result["structured_response"] == Mood(word="glad")


def test_unfit_structured_output_is_a_parsing_error() -> None:
    model = ScriptedChatModel.of(calls("Mood", {"wrong": 1}), refused(), truncated_call("Mood", '{"word": "gl'))
    structured: Any = model.with_structured_output(Mood, include_raw=True)
    assert structured.invoke(ASKED)["parsing_error"] is not None
    for _ in range(2):
        assert structured.invoke(ASKED)["parsed"] is None


def test_the_functions_write_what_a_provider_says() -> None:
    called = calls("double", {"number": 4}, ("halve", {}), id="call_1", input_tokens=3, output_tokens=4, seed=7)
    assert [(call["name"], call["id"]) for call in called.tool_calls] == [("double", "call_1"), ("halve", "call_1-2")]
    assert called.usage_metadata == {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}
    assert called.response_metadata == {"seed": 7}
    assert calls("a", {}).tool_calls[0]["id"] != calls("a", {}).tool_calls[0]["id"]
    no = refused("No.")
    assert (no.text, no.additional_kwargs) == ("No.", {"refusal": "No."})
    assert no.response_metadata["finish_reason"] == "content_filter"
    assert truncated("x").response_metadata["finish_reason"] == "length"
    cut = truncated_call("double", '{"number"')
    assert cut.response_metadata["finish_reason"] == "length"
    assert (cut.tool_calls, cut.invalid_tool_calls[0]["args"]) == ([], '{"number"')


def test_an_error_is_raised_in_its_turn() -> None:
    model = ScriptedChatModel.of(*[ConnectionError("gone")] * 4, "Back.")

    async def run() -> None:
        with pytest.raises(ConnectionError, match="gone"):
            await model.ainvoke(ASKED)
        with pytest.raises(ConnectionError, match="gone"):
            _ = [chunk async for chunk in model.astream(ASKED)]

    with pytest.raises(ConnectionError, match="gone"):
        model.invoke(ASKED)
    with pytest.raises(ConnectionError, match="gone"):
        list(model.stream(ASKED))
    in_the_loop(run)
    assert model.invoke(ASKED).text == "Back."


def test_a_function_of_the_prompt_makes_an_answer_of_any_kind() -> None:
    model = ScriptedChatModel.of(
        lambda prompt: prompt[-1].text.upper(), lambda _: {"summary": "Tea."}, lambda _: KeyError("not today")
    )
    assert model.invoke("hello").text == "HELLO"
    assert model.invoke("hello").text == '{"summary": "Tea."}'
    with pytest.raises(KeyError, match="not today"):
        model.invoke("hello")


def test_only_a_function_leaves_the_event_loop() -> None:
    threads: list[threading.Thread] = []

    class Watched(ScriptedChatModel):
        def _asked(self, *args: Any, **kwargs: Any) -> Any:
            threads.append(threading.current_thread())
            return super()._asked(*args, **kwargs)

    def noted(_: list[BaseMessage]) -> str:
        threads.append(threading.current_thread())
        return "noted"

    in_the_loop(lambda: Watched.of(noted).ainvoke(ASKED))
    on_the_loop, in_a_thread = threads
    assert on_the_loop is threading.main_thread()
    assert in_a_thread is not threading.main_thread()


@pytest.mark.parametrize("streamed", [False, True])
def test_more_calls_than_answers_are_an_error_that_counts_them(streamed: bool) -> None:
    model = ScriptedChatModel.of("one", "two")
    assert (model.left, model.invoke(ASKED).text, model.left) == (2, "one", 1)
    model.invoke(ASKED)
    for _ in range(2):
        with pytest.raises(AssertionError, match="the script has 2 answers, and the model was asked once more"):
            list(model.stream(ASKED)) if streamed else model.invoke(ASKED)
    assert model.left == 0


def test_threads_share_out_the_answers() -> None:
    numbers = [str(number) for number in range(500)]
    model = ScriptedChatModel.of(*numbers)
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda number: model.invoke(number).text, numbers))
    finally:
        sys.setswitchinterval(usual)
    assert sorted(answers, key=int) == numbers
    assert [answers[int(prompt[0].text)] for prompt in model.prompts] == numbers


def test_an_answer_used_twice_makes_two_messages() -> None:
    again = said("no")
    model = ScriptedChatModel.of(again, again)
    first, second = model.invoke(ASKED), model.invoke(ASKED)
    assert first.id != second.id
    assert again.id is None


def test_it_is_a_public_name() -> None:
    assert usermemory.ScriptedChatModel is graphs.ScriptedChatModel is ScriptedChatModel
