"""Pauses grow up to a limit, differ, and begin anew once it answered."""

from memory_tools.pauses import LONGEST_PAUSE, SHORTEST_PAUSE, Pauses


def test_each_pause_is_up_to_twice_as_long_as_the_one_before_and_none_longer_than_the_longest() -> None:
    pauses = Pauses()
    for longest in (1.0, 2.0, 4.0, 8.0, 16.0, LONGEST_PAUSE, LONGEST_PAUSE):
        assert longest / 2 <= pauses.next() <= longest
    for _ in range(10_000):
        assert LONGEST_PAUSE / 2 <= pauses.next() <= LONGEST_PAUSE


def test_two_who_failed_together_do_not_come_back_together() -> None:
    assert len({Pauses().next() for _ in range(50)}) > 1


def test_once_it_answered_the_next_pause_is_the_shortest_again() -> None:
    pauses = Pauses()
    for _ in range(5):
        pauses.next()
    pauses.reset()
    assert SHORTEST_PAUSE / 2 <= pauses.next() <= SHORTEST_PAUSE


def test_who_knows_better_says_how_long_they_are() -> None:
    pauses = Pauses(0.1, 0.3)
    for longest in (0.1, 0.2, 0.3, 0.3):
        assert longest / 2 <= pauses.next() <= longest
