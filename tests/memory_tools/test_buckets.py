"""Token buckets: how many requests fit into which time, and what is left of those who ask no more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_tools.buckets import Buckets, Pace
from storage.errors import InvalidInput
from tests.clock import Seconds


@pytest.mark.parametrize(
    ("text", "pace"),
    [
        ("600/minute", Pace(600, 60)),
        ("20 per second", Pace(20, 1)),
        ("1/hour", Pace(1, 3600)),
        ("7 / days", Pace(7, 86400)),
    ],
)
def test_a_pace_is_written_in_words(text: str, pace: Pace) -> None:
    assert Pace.of(text) == pace


@pytest.mark.parametrize("text", ["", "fast", "0/minute", "-1/minute", "1.5/minute", "6/fortnight", "1/minute;2/hour"])
def test_anything_else_is_no_pace(text: str) -> None:
    with pytest.raises(InvalidInput, match="is no pace: write it as 600/minute"):
        Pace.of(text)


def test_as_many_as_the_pace_says_may_come_at_once_and_the_next_one_waits_for_its_turn() -> None:
    timer = Seconds()
    buckets = Buckets(Pace(3, 60), timer)
    assert [buckets.take("ada") for _ in range(3)] == [0, 0, 0]
    assert buckets.take("ada") == pytest.approx(20)
    assert buckets.take("ada") == pytest.approx(20), "who is refused pays nothing"
    timer.now += 20
    assert buckets.take("ada") == 0
    assert buckets.take("ada") == pytest.approx(20)
    timer.now += 3_600
    assert [buckets.take("ada") for _ in range(4)] == [0, 0, 0, pytest.approx(20)]


def test_nobody_pays_for_another_one() -> None:
    buckets = Buckets(Pace(1, 60), Seconds())
    assert buckets.take("ada") == 0
    assert buckets.take("bob") == 0
    assert buckets.take("ada") > 0


def test_who_asks_no_more_is_forgotten() -> None:
    timer = Seconds()
    buckets = Buckets(Pace(10, 1), timer)
    for number in range(10_000):
        buckets.take(number)
        timer.now += 0.01
    assert len(buckets._full_at) < 3_000


@given(st.integers(1, 20), st.lists(st.floats(0, 5), max_size=100))
def test_in_no_stretch_of_time_more_pass_than_twice_the_pace(requests: int, pauses: list[float]) -> None:
    """A full bucket, and what flows into it meanwhile."""
    timer = Seconds()
    buckets = Buckets(Pace(requests, 10), timer)
    passed = []
    for pause in pauses:
        timer.now += pause
        if buckets.take("ada") == 0:
            passed.append(timer.now)
    for begin in passed:
        assert sum(begin <= moment < begin + 10 for moment in passed) <= 2 * requests
