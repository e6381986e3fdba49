"""Transcripts: a conversation in a file, as a JSON list of messages or as plain `speaker: text` lines."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from storage.canonical import canonical, parse
from storage.conversations import NewMessage
from storage.errors import InvalidInput, InvalidTranscript, TooLarge
from storage.json_types import Json
from storage.limits import MESSAGE_LIMIT
from storage.names import check_name

TRANSCRIPT_LIMIT = 16 * 1024 * 1024
"""Bytes of one transcript: days of talk."""

_SPEAKERS = {
    "user": "user human customer caller client guest me person",
    "assistant": "assistant agent ai bot chatbot model operator representative support",
    "tool": "tool function",
    "system": "system developer",
}
_ROLE_CALLED = {name: role for role, names in _SPEAKERS.items() for name in names.split()}
"""Who says a message, by what transcripts call them."""

_LINE = re.compile(r"(?P<speaker>[^\s:][^:]{0,39}):(?:[ \t]+(?P<text>.*)|)$")
"""A speaker of at most 40 characters, a colon, and a space: neither `https://` nor 10:30 begins a message."""

_MESSAGE_MEMBERS = ("role", "content", "said_at", "external_id", "metadata")

_IS_JSON = re.compile(r"\s*(?:\[\s*[\[{\]\"]|\{\s*[\"}])")
"""How JSON begins, and a line such as `[10:30] Ada: hello` does not."""


@dataclass(frozen=True, slots=True)
class Transcript:
    """Messages in order; `name` is made of what the file holds, so that the same file has the same name."""

    name: str
    messages: tuple[NewMessage, ...]


def read_transcript(raw: bytes, *, user: str | None = None, speaker: str | None = None) -> Transcript:
    """Return the transcript that a file holds: a JSON list of messages, or plain `speaker: text` lines.

    In plain lines the person whose memory it is, is `speaker` where that is given; else whoever is called user,
    human, customer, caller and the like, or by the user id `user`; else whoever speaks first and is not called
    assistant, agent, bot and the like. Everybody else is the assistant. A line without a speaker goes on with the
    message before it. A message without external id gets its position and hash.
    Raises InvalidTranscript, TooLarge, InvalidJson and InvalidName, where there is one with the message's pointer.
    """
    if len(raw) > TRANSCRIPT_LIMIT:
        raise TooLarge(f"The transcript has more than {TRANSCRIPT_LIMIT:,} bytes.")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidTranscript(f"The transcript is not UTF-8 (byte {error.start:,}).") from None
    messages = _from_json(text) if _IS_JSON.match(text) else _from_lines(text, user, speaker)
    if not messages:
        raise InvalidTranscript("The transcript holds no message.")
    return Transcript(f"transcript-{sha256(raw).hexdigest()[:32]}", messages)


def _from_json(text: str) -> tuple[NewMessage, ...]:
    listed = parse(text, limit=TRANSCRIPT_LIMIT)
    if not isinstance(listed, list):
        raise InvalidTranscript("A transcript in JSON is a list of messages.", pointer="")
    return tuple(_from_members(members, position) for position, members in enumerate(listed))


def _from_members(members: Json, position: int) -> NewMessage:
    if not isinstance(members, dict) or not {"role", "content"} <= members.keys():
        raise _wrong(position, "it is not an object with role and content")
    role = _ROLE_CALLED.get(members["role"].lower()) if isinstance(members["role"], str) else None
    if role is None:
        raise _wrong(position, f"its role is none of {', '.join(sorted(_ROLE_CALLED))}", "/role")
    external_id = members.get("external_id")
    if not isinstance(external_id, str | None):
        raise _wrong(position, "its external_id is not a string", "/external_id")
    if not isinstance(members.get("metadata", {}), dict):
        raise _wrong(position, "its metadata is not an object", "/metadata")
    # What a host's export says beside our own members is kept, not understood.
    others = {name: value for name, value in members.items() if name not in _MESSAGE_MEMBERS}
    metadata = others | members.get("metadata", {})
    return _message(position, role, members["content"], metadata, _said_at(members, position), external_id)


def _said_at(members: Mapping[str, Any], position: int) -> datetime | None:
    written = members.get("said_at")
    if written is None:
        return None
    try:
        said_at = datetime.fromisoformat(written)
        if said_at.tzinfo is not None:
            return said_at.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):  # the last one near the years 1 and 9999
        raise _wrong(position, "its said_at is not an ISO 8601 time", "/said_at") from None
    raise _wrong(position, "its said_at has no zone, such as +00:00", "/said_at")


def _from_lines(text: str, user: str | None, speaker: str | None) -> tuple[NewMessage, ...]:
    turns = [(who, said) for who, said in _turns(text) if said]
    roles = _roles([who for who, _ in turns], user, speaker)
    return tuple(
        _message(position, roles[who.casefold()], said, {"speaker": who}) for position, (who, said) in enumerate(turns)
    )


def _turns(text: str) -> list[tuple[str, str]]:
    """Return who says what: a line that is indented or names no speaker goes on with the turn before."""
    turns: list[tuple[str, list[str]]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        found = _LINE.match(line)
        if found and any(map(str.isalpha, found["speaker"])):
            turns.append((" ".join(found["speaker"].split()), [found["text"] or ""]))
        elif turns:
            turns[-1][1].append(line.strip())
        elif line.strip():
            raise InvalidTranscript(f"Line {number} of the transcript names no speaker: it needs `speaker: text`.")
    return [(who, "\n".join(lines).strip()) for who, lines in turns]


def _roles(speakers: Sequence[str], user: str | None, speaker: str | None) -> dict[str, str]:
    """Return the role of each speaker, by the folded name."""
    names = list(dict.fromkeys(name.casefold() for name in speakers))
    if speaker is not None:
        person = speaker.casefold()
        if person not in names:
            raise InvalidTranscript("Nobody of the name that --speaker gives says anything in the transcript.")
        return {name: "user" if name == person else _ROLE_CALLED.get(name, "assistant") for name in names} | {
            name: "assistant" for name in names if name != person and _ROLE_CALLED.get(name) == "user"
        }
    roles = {name: _ROLE_CALLED.get(name) for name in names}
    if user is not None and user.casefold() in roles:
        roles[user.casefold()] = "user"
    if "user" not in roles.values() and None in roles.values():
        roles[next(name for name in names if roles[name] is None)] = "user"
    return {name: role or "assistant" for name, role in roles.items()}


def _message(
    position: int,
    role: str,
    content: Json,
    metadata: dict[str, Json],
    said_at: datetime | None = None,
    external_id: str | None = None,
) -> NewMessage:
    """Return the message, known by its position and hash where it has no id of its own; refuse what cannot be kept."""
    try:
        said = canonical([role, content], limit=MESSAGE_LIMIT)
        canonical(metadata, limit=MESSAGE_LIMIT)
        name = check_name(external_id or f"{position}-{sha256(said.encode()).hexdigest()[:32]}", "external id")
    except InvalidInput as error:
        raise type(error)(f"Message {position + 1} of the transcript cannot be kept. {error}") from None
    return NewMessage(role, content, said_at, name, metadata)


def _wrong(position: int, what: str, member: str = "") -> InvalidTranscript:
    message = f"Message {position + 1} of the transcript is not acceptable: {what}."
    return InvalidTranscript(message, pointer=f"/{position}{member}")
