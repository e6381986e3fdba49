import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from pydantic import BaseModel

from graphs.answer import Evidence, Unusable, checked_document, model_name, read_answer, usage
from graphs.asking import NoUsableAnswer
from graphs.material import Material
from graphs.summarizer import ModelSummarizer
from graphs.testing import Answer, ScriptedChatModel, said
from storage.document import MemoryDocument
from storage.errors import InvalidInput
from storage.provenance import TokenUsage

TEA = {"summary": "Ada drinks tea."}
JSON = json.dumps(TEA)


@pytest.mark.parametrize(
    "text",
    [
        JSON,
        f"\n {JSON}\n",
        f"```json\n{JSON}\n```",
        f"```\n{JSON}\n```",
        f"Here is the memory:\n\n```JSON\n{JSON}\n```\nAnything else?",
        json.dumps({"document": TEA}),
        json.dumps({"document": TEA, "evidence": None}),
    ],
)
def test_every_form_of_answer_is_read(text: str) -> None:
    assert read_answer(AIMessage(text)) == (TEA, ())


def test_backticks_inside_a_text_end_no_fence() -> None:
    document = {"summary": "She writes\n```json\n{}\n```\nin her notes."}
    assert read_answer(AIMessage(f"```json\n{json.dumps(document, indent=1)}\n```"))[0] == document


def test_evidence_is_read_and_what_is_wrong_in_it_dropped() -> None:
    evidence: list[Any] = [
        {"pointer": "/summary", "messages": [1, "2", True, 3.0, 4]},
        {"pointer": "/facts", "entry": "f1", "messages": [2]},
        {"pointer": 7, "messages": [1]},
        {"pointer": "/summary"},
        "message 3",
    ]
    assert read_answer(AIMessage(json.dumps({"document": TEA, "evidence": evidence})))[1] == (
        Evidence("/summary", None, (1, 4)),
        Evidence("/facts", "f1", (2,)),
    )


def test_content_blocks_are_read_without_the_reasoning() -> None:
    blocks: list[Any] = [
        {"type": "reasoning", "reasoning": "Let me think."},
        {"type": "text", "text": JSON[:10]},
        {"type": "text", "text": JSON[10:]},
    ]
    assert read_answer(AIMessage(blocks))[0] == TEA


@pytest.mark.parametrize(
    "answer",
    [
        None,
        AIMessage(""),
        AIMessage(" \n"),
        AIMessage([]),
        AIMessage("I'm sorry, but I can't help with that."),
        AIMessage(JSON[:-1]),
        AIMessage(f"Sure! {JSON}"),
        AIMessage(f"```json\n{JSON}\n```\nor\n```json\n{JSON}\n```"),
        AIMessage("null"),
        AIMessage("[]"),
        AIMessage('{"summary": "a", "summary": "b"}'),
        AIMessage('{"summary": NaN}'),
        AIMessage('{"summary": "\\u0000"}'),
        AIMessage("", tool_calls=[{"name": "save", "args": TEA, "id": "1"}]),
        said(JSON, finish_reason="length"),
        said(JSON, finish_reason="MAX_TOKENS"),
        said(JSON, stop_reason="max_tokens"),
        said(JSON, stopReason="guardrail_intervened"),
        said(JSON, done_reason="length"),
        said(JSON, finish_reason="content_filter"),
        said(JSON, stop_reason="refusal"),
        said(JSON, incomplete_details={"reason": "max_output_tokens"}),
        AIMessage(JSON, additional_kwargs={"refusal": "No."}),
    ],
)
def test_no_unusable_answer_becomes_a_document(answer: object) -> None:
    with pytest.raises(Unusable):
        read_answer(answer)


@pytest.mark.parametrize("stop", [{"finish_reason": "stop"}, {"stop_reason": "end_turn"}, {"finish_reason": "STOP"}])
def test_an_answer_that_came_to_its_end_is_read(stop: dict[str, str]) -> None:
    assert read_answer(said(JSON, **stop))[0] == TEA


class Diary(BaseModel):
    pages: list[str]


@pytest.mark.parametrize(
    ("document", "schema"),
    [
        ({"summary": 7}, MemoryDocument),
        ({"parts": {"p1": {"recency_score": 2}}}, MemoryDocument),
        ({"summary": "no pages"}, Diary),
        ({"summary": "x" * 300_000}, MemoryDocument),
        ({}, MemoryDocument),
        ({"version": 3}, MemoryDocument),
    ],
)
def test_a_document_of_another_shape_or_size_or_an_empty_one_is_unusable(
    document: dict[str, Any], schema: type[BaseModel]
) -> None:
    with pytest.raises(Unusable):
        checked_document(document, before={"summary": "Ada."}, schema=schema)


def test_rendered_members_are_left_out_and_an_empty_memory_may_stay_empty() -> None:
    assert checked_document({"version": 3, "summary": "A."}, before={}, schema=MemoryDocument) == {"summary": "A."}
    assert checked_document({}, before={}, schema=MemoryDocument) == {}


def test_the_cost_and_the_name_of_a_model_are_found() -> None:
    assert usage(said("x", input_tokens=3, output_tokens=4)) == TokenUsage(3, 4)
    assert usage(AIMessage("x")) is None
    assert model_name(said("x", model_name="oracle-7")) == "oracle-7"
    assert model_name(ScriptedChatModel.of()) == "scripted-1"
    assert model_name(AIMessage("x")) is None


@pytest.mark.parametrize(
    ("answers", "attempts"),
    [
        ([TEA], 1),
        (["{", TEA], 2),
        ([{"summary": 7}, said(JSON, finish_reason="length"), TEA], 3),
    ],
)
def test_an_unusable_answer_is_corrected_within_the_attempts(answers: list[Answer], attempts: int) -> None:
    model = ScriptedChatModel.of(*answers)
    assert ModelSummarizer(model).summarize({}, Material()).document == TEA
    assert len(model.prompts) == attempts


def test_the_correction_says_what_was_wrong_and_repeats_no_empty_answer() -> None:
    model = ScriptedChatModel.of({"summary": 7}, "", TEA)
    ModelSummarizer(model).summarize({}, Material())
    assert [message.type for message in model.prompts[2]] == ["system", "human", "ai", "human", "human"]
    assert "/summary" in model.prompts[1][-1].text
    assert "it is empty" in model.prompts[2][-1].text


def test_attempts_are_bounded_and_their_cost_is_reported() -> None:
    model = ScriptedChatModel.of(*[said("no")] * 5)
    with pytest.raises(NoUsableAnswer) as failure:
        ModelSummarizer(model, attempts=2).summarize({}, Material())
    assert (failure.value.code, failure.value.tokens, model.left) == ("summarizer_failed", TokenUsage(20, 10), 3)
    with pytest.raises(InvalidInput):
        ModelSummarizer(model, attempts=0)
