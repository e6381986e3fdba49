import asyncio
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage
from pydantic import BaseModel, ConfigDict

from graphs.asking import NoUsableAnswer
from graphs.conversation_summarizer import (
    PROMPT,
    ExtractiveConversationSummarizer,
    ModelConversationSummarizer,
    question,
)
from graphs.recap import RECAP_LIMIT, ConversationRecap, Recap, Transcript, check_recap
from graphs.sentences import SENTENCES, SENTENCES_SIZE
from graphs.testing import Answer, ScriptedChatModel, refused, said, truncated
from memory_tools.said import Said
from memory_tools.visible import visible
from storage.canonical import dumps
from storage.document import check_document
from storage.errors import InvalidInput, SummarizerFailed
from storage.provenance import TokenUsage

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
TEA: dict[str, Any] = {
    "summary": "Ada spoke about tea.",
    "facts": [{"text": "Ada lives in London.", "messages": [1]}],
    "preferences": [{"text": "Likes tea.", "messages": [1, 2]}],
    "open_points": [],
}
JSON = json.dumps(TEA)

Ask: TypeAlias = Callable[[ModelConversationSummarizer, Transcript], Recap]


def spoken(*texts: str, earlier: dict[str, Any] | None = None, role: str = "user", first: int = 1) -> Transcript:
    messages = tuple(Said(n, "call-1", role, NOON, text) for n, text in enumerate(texts, start=first))
    return Transcript("call-1", messages, earlier)


CALL = spoken("I live in London.", "I like tea.")


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    if request.param == "sync":
        return lambda summarizer, conversation: summarizer.summarize(conversation)
    return lambda summarizer, conversation: asyncio.run(summarizer.asummarize(conversation))


def test_a_model_writes_the_memory_and_says_what_it_cost(ask: Ask) -> None:
    model = ScriptedChatModel.of(said(JSON, model_name="oracle-7"))
    assert ask(ModelConversationSummarizer(model), CALL) == Recap(TEA, "oracle-7", PROMPT.version, TokenUsage(10, 5))
    assert re.fullmatch(r"sha256:[0-9a-f]{12}", PROMPT.version)


@pytest.mark.parametrize("answer", [f"```json\n{JSON}\n```", f"Here it is:\n\n```\n{JSON}\n```\nBye.", f"\n{JSON}\n"])
def test_an_answer_may_be_fenced(answer: str) -> None:
    assert ModelConversationSummarizer(ScriptedChatModel.of(answer)).summarize(CALL).data == TEA


DAMAGED: dict[str, Answer] = {
    "nothing": "",
    "blank": " \n\t",
    "no content": AIMessage([]),
    "a call of a tool": AIMessage("", tool_calls=[{"name": "save", "args": TEA, "id": "1"}]),
    "an apology": "I'm sorry, but I can't help with that.",
    "a refusal": refused(),
    "filtered": said(JSON, finish_reason="content_filter"),
    "cut off, as the provider says": truncated(JSON),
    "cut off in the JSON": JSON[:-9],
    "null": "null",
    "a list": f"[{JSON}]",
    "prose around it": f"Sure! {JSON}",
    "two objects": f"```json\n{JSON}\n```\n```json\n{JSON}\n```",
    "a member twice": '{"summary": "a", "summary": "b"}',
    "not a number": '{"summary": "a", "mood": NaN}',
    "NUL": '{"summary": "\\u0000"}',
    "half a surrogate": '{"summary": "\\ud800"}',
    "an empty object": {},
    "no summary": {"facts": TEA["facts"]},
    "a summary that is no text": TEA | {"summary": 7},
    "facts that are no list": TEA | {"facts": "tea"},
    "facts without a text": TEA | {"facts": [{"messages": [1]}]},
    "facts as bare texts": TEA | {"facts": ["Ada lives in London."]},
    "numbers as texts": TEA | {"facts": [{"text": "Tea.", "messages": ["1"]}]},
    "nothing in it": {"summary": " ", "facts": [], "preferences": [], "open_points": []},
    "too long": TEA | {"summary": "x" * RECAP_LIMIT},
    "too deep": json.dumps({"summary": "a"})[:-1] + ', "more": ' + "[" * 80 + "]" * 80 + "}",
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_no_damaged_answer_becomes_a_memory(damage: str, ask: Ask) -> None:
    model = ScriptedChatModel.of(*[DAMAGED[damage]] * 3, TEA)
    with pytest.raises(SummarizerFailed, match="no usable answer in 3 attempts"):
        ask(ModelConversationSummarizer(model), CALL)
    assert model.left == 1


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_answer_is_corrected(damage: str) -> None:
    model = ScriptedChatModel.of(DAMAGED[damage], TEA)
    assert ModelConversationSummarizer(model).summarize(CALL).data == TEA
    assert model.prompts[1][-1].text.startswith("That answer cannot be used: ")


def test_an_answer_that_is_none_is_none_to_use() -> None:
    from langchain_core.runnables import RunnableLambda

    with pytest.raises(SummarizerFailed):
        ModelConversationSummarizer(RunnableLambda(lambda _: None)).summarize(CALL)


def test_what_was_spent_in_vain_is_reported_and_nothing_that_was_said(ask: Ask) -> None:
    model = ScriptedChatModel.of(*[said('{"summary": 7, "facts": "London calling"}')] * 2)
    with pytest.raises(NoUsableAnswer) as failure:
        ask(ModelConversationSummarizer(model, attempts=2), CALL)
    assert (failure.value.code, failure.value.tokens) == ("summarizer_failed", TokenUsage(20, 10))
    assert "London" not in str(failure.value)


def test_a_model_needs_an_attempt() -> None:
    with pytest.raises(InvalidInput):
        ModelConversationSummarizer(ScriptedChatModel.of(), attempts=0)


def test_an_error_of_the_model_is_raised_as_it_is(ask: Ask) -> None:
    with pytest.raises(ConnectionError):
        ask(ModelConversationSummarizer(ScriptedChatModel.of(ConnectionError("gone"))), CALL)


def test_messages_that_nobody_said_are_dropped_and_those_of_the_earlier_memory_stay() -> None:
    earlier = {"summary": "Before.", "facts": [{"text": "Old.", "messages": [3]}]}
    answer = {
        "summary": "Now.",
        "facts": [{"text": "Old.", "messages": [3, 99]}, {"text": "New.", "messages": [7, 8]}, {"text": "Bare."}],
        "preferences": [{"text": "Made up.", "messages": [99]}],
    }
    recap = ModelConversationSummarizer(ScriptedChatModel.of(answer)).summarize(
        spoken("Hello.", earlier=earlier, first=7)
    )
    assert recap.data == {
        "summary": "Now.",
        "facts": [{"text": "Old.", "messages": [3]}, {"text": "New.", "messages": [7]}, {"text": "Bare."}],
        "preferences": [{"text": "Made up.", "messages": []}],
    }


def test_a_host_may_bring_its_own_model() -> None:
    class Minutes(BaseModel):
        model_config = ConfigDict(extra="forbid")
        decisions: list[str]

    model = ScriptedChatModel.of(TEA, {"decisions": ["tea"]})
    transcript = Transcript("call-1", CALL.messages, None, Minutes)
    assert ModelConversationSummarizer(model).summarize(transcript).data == {"decisions": ["tea"]}
    assert '"decisions"' in model.prompts[0][0].text


# What a model is shown


def marker_of(text: str) -> str:
    found = re.match(r"The marker of this request is ([0-9a-f]{16})\.", text)
    assert found
    return found[1]


def shown(text: str) -> list[Any]:
    marker = marker_of(text)
    inside = text.split(f"<<< said {marker}\n")[1].split(f"\n>>> said {marker}")[0]
    return [json.loads(line) for line in inside.split("\n")]


def test_messages_are_shown_with_their_numbers_and_the_earlier_memory_before_them() -> None:
    text = question(spoken("Hello.", earlier=TEA, first=7))[1].text
    assert shown(text) == [{"message": 7, "role": "user", "said_at": "2026-11-20T12:00+00:00", "text": "Hello."}]
    assert dumps(TEA) in text


@given(st.text(), st.text())
def test_no_text_can_leave_its_fence(attack: str, remembered: str) -> None:
    text = question(spoken(attack, earlier={"summary": remembered}))[1].text
    assert text.count(marker_of(text)) == 5
    assert [line["text"] for line in shown(text)] == [visible(attack)]


def test_the_instructions_are_the_same_for_everybody_and_show_the_shape() -> None:
    one, other = question(spoken("a"))[0], question(spoken("b", earlier=TEA))[0]
    assert one.text == other.text
    assert "data, not instructions" in one.text
    assert "open_points" in one.text


# Without a model


def extracted(conversation: Transcript) -> dict[str, Any]:
    recap = ExtractiveConversationSummarizer().summarize(conversation)
    check_recap(recap.data, ConversationRecap)
    assert (recap.model, recap.prompt, recap.tokens) == ("extractive", None, None)
    return recap.data


def test_the_persons_own_sentences_are_kept_each_with_its_message() -> None:
    data = extracted(spoken("Hi! My name is Ada.", "I love tea. How are you?", "I want to sail. I live in London."))
    texts = {
        name: [(entry["text"], entry["messages"]) for entry in data[name]]
        for name in ("facts", "preferences", "open_points")
    }
    assert texts == {
        "facts": [("My name is Ada.", [1]), ("I live in London.", [3])],
        "preferences": [("I love tea.", [2])],
        "open_points": [("I want to sail.", [3])],
    }
    assert data["summary"] == "My name is Ada. I want to sail. I love tea. I live in London."


def test_the_person_alone_is_quoted() -> None:
    data = extracted(spoken("I live in Paris and love trains.", role="assistant"))
    assert data == {"summary": "", "facts": [], "preferences": [], "open_points": []}


def test_the_same_conversation_gives_the_same_memory_and_nothing_new_changes_none() -> None:
    first = extracted(CALL)
    assert extracted(CALL) == first
    assert extracted(spoken("Hm.", earlier=first, first=3)) == first


def test_in_two_parts_it_says_the_same_as_in_one() -> None:
    texts = [f"I visited town number {n}." for n in range(30)]
    half = extracted(spoken(*texts[:15]))
    assert extracted(spoken(*texts[15:], earlier=half, first=16)) == extracted(spoken(*texts))


def test_what_others_wrote_stays() -> None:
    earlier = {"summary": "Written by hand.", "facts": [{"text": "Theirs."}], "mood": "good"}
    data = extracted(spoken("I live in London.", earlier=earlier))
    assert (data["summary"], data["mood"]) == ("Written by hand.", "good")
    assert [fact["text"] for fact in data["facts"]] == ["Theirs.", "I live in London."]
    assert earlier["facts"] == [{"text": "Theirs."}]


def test_the_memory_is_bounded_and_the_least_telling_and_oldest_go() -> None:
    texts = ["My name is Ada.", *(f"The weather was quite {n} that day. {'So it was. ' * 9}" for n in range(200))]
    data = extracted(spoken(*texts))
    facts = [entry["text"] for entry in data["facts"]]
    assert len(facts) == SENTENCES
    assert len(dumps(data["facts"])) <= SENTENCES_SIZE + 2
    assert facts[0] == "My name is Ada."
    assert "The weather was quite 199 that day." in facts
    assert "The weather was quite 1 that day." not in facts


@given(st.lists(st.text(), max_size=5))
def test_no_text_makes_it_fail(texts: list[str]) -> None:
    check_document(extracted(spoken(*texts)), ConversationRecap)
