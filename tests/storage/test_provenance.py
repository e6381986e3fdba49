from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from storage.errors import InvalidInput
from storage.provenance import (
    WHY_LIMIT,
    ChangeSource,
    Provenance,
    TokenUsage,
    by_agent,
    by_operator,
    by_user,
)
from storage.trust import Actor, Trust

COMPLETE = Provenance(
    Actor.JOB,
    "loop",
    conversations=("c-1", "c-2"),
    messages=(4, 5, 9),
    why="the day's conversations",
    model="provider:model",
    prompt="summarize-3",
    tokens=TokenUsage(input=812, output=95),
    changes=(
        ChangeSource("/summary", messages=(4, 9), trust=Trust.AGENT),
        ChangeSource("/goals", entry="sleep", messages=(5,), trust=Trust.TOOL),
    ),
)


@pytest.mark.parametrize(
    ("actor", "trust"),
    [
        (Actor.OPERATOR, Trust.OPERATOR),
        (Actor.USER, Trust.USER),
        (Actor.AGENT, Trust.AGENT),
        (Actor.JOB, Trust.AGENT),
        (Actor.TOOL, Trust.TOOL),
    ],
)
def test_a_change_is_trusted_as_its_actor_unless_said_otherwise(actor: Actor, trust: Trust) -> None:
    assert Provenance(actor, "python").trust is trust


def test_a_change_made_from_several_sources_is_trusted_as_the_worst_of_them() -> None:
    assert COMPLETE.trust is Trust.TOOL


def test_a_trust_may_be_lower_than_the_actors_own_and_never_higher() -> None:
    assert Provenance(Actor.USER, "http", trust=Trust.TOOL).trust is Trust.TOOL
    with pytest.raises(InvalidInput, match="trusted as agent at the most"):
        Provenance(Actor.AGENT, "mcp", trust=Trust.USER)
    with pytest.raises(InvalidInput, match="trusted as agent at the most"):
        Provenance(Actor.JOB, "loop", trust=Trust.AGENT, changes=[ChangeSource("/a", trust=Trust.OPERATOR)])


def test_a_provenance_comes_back_from_its_json() -> None:
    for provenance in (COMPLETE, by_user, by_operator, by_agent("mcp")):
        assert Provenance.from_json(provenance.as_json()) == provenance


def test_its_json_has_no_empty_members() -> None:
    assert by_agent("langchain").as_json() == {"actor": "agent", "through": "langchain", "trust": "agent"}
    assert ChangeSource("", messages=(1,)).as_json() == {"pointer": "", "messages": [1], "trust": "agent"}


def test_members_that_a_newer_program_added_are_left_out() -> None:
    assert Provenance.from_json(by_user.as_json() | {"mood": "good"}) == by_user


@pytest.mark.parametrize(
    "wrong",
    [
        {"actor": "root"},
        {"actor": None},
        {"actor": ["user"]},
        {"through": ""},
        {"through": 3},
        {"through": "x" * 257},
        {"trust": "absolute"},
        {"trust": "operator"},
        {"trust": 3},
        {"conversations": "c-1"},
        {"conversations": [1]},
        {"messages": [0]},
        {"messages": [True]},
        {"messages": ["1"]},
        {"messages": {"1": 2}},
        {"why": ""},
        {"why": "x" * (WHY_LIMIT + 1)},
        {"model": 4},
        {"prompt": {}},
        {"tokens": 12},
        {"tokens": {"input": 1}},
        {"tokens": {"input": -1, "output": 0}},
        {"changes": {}},
        {"changes": [1]},
        {"changes": [{"trust": "agent"}]},
        {"changes": [{"pointer": "summary", "trust": "agent"}]},
        {"changes": [{"pointer": "/summary"}]},
        {"changes": [{"pointer": "/summary", "trust": "agent", "entry": 1}]},
        {"changes": [{"pointer": "/summary", "trust": "agent", "messages": [-1]}]},
    ],
)
def test_a_malformed_member_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        Provenance.from_json(by_agent("mcp").as_json() | wrong)


@pytest.mark.parametrize("value", [None, [], "user", 1])
def test_what_is_no_object_is_no_provenance(value: Any) -> None:
    with pytest.raises(InvalidInput):
        Provenance.from_json(value)


def test_one_text_is_not_taken_for_a_list_of_conversations() -> None:
    with pytest.raises(InvalidInput, match="not one text"):
        Provenance(Actor.USER, "python", conversations="c-1")


def test_a_provenance_cannot_be_changed_once_made() -> None:
    with pytest.raises(FrozenInstanceError):
        by_user.trust = Trust.OPERATOR  # type: ignore[misc]


def test_an_accepted_change_keeps_its_sources_under_the_name_of_who_accepted_it() -> None:
    accepted = COMPLETE.accepted_by(Provenance(Actor.OPERATOR, "cli"))
    assert (accepted.actor, accepted.through, accepted.trust) == (Actor.OPERATOR, "cli", Trust.OPERATOR)
    assert (accepted.changes, accepted.messages, accepted.model) == (
        COMPLETE.changes,
        COMPLETE.messages,
        COMPLETE.model,
    )
    assert accepted.why == "the day's conversations"
