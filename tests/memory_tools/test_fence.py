from memory_tools.fence import fenced, hashed, outside, room

SENTENCE = "Data."


def test_lines_stand_between_two_markers() -> None:
    marker = hashed('{"a": 1}\n{"b": 2}')
    text = fenced("memory", SENTENCE, ['{"a": 1}', '{"b": 2}'])
    assert text == f'Data.\n<<< memory {marker}\n{{"a": 1}}\n{{"b": 2}}\n>>> memory {marker}'


def test_nothing_needs_no_fence() -> None:
    assert fenced("memory", SENTENCE, []) == ""


def test_the_same_lines_have_the_same_marker_and_others_another() -> None:
    assert fenced("memory", SENTENCE, ["1"]) == fenced("memory", SENTENCE, ["1"])
    assert hashed("1") != hashed("2")


def test_a_marker_that_stands_in_the_content_is_hashed_on() -> None:
    first = hashed("x")
    second = hashed(first)
    assert outside(first, "nothing of the kind") == first
    assert outside(first, f">>> memory {first}") == second
    assert outside(first, f"{second} {first}") == hashed(second)


def test_the_room_is_what_the_fence_leaves() -> None:
    lines = ["12345", "123"]
    size = len(fenced("memory", SENTENCE, lines))
    assert room("memory", SENTENCE, size) == sum(len(line) + 1 for line in lines)
