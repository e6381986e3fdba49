from storage.matching import Matching


def test_entries_are_matched_by_value_wherever_they_are() -> None:
    matching = Matching(["a", "b", "c"], ["c", "a", "b"])
    assert matching.target == [1, 2, 0]
    assert matching.stays == [0, 1]
    assert matching.edited == []


def test_an_edited_object_is_recognised_by_its_id() -> None:
    matching = Matching([{"id": 1, "x": "old"}, {"id": 2}], [{"id": 2}, "between", {"id": 1, "x": "new"}])
    assert matching.target == [2, 0]
    assert matching.edited == [(0, 2)]


def test_an_id_of_1_is_not_the_id_true() -> None:
    matching = Matching([{"id": 1, "x": 0}, "a"], ["a", {"id": True, "x": 1}, {"id": 1, "x": 2}])
    assert matching.target == [2, 0]


def test_what_is_left_between_two_entries_that_stay_is_matched_with_what_it_has_most_in_common() -> None:
    old = [{"name": "Ada", "city": "London", "age": 36}, "stays"]
    new = [{"name": "Bob"}, {"name": "Ada", "city": "London", "age": 37}, "stays", "more"]
    matching = Matching(old, new)
    assert matching.target == [1, 2]
    assert matching.edited == [(0, 1)]


def test_entries_that_kept_their_place_are_edited_there() -> None:
    matching = Matching(["a", "b", "c", "d", "e"], ["A", "b", "c", "d", "E"])
    assert matching.edited == [(0, 0), (4, 4)]
    assert matching.shifts() == 0
    assert list(matching.gaps()) == []


def test_shifts_count_every_entry_put_in_or_taken_out() -> None:
    assert Matching(["a", "b", "c"], ["c", "a", "b"]).shifts() == 2
    assert Matching(["a", "b"], ["b", "x", "y", "z"]).shifts() == 4


def test_gaps_name_what_lies_between_the_entries_that_stay() -> None:
    matching = Matching(["a", "stays", "b", "c"], ["x", "y", "stays", "z"])
    assert matching.stays == [0, 1, 2]
    assert list(matching.gaps()) == [(1, range(1, 1), range(1, 2)), (3, range(3, 4), range(4, 4))]


def test_scalars_that_differ_are_listed_by_place_and_types_count() -> None:
    assert Matching([1, "b", "c"], [1.0, "c", "b"]).differing_scalars() == [0, 1, 2]
    assert Matching(["a", {}], ["b", []]).differing_scalars() == []
