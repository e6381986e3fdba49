from typing import Any

import pytest

from storage.errors import InvalidInput
from storage.trust import Actor, Trust, check_trust, lowest


def test_trust_is_ordered_from_operator_down_to_tool() -> None:
    assert Trust.OPERATOR > Trust.USER > Trust.AGENT > Trust.TOOL


def test_what_is_made_of_several_sources_is_trusted_as_the_worst_of_them() -> None:
    assert lowest([Trust.USER, Trust.TOOL, Trust.AGENT]) is Trust.TOOL


def test_what_cites_nothing_is_trusted_least() -> None:
    assert lowest([]) is Trust.TOOL


def test_trust_and_actor_come_back_from_their_names() -> None:
    assert [Trust.of(trust.label) for trust in Trust] == list(Trust)
    assert [Actor.of(actor.value) for actor in Actor] == list(Actor)


def test_an_actor_is_its_own_name() -> None:
    assert Actor.of(Actor.JOB) is Actor.JOB


@pytest.mark.parametrize("value", ["root", "User", "", None, 3, True, ["user"], {}])
def test_what_names_nobody_is_refused(value: Any) -> None:
    for named in (Trust.of, Actor.of):
        with pytest.raises(InvalidInput, match="one of"):
            named(value)


@pytest.mark.parametrize("value", [3, "user", None, Actor.TOOL])
def test_neither_a_number_nor_a_label_is_a_trust(value: Any) -> None:
    with pytest.raises(InvalidInput, match="Trust is one of"):
        check_trust(value)
    check_trust(Trust.USER)
