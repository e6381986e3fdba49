"""The gate: what no client's message may hold."""

import json
from typing import Any

import pytest
from mcp_types import JSONRPCError, JSONRPCResponse

from mcp_server.gate import BODY_LIMIT, objection

CALL = '{"jsonrpc":"2.0","id":%s,"method":"tools/call","params":{"name":"set_memory_item","arguments":%s}}'

REFUSED = [
    ('{"key":"a","value":NaN}', "invalid_json"),
    ('{"key":"a","value":[-Infinity]}', "invalid_json"),
    ('{"key":"a","value":1e400}', "invalid_json"),
    ('{"key":"a","value":1e-400}', "invalid_json"),
    ('{"key":"a","value":18446744073709551616}', "invalid_json"),
    ('{"key":"a","value":9223372036854775808}', "invalid_json"),
    ('{"key":"a","value":"a\\u0000b"}', "invalid_json"),
    ('{"key":"a","a\\u0000b":1}', "invalid_json"),
    ('{"key":"a","value":"\\ud800"}', "invalid_json"),
    ('{"key":"\\udc00\\ud800","value":1}', "invalid_json"),
    ('{"key":"a","value":1,"value":2}', "invalid_json"),
    ('{"key":"a","value":{"b":1,"\\u0062":2}}', "invalid_json"),
    (f'{{"key":"a","value":{"[" * 100}{"]" * 100}}}', "invalid_json"),
]


@pytest.mark.parametrize(("arguments", "code"), REFUSED)
@pytest.mark.parametrize("identifier", [7, "seven", 0, -1])
def test_a_call_of_a_tool_is_answered_as_a_tool_that_failed(arguments: str, code: str, identifier: Any) -> None:
    answer = objection(CALL % (json.dumps(identifier), arguments))
    assert isinstance(answer, JSONRPCResponse)
    assert (answer.id, answer.result["isError"]) == (identifier, True)
    (content,) = answer.result["content"]
    assert content["text"].startswith(f"{code}: ")
    assert "\n" not in content["text"]


@pytest.mark.parametrize(("arguments", "code"), REFUSED)
def test_anything_else_is_answered_by_an_error_of_the_protocol(arguments: str, code: str) -> None:
    for message in (
        (CALL % (7, arguments)).replace("tools/call", "prompts/get"),
        (CALL % (7, arguments)).replace("tools/call", "tools\\u0000call"),
    ):
        answer = objection(message.encode())
        assert isinstance(answer, JSONRPCError)
        assert (answer.id, answer.error.code, answer.error.data) == (7, -32700, {"code": code})
        assert answer.error.message.startswith(f"{code}: ")


@pytest.mark.parametrize(
    "identifier", ["null", "true", "1.5", "[1]", '{"a":1}', "NaN", '"\\ud800"', "9223372036854775808", "1" * 5_000]
)
def test_an_id_that_cannot_be_sent_back_is_left_out(identifier: str) -> None:
    answer = objection(CALL % (identifier, '{"a":1,"a":2}'))
    assert isinstance(answer, JSONRPCError)
    assert answer.id is None
    answer.model_dump_json(by_alias=True).encode()


@pytest.mark.parametrize(
    "message",
    [b"", b" ", b"{", b"\xff\xfe", b"\xef\xbb\xbf{}", b'{"a":1}}', b"nul", b"\x00", b"[" * 100_000, b'{"a":' * 50_000],
    ids=lambda each: ascii(each[:12]),
)
def test_what_is_no_json_is_answered_without_an_id(message: bytes) -> None:
    answer = objection(message)
    assert isinstance(answer, JSONRPCError)
    assert (answer.id, answer.error.code) == (None, -32700)
    assert len(answer.error.message) <= 600


def test_a_message_has_at_most_4_mib() -> None:
    around = len(CALL % (1, '{"key":"a","value":""}'))
    fits = CALL % (1, f'{{"key":"a","value":"{"x" * (BODY_LIMIT - around)}"}}')
    assert len(fits) == BODY_LIMIT == 4_194_304
    assert objection(fits) is None
    answer = objection(fits + " ")
    assert answer is None or isinstance(answer, JSONRPCError)
    answer = objection(fits.replace("xx", "xxx", 1))
    assert isinstance(answer, JSONRPCError)
    assert (answer.error.code, answer.error.data) == (-32600, {"code": "too_large"})


@pytest.mark.parametrize("value", ['"null"', "null", "[1,2.0]", '"\\u2028"', '"\\ud83d\\ude00"', "9223372036854775807"])
def test_what_can_be_kept_passes(value: str) -> None:
    assert objection(CALL % (1, f'{{"key":"a","value":{value}}}')) is None
    assert objection((CALL % (1, f'{{"key":"a","value":{value}}}')).encode() + b"\r\n") is None


def test_an_error_repeats_nothing_that_was_said() -> None:
    answer = objection(CALL % (1, '{"key":"diagnosis","value":"a secret","value":NaN}'))
    assert "secret" not in str(answer)
