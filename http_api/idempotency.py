"""Idempotency: a write under an `Idempotency-Key` is done once, and what it was answered is its own transaction's."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, TypeAlias

from starlette.datastructures import Headers

from http_api.problems import Malformed
from memory_tools.memory import UserMemory
from memory_tools.within import Configuring, Within
from storage.canonical import dumps
from storage.configuring import edit_configurations
from storage.idempotency import Answered
from storage.json_types import Json

HEADER: Final = "Idempotency-Key"

REPLAYED: Final = "Idempotency-Replayed"
"""The header of an answer that was given before."""

KEY_LIMIT: Final = 200
"""Characters of a key."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request is answered with."""

    status: int
    value: Json
    etag: str | None = None
    replayed: bool = False


def idempotency_key(headers: Headers) -> str | None:
    """Return the key of a write, if it has one. Raises Malformed for a key that is none, and for two."""
    keys = headers.getlist(HEADER)
    if not keys:
        return None
    key = keys[0]
    if len(keys) > 1 or not (0 < len(key) <= KEY_LIMIT and key.isascii() and key.isprintable() and " " not in key):
        raise Malformed(f"{HEADER} is given once, in 1 to {KEY_LIMIT} visible ASCII characters")
    return key


def fingerprint(name: str, members: dict[str, Json], headers: Headers) -> Json:
    """Return what makes two requests the same one: what is asked, with which members, on which conditions."""
    conditions = [*headers.getlist("if-match"), "", *headers.getlist("if-none-match")]
    return {"name": name, "members": sha256(dumps(members).encode()).hexdigest(), "conditions": conditions}


AnswerOnce: TypeAlias = Callable[[UserMemory, str, Json, Callable[[UserMemory], Answer]], Answer]
"""Answers a request of a person under a key, where it has not come before: `answered_once` or `configured_once`."""


def answered_once(person: UserMemory, key: str, request: Json, act: Callable[[UserMemory], Answer]) -> Answer:
    """Return what `act` answers, or what it answered when the same request came under `key` before.

    The act, the key and the answer are one transaction of the person: either all of it happened or nothing did.
    Raises IdempotencyKeyReused where another request came under the key.
    """
    with person.begin() as stores:
        return _given(stores.once(key, request, lambda: _kept(act(Within(person, stores)))))


def configured_once(person: UserMemory, key: str, request: Json, act: Callable[[UserMemory], Answer]) -> Answer:
    """Do the same where the organization's configuration is written: the key is the organization's."""
    with edit_configurations(person.memory.database) as edits:
        organization = person.identity.organization
        return _given(edits.once(organization, key, request, lambda: _kept(act(Configuring(person, edits)))))


def _kept(answer: Answer) -> dict[str, Any]:
    return {"status": answer.status, "value": answer.value, "etag": answer.etag}


def _given(kept: Answered) -> Answer:
    return Answer(kept.answer["status"], kept.answer["value"], kept.answer["etag"], kept.again)
