"""Answers: how the answer of a model is read, strictly, so that nothing half said becomes a memory."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from langchain_core.messages import BaseMessage
from pydantic import BaseModel

from storage.canonical import canonical, parse
from storage.document import check_document, strip_rendered
from storage.errors import InvalidInput, TooLarge
from storage.json_types import Document, Json
from storage.limits import DOCUMENT_LIMIT
from storage.provenance import TokenUsage

ANSWER_LIMIT = 2 * DOCUMENT_LIMIT
"""Bytes of canonical JSON in one answer: the document and the evidence."""

_STOP_REASONS: Final = ("finish_reason", "stop_reason", "stopReason", "done_reason")
"""Where the providers say why a model stopped: OpenAI and Google, Anthropic, Bedrock, Ollama."""

_CUT_OFF: Final = {"length", "max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded"}
_REFUSED: Final = {
    "refusal",
    "content_filter",
    "content_filtered",
    "guardrail_intervened",
    "safety",
    "recitation",
    "blocklist",
    "prohibited_content",
    "spii",
}

_FENCED: Final = re.compile(
    r"^```[ \t]*(?:json)?[ \t]*\n(.*?)\n[ \t]*```[ \t]*$", re.DOTALL | re.MULTILINE | re.IGNORECASE
)
"""JSON between two lines of backticks. No string of JSON holds a line end, so none can look like such a line."""


Reason: TypeAlias = Literal[
    "truncated",
    "refused",
    "empty",
    "not_json",
    "not_one_json",
    "not_an_object",
    "too_large",
    "does_not_fit",
    "says_nothing",
]
"""Why an answer cannot be used, as logs may say it: without what is in the answer."""


class Unusable(Exception):
    """The answer cannot be used. The message says why, for the model to read, and may quote the answer."""

    def __init__(self, message: str, reason: Reason) -> None:
        super().__init__(message)
        self.reason: Reason = reason


@dataclass(frozen=True, slots=True)
class Evidence:
    """The messages behind one change, as a summarizer cites them. What is wrong in it is dropped, not repaired."""

    pointer: str
    """The JSON pointer (RFC 6901) of the changed place."""

    entry: str | None = None
    """The entry by its id or text, where the place is a list."""

    messages: tuple[int, ...] = ()


def read_answer(answer: object) -> tuple[Document, tuple[Evidence, ...]]:
    """Return the document in an answer and the evidence beside it, none for a bare document.

    Raises Unusable as `read_object` does.
    """
    value = read_object(answer)
    if isinstance(value.get("document"), dict) and value.keys() <= {"document", "evidence"}:
        return value["document"], _evidence(value.get("evidence"))
    return value, ()


def read_object(answer: object) -> Document:
    """Return the JSON object in an answer.

    Raises Unusable for what is cut off, refused, empty, not exactly one JSON value, or no object.
    """
    _check_stop(answer)
    text = answer.text if isinstance(answer, BaseMessage) else answer
    if not isinstance(text, str) or not text.strip():
        raise Unusable("it is empty", "empty")
    try:
        value = parse(_json_in(text), limit=ANSWER_LIMIT)
    except InvalidInput as invalid:
        reason: Reason = "too_large" if isinstance(invalid, TooLarge) else "not_json"
        raise Unusable(f"it is not JSON that can be kept. {invalid}", reason) from None
    if not isinstance(value, dict):
        raise Unusable("it is not a JSON object", "not_an_object")
    return value


def checked_document(document: Document, *, before: Document, schema: type[BaseModel]) -> Document:
    """Return a new document without its rendered members, once it has the shape and the size of one.

    Raises Unusable if not, and for an empty one in the place of one that says something.
    """
    document = strip_rendered(document)
    if before and not document:
        raise Unusable("the document is empty, and what was known would be lost", "says_nothing")
    try:
        canonical(document, limit=DOCUMENT_LIMIT)
        check_document(document, schema)
    except InvalidInput as invalid:
        raise Unusable(f"the document does not fit. {invalid}", unfit(invalid)) from None
    return document


def unfit(invalid: InvalidInput) -> Reason:
    """Return the reason for what is JSON and cannot be kept."""
    return "too_large" if isinstance(invalid, TooLarge) else "does_not_fit"


def usage(answer: object) -> TokenUsage | None:
    """Return what an answer cost, where the provider says so."""
    counts = getattr(answer, "usage_metadata", None)
    if not isinstance(counts, Mapping):
        return None
    return TokenUsage(int(counts.get("input_tokens") or 0), int(counts.get("output_tokens") or 0))


def model_name(source: object) -> str | None:
    """Return the name of a model, by the metadata of its answer or by its own attributes."""
    metadata = getattr(source, "response_metadata", None) or {}
    for name in ("model_name", "model", "model_id"):
        found = metadata.get(name) or getattr(source, name, None)
        if isinstance(found, str) and found:
            return found
    return None


def _check_stop(answer: object) -> None:
    if not isinstance(answer, BaseMessage):
        return
    metadata = answer.response_metadata
    incomplete = metadata.get("incomplete_details")  # OpenAI, responses API
    reasons = {metadata.get(name) for name in _STOP_REASONS}
    reasons.add(incomplete.get("reason") if isinstance(incomplete, Mapping) else None)
    stopped = {str(reason).casefold() for reason in reasons}
    if stopped & _CUT_OFF:
        raise Unusable("it was cut off because it is too long; write less", "truncated")
    if stopped & _REFUSED or answer.additional_kwargs.get("refusal"):
        raise Unusable("it was refused or filtered", "refused")


def _json_in(text: str) -> str:
    """Return the text itself, or what stands between its fences; more than one fence is no answer."""
    fenced = _FENCED.findall(text)
    if len(fenced) > 1:
        raise Unusable("it has more than one JSON block", "not_one_json")
    return str(fenced[0]) if fenced else text.strip()


def _evidence(value: Any) -> tuple[Evidence, ...]:
    entries = [_one_evidence(entry) for entry in value] if isinstance(value, list) else []
    return tuple(entry for entry in entries if entry is not None)


def _one_evidence(value: Json) -> Evidence | None:
    if not isinstance(value, dict):
        return None
    pointer, entry, messages = value.get("pointer"), value.get("entry"), value.get("messages")
    if not isinstance(pointer, str) or not isinstance(entry, str | None) or not isinstance(messages, list):
        return None
    return Evidence(pointer, entry, tuple(number for number in messages if type(number) is int))
