"""Members: what a request asks with: those of its path, and of its query or of its JSON body, each given once."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

from pydantic import ValidationError
from starlette.requests import Request

from http_api.problems import InvalidQuestion, Malformed, TooSlow, UnsupportedMediaType, misasked
from http_api.segments import path_members
from memory_tools.body import BODY_SECONDS, read_body
from memory_tools.named import decoded
from memory_tools.operation import Input
from storage.canonical import parse
from storage.json_types import Json
from storage.pointer import escape

Ask = TypeVar("Ask", bound=Input)

BODY_LIMIT: Final = 1024 * 1024
"""Bytes of a body."""

LITTLE_DIGITS: Final = 5
"""A declared length of fewer digits, so of less than 10 KB, is that of a little body: those of most items."""

QUERY_LIMIT: Final = 20
"""Parameters of a query."""

WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
"""Methods whose members stand in the body; those of the others stand in the query."""


def is_little(request: Request) -> bool:
    """Tell whether the body is so short that it may be read before anybody knows who sends it."""
    if request.method not in WITH_BODY:
        return True
    declared = request.headers.get("content-length", "")
    return declared.isdecimal() and declared.isascii() and len(declared) < LITTLE_DIGITS


async def body_of(request: Request) -> bytes:
    """Return the body of a request whose method has one, else nothing. Raises TooLarge, TooSlow and ClientGone."""
    if request.method not in WITH_BODY:
        return b""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await read_body(request.headers.get("content-length", ""), request.receive, BODY_LIMIT)
    except TimeoutError:
        raise TooSlow from None


def members_of(request: Request, body: bytes) -> dict[str, Json]:
    """Return the members of a request with this body.

    Raises UnsupportedMediaType for another body than JSON, Malformed for one where there should be none and for what
    cannot be read, InvalidJson, TooLarge, and InvalidQuestion for a member that is given twice.
    """
    _check_kind(request, body)
    given: Mapping[str, Json] = _in_query(request)
    if request.method in WITH_BODY:
        if given:
            raise InvalidQuestion([{"pointer": _place(name), "message": "belongs into the body"} for name in given])
        given = _in_body(body)
    path = path_members(request)
    if twice := path.keys() & given.keys():
        raise InvalidQuestion([{"pointer": _place(name), "message": "stands in the path"} for name in sorted(twice)])
    return {**path, **given}


def checked(question: type[Ask], members: Mapping[str, Json], *, strict: bool) -> Ask:
    """Return the question that the members ask. Raises InvalidQuestion.

    `strict` is for those of a body, which are JSON: there true is not 1, and "2" is not 2. What JSON has no kind for,
    such as a time, is read from text by the question itself. In a query everything is text.
    """
    try:
        return question.model_validate(members, strict=strict or None)
    except ValidationError as error:
        raise misasked(error) from None


def _check_kind(request: Request, body: bytes) -> None:
    headers = request.headers
    if request.method in WITH_BODY:
        if body and (not _is_json(headers.getlist("content-type")) or "content-encoding" in headers):
            raise UnsupportedMediaType
    elif headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
        raise Malformed(f"{request.method} takes no body: its parameters stand in the query")


def _in_body(body: bytes) -> Mapping[str, Json]:
    if not body:
        return {}
    read: Any = parse(body, limit=BODY_LIMIT)
    if not isinstance(read, dict):
        raise InvalidQuestion([{"pointer": "", "message": "a body is one JSON object"}])
    return read


def _in_query(request: Request) -> dict[str, Json]:
    raw = request.scope["query_string"].decode("latin-1")
    if not raw:
        return {}
    if decoded(raw) is None:
        raise Malformed("the query is not percent-encoded UTF-8")
    try:
        pairs = parse_qsl(raw, keep_blank_values=True, errors="strict", max_num_fields=QUERY_LIMIT)
    except ValueError:
        raise Malformed(f"the query has more than {QUERY_LIMIT} parameters") from None
    given = dict(pairs)
    if len(given) != len(pairs):
        raise Malformed("a parameter of the query is given twice")
    return {**given}


def _is_json(types: list[str]) -> bool:
    if len(types) != 1:
        return False
    kind, _, parameters = types[0].lower().partition(";")
    return kind.strip() == "application/json" and parameters.replace(" ", "").replace('"', "") in ("", "charset=utf-8")


def _place(name: str) -> str:
    return f"/{escape(name)}"
