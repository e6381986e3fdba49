from graphs.room import Room


def test_the_first_always_has_room_and_the_others_as_far_as_it_goes() -> None:
    assert [Room(3, 10).takes(50)] == [True]
    room = Room(3, 10)
    assert [room.takes(n) for n in (6, 5, 4, 0, 0)] == [True, False, True, True, False]


def test_after_one_that_was_too_long_nothing_fits() -> None:
    room = Room(3, 10)
    assert [room.takes(n) for n in (11, 0)] == [True, False]
