import copy
from datetime import datetime
from enum import Enum
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from storage.document import MemoryDocument, check_document, render, strip_rendered
from storage.errors import InvalidDocument
from storage.json_types import Document

EXAMPLE: Document = {
    "summary": "High-level text summary of the user's state.",
    "parts": {
        "part_id_1": {
            "name": "Inner Critic",
            "status": "active",
            "recency_score": 0.9,
            "influence_score": 0.7,
            "goals": [{"goal": "To feel safer during presentations."}],
        }
    },
    "triggers_and_goals": [
        {"trigger": "Public speaking", "desired_outcome": "Feel calm and confident", "related_parts": ["part_id_1"]}
    ],
    "safety_notes": "Important reminders for the agent when interacting with this user.",
}


@pytest.mark.parametrize(
    "document",
    [
        {},
        EXAMPLE,
        EXAMPLE | {"version": 1, "last_updated_by": "system"},
        {"parts": {}},
        {"parts": {"a": {}}},
        {"parts": {"a": {"recency_score": 1, "influence_score": 0}}},
        {"parts": {"a": {"color": "blue", "goals": [{"goal": "rest", "since": 2024}]}}},
        {"hobbies": ["chess"], "summary": ""},
    ],
)
def test_a_document_of_the_agreed_shape_passes_and_is_not_changed(document: Document) -> None:
    before = copy.deepcopy(document)
    check_document(document)
    assert document == before


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        ({"summary": None}, "/summary"),
        ({"summary": ["calm"]}, "/summary"),
        ({"safety_notes": 1}, "/safety_notes"),
        ({"parts": []}, "/parts"),
        ({"parts": {"a": "Critic"}}, "/parts/a"),
        ({"parts": {"a/b": {"name": 3}}}, "/parts/a~1b/name"),
        ({"parts": {"a": {"recency_score": "0.9"}}}, "/parts/a/recency_score"),
        ({"parts": {"a": {"recency_score": True}}}, "/parts/a/recency_score"),
        ({"parts": {"a": {"recency_score": 1.01}}}, "/parts/a/recency_score"),
        ({"parts": {"a": {"influence_score": -0.1}}}, "/parts/a/influence_score"),
        ({"parts": {"a": {"goals": [{"goal": "rest"}, {"goal": 1}]}}}, "/parts/a/goals/1/goal"),
        ({"triggers_and_goals": {}}, "/triggers_and_goals"),
        ({"triggers_and_goals": [{"related_parts": "part_id_1"}]}, "/triggers_and_goals/0/related_parts"),
        ({"version": "two"}, "/version"),
        ({"version": True}, "/version"),
        ({"version": -1}, "/version"),
        ({"last_updated_by": {"name": "Ada"}}, "/last_updated_by"),
    ],
)
def test_a_wrong_value_is_refused_with_its_pointer_and_never_coerced(document: Document, pointer: str) -> None:
    with pytest.raises(InvalidDocument) as refused:
        check_document(document)
    assert refused.value.pointer == pointer


@pytest.mark.parametrize("value", [None, [], "summary", 1])
def test_what_is_no_object_is_no_document(value: Any) -> None:
    with pytest.raises(InvalidDocument):
        check_document(value)


def test_the_first_fault_is_told_and_all_are_counted() -> None:
    with pytest.raises(InvalidDocument, match=r'at "/summary" \(faults in all: 3\)'):
        check_document({"summary": 1, "parts": 2, "safety_notes": 3})


def test_a_refusal_repeats_no_value_of_the_document() -> None:
    with pytest.raises(InvalidDocument) as refused:
        check_document({"parts": {"a": {"recency_score": "the secret"}}})
    assert "secret" not in str(refused.value)


class Mood(Enum):
    CALM = "calm"


class HostMemory(BaseModel):
    """What a host may bring: JSON texts for richer types, rendered members declared, nothing else allowed."""

    model_config = ConfigDict(extra="forbid")

    version: int
    last_updated_by: str
    name: str
    mood: Mood | int = Mood.CALM
    born: datetime | None = None
    tags: tuple[str, ...] = ()


def test_any_pydantic_model_is_a_shape_and_rendered_members_need_not_be_stored() -> None:
    document = {"name": "Ada", "mood": "calm", "born": "1815-12-10T00:00:00Z", "tags": ["math"]}
    check_document(document, HostMemory)
    check_document(render(document, 3, "agent"), HostMemory)


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"name": 1}, "/name"),
        ({"mood": "angry"}, "/mood"),
        ({"born": "yesterday"}, "/born"),
        ({"born": 0}, "/born"),
        ({"tags": ["math", 2]}, "/tags/1"),
        ({"hobby": "chess"}, "/hobby"),
    ],
)
def test_a_hosts_model_refuses_by_its_own_rules(wrong: Document, pointer: str) -> None:
    with pytest.raises(InvalidDocument) as refused:
        check_document({"name": "Ada"} | wrong, HostMemory)
    assert refused.value.pointer == pointer


def test_a_missing_member_is_named() -> None:
    with pytest.raises(InvalidDocument) as refused:
        check_document({}, HostMemory)
    assert refused.value.pointer == "/name"


def test_the_default_shape_has_the_members_of_seed_001() -> None:
    assert list(MemoryDocument.model_json_schema()["properties"]) == [
        "summary",
        "parts",
        "triggers_and_goals",
        "safety_notes",
    ]


def test_rendered_members_are_shown_first_and_come_off_again() -> None:
    shown = render(EXAMPLE, 7, "agent")
    assert list(shown)[:2] == ["version", "last_updated_by"]
    assert (shown["version"], shown["last_updated_by"]) == (7, "agent")
    assert strip_rendered(shown) == EXAMPLE
    assert "version" not in EXAMPLE
    assert shown["version"] == 7


def test_version_0_is_shown_as_the_empty_document() -> None:
    assert render({}, 0, None) == {}


def test_an_empty_document_of_a_later_version_still_shows_its_version() -> None:
    assert render({}, 4, "user") == {"version": 4, "last_updated_by": "user"}


def test_only_the_documents_own_rendered_members_are_stripped() -> None:
    document = {"app": {"version": 2}, "version": 9}
    assert strip_rendered(document) == {"app": {"version": 2}}
