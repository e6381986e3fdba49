"""The gate: what text a value is kept as, and what is refused, where and why."""

import datetime
import enum
import json
import math
import tracemalloc
import uuid
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from storage import canonical as gate
from storage.canonical import RAW_FACTOR, canonical, dumps, loads, parse
from storage.errors import InvalidInput, InvalidJson, TooLarge
from storage.limits import DEPTH_LIMIT, DOCUMENT_LIMIT, ITEM_LIMIT, NODE_LIMIT
from tests.hostile import HALF, HOSTILE, NUL, OVER_64_BITS, TOO_DEEP


def by_definition(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def shortened(part: object) -> str:
    text = ascii(part)
    return text if len(text) < 40 else f"{text[:24]}... {len(text)}"


GOLDEN: list[tuple[Any, str]] = [
    (None, "null"),
    (True, "true"),
    (False, "false"),
    (0, "0"),
    (1, "1"),
    (-1, "-1"),
    (2**53 + 1, "9007199254740993"),
    (2**63 - 1, "9223372036854775807"),
    (-(2**63) + 1, "-9223372036854775807"),
    (10**16, "10000000000000000"),
    (0.0, "0.0"),
    (-0.0, "-0.0"),
    (1.0, "1.0"),
    (0.1, "0.1"),
    (0.1 + 0.2, "0.30000000000000004"),
    (1e15, "1000000000000000.0"),
    (9999999999999998.0, "9999999999999998.0"),
    (1e16, "1e+16"),
    (-1e16, "-1e+16"),
    (1e21, "1e+21"),
    (1e22, "1e+22"),
    (1.5e300, "1.5e+300"),
    (1.7976931348623157e308, "1.7976931348623157e+308"),
    (0.0001, "0.0001"),
    (0.00001, "1e-05"),
    (0.000012345, "1.2345e-05"),
    (-0.00001, "-1e-05"),
    (1e-7, "1e-07"),
    (1e-10, "1e-10"),
    (2.2250738585072014e-308, "2.2250738585072014e-308"),
    (5e-324, "5e-324"),
    ("", '""'),
    ("a", '"a"'),
    ('"\\/', '"\\"\\\\/"'),
    ("\b\t\n\f\r", '"\\b\\t\\n\\f\\r"'),
    ("\x01\x1f\x7f\x80", '"\\u0001\\u001f\x7f\x80"'),
    ("\u2028\u2029\ufeff\uffff", '"\u2028\u2029\ufeff\uffff"'),
    ("é", '"é"'),
    ("e\u0301", '"e\u0301"'),  # another text than é: values are not normalised
    ("日本語😀", '"日本語😀"'),
    ("\\u0000", '"\\\\u0000"'),  # six characters, and no NUL
    ("3e5, e+, 0.00001", '"3e5, e+, 0.00001"'),
    ([], "[]"),
    ({}, "{}"),
    ([[], {}, ""], '[[],{},""]'),
    ([1, 1.0, True, "1", None], '[1,1.0,true,"1",null]'),
    ({"b": 1, "a": 2, "": 3, "B": 4}, '{"":3,"B":4,"a":2,"b":1}'),
    ({"é": 1, "z": 2, "\uffff": 3, "😀": 4}, '{"z":2,"é":1,"\uffff":3,"😀":4}'),  # by code point
    ({"10": 1, "9": 2}, '{"10":1,"9":2}'),
    ({"x": [1e-5, {"y": 1e16}]}, '{"x":[1e-05,{"y":1e+16}]}'),
]


@pytest.mark.parametrize(("value", "text"), GOLDEN, ids=shortened)
def test_canonical_text_never_changes(value: Any, text: str) -> None:
    assert canonical(value) == text
    assert dumps(value) == text
    assert by_definition(value) == text
    for source in (text, text.encode(), f" \t\r\n{text}\n"):
        assert by_definition(parse(source)) == text
    assert by_definition(loads(text)) == text


def refusal(call: Callable[[], object]) -> InvalidInput:
    with pytest.raises(InvalidInput) as refused:
        call()
    return refused.value


@pytest.mark.parametrize(("raw", "message", "at"), HOSTILE, ids=shortened)
def test_hostile_text_is_refused_with_the_reason_and_the_place(raw: bytes, message: str, at: str) -> None:
    refused = refusal(lambda: parse(raw))
    assert type(refused) is InvalidJson
    assert message in str(refused)
    assert refused.pointer == at
    assert (f'At "{at}": ' if at else "At the top level: ") in str(refused)
    assert refused.details == {"pointer": at}
    str(refused).encode()  # a door can send it


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":"\\ud83d\\ude00"}',
        b'{"a":":","b":"\\u003a","c":{":":1}}',
        b"[0e400, 0.0e-999, -0.0, 0]",
        b"[0.05, 1e-300, 5e-324, 1e308]",
        b"[9223372036854775807, -9223372036854775807]",
        b'["\\\\u0000 \\u003A \xf0\x9f\x98\x80 \\/ e-400"]',
        b'{"a":[],"b":{},"c":"0.0 1e-400 2e+19"}',
        b"[1.0e5, 1E+5, 100000, 0.00001, 1e20]",
        b"[-0, 1.10, 123456789012345678.5]",
        b"[" * DEPTH_LIMIT + b"]" * DEPTH_LIMIT,
        b'{"a":' * (DEPTH_LIMIT - 1) + b'[":"]' + b"}" * (DEPTH_LIMIT - 1),
    ],
    ids=shortened,
)
def test_unusual_text_that_loses_nothing_is_read_as_pythons_json_reads_it(raw: bytes) -> None:
    expected = by_definition(json.loads(raw))
    assert by_definition(parse(raw)) == by_definition(parse(raw.decode())) == expected
    assert canonical(parse(raw)) == expected


@pytest.mark.parametrize("text", [None, 1, ["[]"], {"a": 1}, bytearray(b"1"), memoryview(b"1")], ids=repr)
def test_only_text_is_parsed(text: Any) -> None:
    assert "is not JSON text" in str(refusal(lambda: parse(text)))


def test_a_string_with_surrogates_or_a_byte_order_mark_is_refused_as_bytes_are() -> None:
    assert refusal(lambda: parse('{"a":"\ud800"}')).pointer == "/a"
    assert refusal(lambda: parse('{"a":\udcff}')).pointer == "/a"
    assert "byte order mark" in str(refusal(lambda: parse("\ufeff{}")))


class Colour(enum.StrEnum):
    RED = "red"


class Size(enum.IntEnum):
    BIG = 3


class Plain(enum.Enum):
    ONE = 1


class Text(str):
    __slots__ = ()


class Pair(NamedTuple):
    one: int
    two: int


NOT_JSON: list[object] = [
    (1, 2),
    Pair(1, 2),
    {1, 2},
    frozenset(),
    b"bytes",
    bytearray(b"x"),
    1j,
    Decimal("1.5"),
    datetime.datetime(2026, 1, 1),
    datetime.date(2026, 1, 1),
    uuid.UUID(int=0),
    Colour.RED,
    Size.BIG,
    Plain.ONE,
    Text("x"),
    OrderedDict(a=1),
    defaultdict(list),
    range(3),
    iter([]),
    object(),
    object,
    ...,
    NotImplemented,
]


@pytest.mark.parametrize("value", NOT_JSON, ids=lambda value: type(value).__name__)
def test_a_type_that_is_not_exactly_one_of_jsons_is_refused_where_it_stands(value: object) -> None:
    for whole, at in ((value, ""), ([0, value], "/1"), ({"a": {"b/c": [value]}}, "/a/b~1c/0")):
        refused = refusal(lambda whole=whole: canonical(whole))  # type: ignore[misc]
        assert f"type {type(value).__name__} is not JSON" in str(refused)
        assert refused.pointer == at


@pytest.mark.parametrize("name", [1, None, True, 1.5, b"a", (1,), Colour.RED, Text("a")], ids=repr)
def test_the_name_of_a_member_is_a_string(name: object) -> None:
    refused = refusal(lambda: canonical({"a": [{name: 1}]}))
    assert "names are strings" in str(refused)
    assert refused.pointer == "/a/0"


def test_a_name_that_cannot_even_be_printed_is_refused() -> None:
    assert refusal(lambda: canonical([*[0] * 1_000, {10**5_000: 0}])).pointer == "/1000"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (math.nan, "NaN"),
        (math.inf, "infinity"),
        (-math.inf, "infinity"),
        (2**63, OVER_64_BITS),
        (-(2**63), OVER_64_BITS),
        (2**64, OVER_64_BITS),
        (10**5_000, OVER_64_BITS),
        ("a\0", NUL),
        ({"\0": 1}, NUL),
        ("\ud800", HALF),
        ({"\udfff": 1}, HALF),
    ],
    ids=["nan", "inf", "-inf", "2^63", "-2^63", "2^64", "10^5000", "nul", "nul name", "surrogate", "surrogate name"],
)
def test_a_value_that_would_not_survive_is_refused_where_it_stands(value: object, message: str) -> None:
    refused = refusal(lambda: canonical({"a": [None, value]}))
    assert message in str(refused)
    assert refused.pointer == "/a/1"
    str(refused).encode()


def test_the_first_fault_in_the_order_of_the_document_is_named() -> None:
    assert refusal(lambda: canonical({"z": [1, math.nan], "a": "\0"})).pointer == "/z/1"
    assert refusal(lambda: parse('{"z":[1,NaN],"a":"\\u0000"}')).pointer == "/z/1"


def nested(depth: int, leaf: Any = None) -> Any:
    value = [] if leaf is None else [leaf]
    for _ in range(depth - 1):
        value = [value]
    return value


def test_depth_counts_objects_and_arrays_inside_one_another() -> None:
    for leaf in (None, "x"):
        deepest = nested(DEPTH_LIMIT, leaf)
        assert parse(canonical(deepest)) == deepest
        refused = refusal(lambda leaf=leaf: canonical(nested(DEPTH_LIMIT + 1, leaf)))  # type: ignore[misc]
        assert TOO_DEEP in str(refused)
        assert refused.pointer == "/0" * DEPTH_LIMIT


def test_a_value_that_contains_itself_is_refused() -> None:
    array: list[Any] = []
    array.append(array)
    members: dict[str, Any] = {}
    members["me"] = {"again": members}
    wide: list[Any] = []
    wide += [wide] * 1_000
    for value in (array, members, wide):
        assert isinstance(refusal(lambda value=value: canonical(value)), InvalidJson | TooLarge)  # type: ignore[misc]
    assert refusal(lambda: canonical(members)).pointer == "/me/again" * (DEPTH_LIMIT // 2)
    assert TOO_DEEP in str(refusal(lambda: canonical(nested(100_000))))


def test_too_many_values_are_refused() -> None:
    most = [0] * (NODE_LIMIT - 1)
    assert len(canonical(most)) == 2 * NODE_LIMIT - 1
    assert len(parse(canonical(most))) == NODE_LIMIT - 1
    for refused in (refusal(lambda: canonical([*most, 0])), refusal(lambda: parse(by_definition([*most, 0])))):
        assert type(refused) is TooLarge
        assert "more than 100,000 values" in str(refused)


LONG = "x" * 100_000


def test_values_that_share_their_parts_are_refused_before_they_are_written() -> None:
    bomb: Any = "x"
    for _ in range(40):
        bomb = [bomb] * 10
    assert type(refusal(lambda: canonical(bomb))) is TooLarge


@pytest.mark.parametrize(
    "value",
    [[LONG] * 5_000, [{LONG: 0}] * 4_000, [[LONG] * 100] * 50],
    ids=["entries", "names", "arrays"],
)
def test_one_long_string_in_many_places_does_not_fill_the_memory(value: Any) -> None:
    tracemalloc.start()
    try:
        refused = refusal(lambda: canonical(value))  # 400 to 500 MB of text
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert type(refused) is TooLarge
    assert "at least" in str(refused)
    assert peak < 50_000_000


@pytest.mark.parametrize("letter", ["x", "é", "日", "😀", '"', "\n"], ids=ascii)
def test_the_limit_counts_bytes_of_canonical_text(letter: str) -> None:
    width = len(by_definition(letter).encode()) - 2
    most = letter * ((ITEM_LIMIT - 2) // width) + "x" * ((ITEM_LIMIT - 2) % width)
    assert len(canonical(most, limit=ITEM_LIMIT).encode()) == ITEM_LIMIT
    assert parse(by_definition(most), limit=ITEM_LIMIT) == most
    for refused in (
        refusal(lambda: canonical(most + "x", limit=ITEM_LIMIT)),
        refusal(lambda: parse(by_definition(most + "x"), limit=ITEM_LIMIT)),
    ):
        assert type(refused) is TooLarge
        assert "10,241 bytes" in str(refused)
        assert "limit is 10,240" in str(refused)


def test_white_space_and_escapes_do_not_count_unless_they_are_most_of_the_text() -> None:
    value = ["日" * 80_000]
    assert len(json.dumps(value)) > DOCUMENT_LIMIT
    assert parse(json.dumps(value, indent=8)) == value
    assert parse("1" + " " * (RAW_FACTOR * 10 - 1), limit=10) == 1
    for padded in ("1" + " " * RAW_FACTOR * 10, b"1" + b" " * RAW_FACTOR * 10):
        refused = refusal(lambda padded=padded: parse(padded, limit=10))  # type: ignore[misc]
        assert type(refused) is TooLarge
        assert "81 long" in str(refused)


def test_a_long_pointer_is_shortened_in_the_message_only() -> None:
    key = "k" * 100_000
    refused = refusal(lambda: canonical({key: [0] * 1_000 + [math.nan]}))
    assert refused.pointer == f"/{key}/1000"
    assert len(str(refused)) < 400


def test_a_long_key_above_many_values_does_not_fill_the_memory() -> None:
    key = "k" * 100_000
    assert refusal(lambda: parse('{"' + key + '":[' + "0," * 50_000 + "NaN]}")).pointer == f"/{key}/50000"


# Arbitrary JSON, and what is nearly JSON: both ways through the gate agree.

floats = st.floats(allow_nan=False, allow_infinity=False)
edge_floats = st.sampled_from([1e-4, 9.999999999999999e-05, 1e16, 9999999999999998.0, -1e-5, 1e-7, -0.0, 1e22])
integers = st.integers(-(2**63) + 1, 2**63 - 1)
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
scalars = st.none() | st.booleans() | integers | floats | edge_floats | texts | st.sampled_from(["\\u0000", "1e5", ":"])


def trees(leaves: st.SearchStrategy[Any], names: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(names, inner), max_leaves=30)


keepable = trees(scalars, texts)
nearly = trees(
    scalars
    | st.floats()
    | st.integers(-(2**65), 2**65)
    | st.text(st.characters())
    | st.tuples(st.integers())
    | st.sampled_from([Colour.RED, Size.BIG, Text("x"), b"x"]),
    st.text(st.characters()) | st.integers(0, 3) | st.just(Colour.RED),
)


def outcome(call: Callable[[], Any]) -> tuple[object, ...]:
    try:
        return "kept", call()
    except InvalidInput as refused:
        return type(refused), str(refused), refused.pointer


@given(keepable)
def test_everything_keepable_has_the_text_that_pythons_json_gives_it(value: Any) -> None:
    text = canonical(value)
    assert text == by_definition(value) == dumps(value) == gate._careful(value, DOCUMENT_LIMIT)
    assert by_definition(loads(text)) == text
    assert canonical(parse(json.dumps(value, indent=1))) == text


@given(nearly, st.integers(0, 200))
@example([1e16, "\\u0000"], 200)
@example([[[[]]]], 7)
def test_the_quick_and_the_careful_way_agree_on_any_object(value: Any, limit: int) -> None:
    quick = gate._quick(value, limit)
    careful = outcome(lambda: gate._careful(value, limit))
    assert outcome(lambda: canonical(value, limit=limit)) == careful
    assert quick is None or careful == ("kept", quick)


@given(keepable)
def test_the_quick_way_is_in_doubt_only_about_what_looks_like_nul(value: Any) -> None:
    assume("\\u0000" not in by_definition(value))
    assert gate._quick(value, DOCUMENT_LIMIT) is not None


numerals = st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,30})?([eE][-+]?[0-9]{1,4})?", fullmatch=True)
literals = numerals | st.sampled_from(
    ['"a"', '"\\u003a"', '":"', "null", "true", "NaN", "[]", '"\\ud800"', '"\\u0000"']
)
names = st.sampled_from(['"a"', '"b"', '"\\u0061"', '":"', '""'])
spaces = st.sampled_from(["", "", "", " ", "\n\t"])


@st.composite
def objects(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    members = draw(st.lists(st.tuples(names, spaces, inner), max_size=4))
    return "{" + ",".join(f"{name}{space}:{space}{value}" for name, space, value in members) + "}"


raw_texts = st.recursive(
    literals, lambda inner: objects(inner) | st.lists(inner, max_size=4).map(lambda x: f"[{','.join(x)}]")
)


@given(raw_texts)
@example('{"a":1,"a":1,"b":"\\u003a"}')
@example("[18446744073709551616]")
@example("[0.0,1e-400]")
def test_the_quick_and_the_careful_way_agree_on_any_text(text: str) -> None:
    careful = outcome(lambda: by_definition(gate._parse_carefully(text, DOCUMENT_LIMIT)))
    assert outcome(lambda: by_definition(parse(text))) == careful
    assert outcome(lambda: by_definition(parse(text.encode()))) == careful


@given(raw_texts, st.data())
def test_the_two_ways_agree_on_damaged_text(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text)))
    damage = data.draw(st.sampled_from(["", *'{}[],:"\\ 0e.-', "\x00", "\ufeff", "\ud800", "Ā"]))
    damaged = text[:at] + damage + text[at + data.draw(st.integers(0, 2)) :]
    assume(not damaged.startswith("\ufeff"))
    careful = outcome(lambda: by_definition(gate._parse_carefully(damaged, DOCUMENT_LIMIT)))
    assert outcome(lambda: by_definition(parse(damaged))) == careful
    if careful[0] == "kept":  # then Python's json reads the same
        assert careful[1] == by_definition(json.loads(damaged))


@given(st.binary(max_size=60))
def test_any_bytes_give_a_value_or_a_refusal_that_can_be_sent(raw: bytes) -> None:
    result = outcome(lambda: canonical(parse(raw)))
    assert result[0] == "kept" or str(result[1]).encode()
