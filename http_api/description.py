"""Description: what OpenAPI says of a route: what it takes, what it answers, and every way in which it can fail."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

from pydantic import BaseModel
from starlette.responses import Response

from http_api.etag import Versioned
from http_api.idempotency import HEADER, KEY_LIMIT, REPLAYED
from http_api.members import WITH_BODY
from http_api.openapi import OF_OPERATORS, OF_PEOPLE
from http_api.problems import INTERNAL, MEDIA_TYPE, STATUSES
from memory_tools import named
from memory_tools.access import Scope
from memory_tools.operation import Effect, complete_schema

_NAMING: Final = {
    named.USER: "Whose memory it is, percent-encoded; only for tokens that act for others.",
    named.PHONE: "The phone number of the person, percent-encoded.",
    named.VERIFIED: "Whether the person answers this number.",
    named.ORGANIZATION: "The organization of the person, percent-encoded: the token's own.",
}

_ENCODED: Final = {"type": "string", "pattern": "^([!-$&-~]|%[0-9A-Fa-f]{2})+$"}
_TAG: Final = '(W/)?"[!#-~]*"'
_TAGS: Final = {"type": "string", "pattern": rf"^(\*|{_TAG}([ \t]*,[ \t]*{_TAG})*)$"}
_FORMS: Final = {
    named.USER: _ENCODED,
    named.PHONE: _ENCODED,
    named.VERIFIED: {"type": "string", "enum": ["true", "false"]},
    named.ORGANIZATION: _ENCODED,
    HEADER: {"type": "string", "pattern": f"^[!-~]{{1,{KEY_LIMIT}}}$"},
}
"""What stands in the headers."""

_ETAGS: Final = {
    Versioned.DOCUMENT: {"type": "string", "pattern": '^"(0|[1-9][0-9]*)"$'},
    Versioned.ITEM: {"type": "string", "pattern": '^"[1-9][0-9]*-[0-9a-f]+"$'},
}
"""What the tags of an answer look like; to whom they are told they are opaque."""


def described(
    name: str,
    method: str,
    path: str,
    question: type[BaseModel],
    *,
    summary: str,
    effect: Effect,
    tag: str,
    description: str | None = None,
    example: Mapping[str, Any] | None = None,
    answer: Mapping[str, Any] | None = None,
    status: int = 200,
    scope: Scope | None = None,
    versioned: Versioned | None = None,
    named_by_header: bool = True,
    asked_by: Sequence[str] | None = None,
    takes_key: bool = False,
    replays: bool = False,
) -> dict[str, Any]:
    """Return the keyword arguments with which `add_api_route` describes a route.

    `answer` is the JSON schema of what it answers, any JSON where it is not said; `example` is a question. `asked_by`
    are the ways of SECURITY to say who asks, by default those of people, or where the scope is theirs of operators.
    What `takes_key` is done once under an `Idempotency-Key`; what `replays` tells so when it comes again.
    """
    schema = _inlined(complete_schema(question))
    parameters, body = _placed(method, path, schema, dict(example or {}))
    parameters += _headers(effect, versioned, named_by_header, takes_key)
    scopes = f" Needs the scope `{scope}`." if scope else ""
    ways = asked_by or (OF_OPERATORS if scope is Scope.OPERATE else OF_PEOPLE)
    extra: dict[str, Any] = {"parameters": parameters, "security": [{each: []} for each in ways]}
    if body is not None:
        extra["requestBody"] = body
    return {
        "operation_id": name,
        "name": name,
        "summary": summary,
        "description": f"{description or ''}{scopes}".strip(),
        "tags": [tag],
        "status_code": status,
        "responses": {**_refusals(), **_answers(status, answer or {}, effect, versioned, replays)},
        "openapi_extra": extra,
    }


def open_to_everybody(name: str, summary: str, content: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the keyword arguments for a route that asks for nobody's name; `content` are schemas by media type."""
    refusals = _refusals()
    answer = {"description": "The answer.", "content": {media: {"schema": said} for media, said in content.items()}}
    return {
        "methods": ["GET"],
        "operation_id": name,
        "name": name,
        "summary": summary,
        "description": "Answered under any host name, and without saying who asks.",
        "tags": ["server"],
        "response_class": Response,
        "responses": {200: answer, **{status: refusals[status] for status in (400, 403, 500)}},
        "openapi_extra": {"security": []},
    }


def _headers(
    effect: Effect, versioned: Versioned | None, named_by_header: bool, takes_key: bool
) -> list[dict[str, Any]]:
    """Return the parameters that stand in headers."""
    said = [(name, text, _FORMS[name]) for name, text in _NAMING.items()] if named_by_header else []
    if takes_key:
        once = f"The same key of 1 to {KEY_LIMIT} characters has the request done once."
        said.append((HEADER, once, _FORMS[HEADER]))
    if versioned is not None and effect is not Effect.READ:
        said.append(("If-Match", "The ETag that was read, or `*`: otherwise nothing is written.", _TAGS))
        said.append(("If-None-Match", "`*`: only if there is nothing yet.", {"type": "string", "enum": ["*"]}))
    elif versioned is not None:
        known = "The ETag that is known: if there is nothing new, the answer is empty."
        said.append(("If-None-Match", known, _TAGS))
    return [
        {"name": name, "in": "header", "required": False, "description": text, "schema": form}
        for name, text, form in said
    ]


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema in one piece."""
    definitions = schema.pop("$defs", {})

    def plain(part: Any) -> Any:
        if isinstance(part, list):
            return [plain(each) for each in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            beside = {name: each for name, each in part.items() if name != "$ref"}
            return plain({**definitions[part["$ref"].rpartition("/")[2]], **beside})
        return {name: plain(each) for name, each in part.items()}

    whole: dict[str, Any] = plain(schema)
    return whole


def _placed(
    method: str, path: str, schema: dict[str, Any], example: dict[str, Any]
) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """Return the parameters of the path and of the query, and the body, as far as there are any."""
    members: dict[str, Any] = schema.get("properties", {})
    required = schema.get("required", [])
    in_path = {name for name in members if f"{{{name}}}" in path}
    places = {name: "path" for name in in_path}
    if method not in WITH_BODY:
        places = {name: "path" if name in in_path else "query" for name in members}
    parameters = [_parameter(name, place, members[name], name in required, example) for name, place in places.items()]
    rest = {name: each for name, each in members.items() if name not in places}
    if method not in WITH_BODY:
        return parameters, None
    needed = [name for name in required if name in rest]
    body = {"type": "object", "properties": rest, "required": needed, "additionalProperties": False}
    shown = {name: each for name, each in example.items() if name in rest}
    media: dict[str, Any] = {"schema": body, "example": shown}
    return parameters, {"required": bool(needed), "content": {"application/json": media}}


def _parameter(
    name: str, place: str, schema: dict[str, Any], required: bool, example: dict[str, Any]
) -> dict[str, Any]:
    schema = _never_null(schema)
    said = {"name": name, "in": place, "required": place == "path" or required, "schema": schema}
    said |= {"description": schema["description"]} if "description" in schema else {}
    return said | ({"example": example[name]} if name in example else {})


def _never_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of what a path or a query can say: there null would be a text of four letters."""
    forms = schema.get("anyOf", [])
    said = [each for each in forms if each != {"type": "null"}]
    if len(said) == len(forms):
        return schema
    rest = {name: each for name, each in schema.items() if name != "anyOf"}
    return {**rest, **said[0]} if len(said) == 1 else {**rest, "anyOf": said}


def _refusals() -> dict[int | str, dict[str, Any]]:
    """Return how a route can fail, by status, with the codes."""
    codes: dict[int, list[str]] = {421: ["access_denied"], 500: [INTERNAL]}
    for kind, status in STATUSES.items():
        codes.setdefault(status, [])
        codes[status] += [] if kind.code in codes[status] else [kind.code]
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": f"{HTTPStatus(status).phrase}: {', '.join(said)}", "content": content}
        | ({"headers": _TOLD[status]} if status in _TOLD else {})
        for status, said in sorted(codes.items())
    }


def _header(text: str, schema: Mapping[str, Any] = MappingProxyType({"type": "string"})) -> dict[str, Any]:
    return {"description": text, "schema": dict(schema)}


_TOLD: Final = {
    401: {"WWW-Authenticate": _header("Which token to bring.")},
    403: {"WWW-Authenticate": _header("Which scope is missing, where it is one.")},
    429: {"Retry-After": _header("Seconds to wait.")},
    503: {"Retry-After": _header("Seconds to wait.")},
    504: {"Retry-After": _header("Seconds to wait.")},
}


def _answers(
    status: int, answer: Mapping[str, Any], effect: Effect, versioned: Versioned | None, replays: bool
) -> dict[int | str, dict[str, Any]]:
    headers = {"ETag": _header("Which version it is.", _ETAGS[versioned])} if versioned else {}
    if replays:
        headers[REPLAYED] = _header("true where nothing was done, because the request had come before.")
    done: dict[str, Any] = {"description": "The answer.", "content": {"application/json": {"schema": dict(answer)}}}
    said: dict[int | str, dict[str, Any]] = {status: done | ({"headers": headers} if headers else {})}
    if versioned and effect is Effect.READ:
        said[304] = {"description": "There is nothing new.", "headers": headers}
    return said
