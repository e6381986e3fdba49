"""Transcripts as files."""

import json
from datetime import UTC, datetime

import pytest

from storage.errors import InvalidJson, InvalidTranscript, TooLarge, UserMemoryError
from usermemory.commands.transcript import TRANSCRIPT_LIMIT, read_transcript


def roles(text: str, **who: str) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in read_transcript(text.encode(), **who).messages]


def test_json_is_a_list_of_messages() -> None:
    listed = [
        {"role": "user", "content": "Hi", "said_at": "2026-11-20T09:00:00Z", "external_id": "m1"},
        {"role": "assistant", "content": [{"type": "text", "text": "Hello"}], "name": "Eve", "metadata": {"a": 1}},
    ]
    first, second = read_transcript(json.dumps(listed).encode()).messages
    assert (first.role, first.content, first.external_id) == ("user", "Hi", "m1")
    assert first.said_at == datetime(2026, 11, 20, 9, tzinfo=UTC)
    assert second.content == [{"type": "text", "text": "Hello"}]
    assert second.metadata == {"a": 1, "name": "Eve"}


def test_roles_may_be_called_as_other_programs_call_them() -> None:
    names = ("human", "ai", "AI", "developer", "function", "customer")
    listed = json.dumps([{"role": name, "content": name} for name in names])
    assert [role for role, _ in roles(listed)] == ["user", "assistant", "assistant", "system", "tool", "user"]


def test_lines_name_their_speaker_and_go_on_without_one() -> None:
    text = "user: I moved.\n  Note: indented\nto Bonn at 10:30, see https://x.org\n\nassistant: Nice!\n"
    assert roles(text) == [
        ("user", "I moved.\nNote: indented\nto Bonn at 10:30, see https://x.org"),
        ("assistant", "Nice!"),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Human: a\nAI: b", ["user", "assistant"]),
        ("Agent: a\nCaller: b\nAgent: c", ["assistant", "user", "assistant"]),
        ("Bot: a\nAda Lovelace: b\nBob: c", ["assistant", "user", "assistant"]),
        ("Ada: a\nBob: b\nADA: c", ["user", "assistant", "user"]),
        ("Bob: a\nada: b", ["assistant", "user"]),
        ("System: a\nTool: b\nAda: c", ["system", "tool", "user"]),
        ("Agent: a\nBot: b", ["assistant", "assistant"]),
    ],
)
def test_the_person_is_called_so_or_by_the_user_id_or_speaks_first(text: str, expected: list[str]) -> None:
    assert [role for role, _ in roles(text, user="ada")] == expected


def test_a_named_speaker_is_the_person() -> None:
    assert [role for role, _ in roles("Caller: a\nDr. Smith: b", speaker="dr. smith")] == ["assistant", "user"]
    with pytest.raises(InvalidTranscript):
        roles("Ada: a", speaker="Bob")


def test_the_speaker_is_kept() -> None:
    assert read_transcript(b"Ada  L.: hi").messages[0].metadata == {"speaker": "Ada L."}


def test_a_bracketed_time_is_not_taken_for_json() -> None:
    with pytest.raises(InvalidTranscript, match="Line 1"):
        read_transcript(b"[10:30] hello")


def test_the_same_file_has_the_same_name_and_ids_and_another_has_others() -> None:
    one, again = (read_transcript(b"user: a\nuser: a\nuser: b") for _ in range(2))
    assert one == again
    assert len({message.external_id for message in one.messages}) == 3
    other = read_transcript(b"user: a\nuser: a\nuser: c")
    assert other.name != one.name
    shared = {message.external_id for message in one.messages} & {message.external_id for message in other.messages}
    assert len(shared) == 2


def test_a_byte_order_mark_and_windows_line_ends_are_no_content() -> None:
    assert roles("\ufeffuser: a\r\nuser: b\r\n") == [("user", "a"), ("user", "b")]
    assert roles('\ufeff[{"role": "user", "content": "a"}]') == [("user", "a")]


@pytest.mark.parametrize(
    ("raw", "pointer"),
    [
        (b"", None),
        (b"  \n", None),
        (b"[]", None),
        (b"hello", None),
        (b"https://x.org: a", None),
        (b"\xff\xfe", None),
        (b'{"role": "user", "content": "a"}', ""),
        (b'["a"]', "/0"),
        (b'[{"role": "user"}]', "/0"),
        (b'[{"role": "user", "content": 1}, {"role": "boss", "content": "a"}]', "/1/role"),
        (b'[{"role": 1, "content": "a"}]', "/0/role"),
        (b'[{"role": "user", "content": "a", "said_at": "noon"}]', "/0/said_at"),
        (b'[{"role": "user", "content": "a", "said_at": 12}]', "/0/said_at"),
        (b'[{"role": "user", "content": "a", "said_at": "2026-11-20T09:00"}]', "/0/said_at"),
        (b'[{"role": "user", "content": "a", "said_at": "0001-01-01T00:00:00+14:00"}]', "/0/said_at"),
        (b'[{"role": "user", "content": "a", "external_id": 7}]', "/0/external_id"),
        (b'[{"role": "user", "content": "a", "metadata": []}]', "/0/metadata"),
    ],
)
def test_what_is_no_transcript_is_refused_with_its_place(raw: bytes, pointer: str | None) -> None:
    with pytest.raises(InvalidTranscript) as refused:
        read_transcript(raw)
    assert refused.value.pointer == pointer


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b'[{"role": "user", "content": NaN}]', InvalidJson),
        (b'[{"role": "user", "content": "\\u0000"}]', InvalidJson),
        (b'[{"role": "user", "role": "tool", "content": "a"}]', InvalidJson),
        (b"user: a\x00b", InvalidJson),
        (b"user: " + b"x" * 65_536, TooLarge),
        (b"user: " + b"x" * TRANSCRIPT_LIMIT, TooLarge),
    ],
)
def test_what_cannot_be_kept_is_refused(raw: bytes, error: type[UserMemoryError]) -> None:
    with pytest.raises(error):
        read_transcript(raw)
