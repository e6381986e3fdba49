"""Description: what OpenAPI says of a route: what it takes, what it answers, and every way in which it can fail."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from http_api.etag import Versioned
from http_api.idempotency import HEADER, KEY_LIMIT, REPLAYED
from http_api.members import WITH_BODY
from http_api.problems import INTERNAL, MEDIA_TYPE, STATUSES
from http_api.session import COOKIE, SessionResolver, SignedCookie
from memory_tools import named
from memory_tools.access import Scope
from memory_tools.operation import Effect

_PROBLEM: Final = {
    "type": "object",
    "description": "What went wrong (RFC 9457). Programs go by the code.",
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
        "pointer": {"type": "string", "description": "The JSON pointer of the place that is wrong."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"pointer": {"type": "string"}, "message": {"type": "string"}},
                "required": ["pointer", "message"],
            },
        },
        "scope": {"type": "string", "description": "What the token would have to be given for."},
        "retry_after": {"type": "integer", "description": "Seconds to wait."},
        "expected": {"type": ["integer", "null"]},
        "current": {"type": ["integer", "null"], "description": "The version that is in force."},
        "conflicts": {"type": "array", "items": {"type": "object"}},
    },
    "required": ["type", "title", "status", "detail", "code"],
}

SECURITY: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or a token of an issuer."},
    "session": {"type": "apiKey", "in": "cookie", "name": COOKIE, "description": "Of a person who is signed in."},
}

_NAMING: Final = {
    named.USER: "Whose memory it is, percent-encoded; only for tokens that act for others.",
    named.PHONE: "The phone number of the person, percent-encoded.",
    named.VERIFIED: "Whether the person answers this number.",
    named.ORGANIZATION: "The organization of the person, percent-encoded: the token's own.",
}

_ENCODED: Final = {"type": "string", "pattern": "^([!-$&-~]|%[0-7][0-9A-Fa-f])+$"}
_FORMS: Final = {
    named.USER: _ENCODED,
    named.PHONE: _ENCODED,
    named.VERIFIED: {"type": "string", "enum": ["true", "false"]},
    named.ORGANIZATION: _ENCODED,
    HEADER: {"type": "string", "pattern": f"^[!-~]{{1,{KEY_LIMIT}}}$"},
    "If-Match": {"type": "string", "pattern": r'^(\*|"[0-9]+")$'},
    "If-None-Match": {"type": "string", "pattern": r'^(\*|"[0-9]+")$'},
}
"""What stands in the headers, in the plain cases that a client needs."""


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
) -> dict[str, Any]:
    """Return the keyword arguments with which `add_api_route` describes a route.

    `answer` is the JSON schema of what it answers, any JSON where it is not said; `example` is a question.
    """
    schema = _inlined(question.model_json_schema())
    parameters, body = _placed(method, path, schema, dict(example or {}))
    headers = dict(_NAMING) if named_by_header else {}
    if effect is not Effect.READ:
        headers[HEADER] = f"The same key of 1 to {KEY_LIMIT} characters has the request done once."
    if versioned is not None and effect is not Effect.READ:
        headers["If-Match"] = "The ETag that was read, or `*`: otherwise nothing is written."
        headers["If-None-Match"] = "`*`: only if there is nothing yet."
    elif versioned is not None:
        headers["If-None-Match"] = "The ETag that is known: if there is nothing new, the answer is empty."
    parameters += [
        {"name": each, "in": "header", "required": False, "description": said, "schema": _FORMS[each]}
        for each, said in headers.items()
    ]
    scopes = f" Needs the scope `{scope}`." if scope else ""
    extra: dict[str, Any] = {"parameters": parameters, "security": [{each: []} for each in SECURITY]}
    if body is not None:
        extra["requestBody"] = body
    return {
        "operation_id": name,
        "name": name,
        "summary": summary,
        "description": f"{description or ''}{scopes}".strip(),
        "tags": [tag],
        "status_code": status,
        "responses": {**_refusals(), **_answers(status, answer or {}, effect, versioned)},
        "openapi_extra": extra,
    }


def describe(app: FastAPI, *, tokens: bool, session: SessionResolver | None) -> None:
    """Have an app describe itself with the problems, and with those ways to say who asks that it knows.

    Of a session that a host knows in its own way nothing can be said: it need not even be a cookie.
    """
    schemes = {"bearer": SECURITY["bearer"]} if tokens else {}
    if isinstance(session, SignedCookie):
        schemes["session"] = SECURITY["session"] | {"name": session.cookie}

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            components = schema.setdefault("components", {})
            components.setdefault("schemas", {})["Problem"] = _PROBLEM
            components["securitySchemes"] = schemes
            for path in schema["paths"].values():
                for operation in path.values():
                    asked = operation.get("security", [])
                    operation["security"] = [each for each in asked if each.keys() <= schemes.keys()]
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # how FastAPI has it done


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema in one piece."""
    definitions = schema.pop("$defs", {})

    def plain(part: Any) -> Any:
        if isinstance(part, list):
            return [plain(each) for each in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            return plain(definitions[part["$ref"].rpartition("/")[2]])
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
    said = {"name": name, "in": place, "required": place == "path" or required, "schema": schema}
    said |= {"description": schema["description"]} if "description" in schema else {}
    return said | ({"example": example[name]} if name in example else {})


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


def _header(text: str) -> dict[str, Any]:
    return {"description": text, "schema": {"type": "string"}}


_TOLD: Final = {
    401: {"WWW-Authenticate": _header("Which token to bring.")},
    403: {"WWW-Authenticate": _header("Which scope is missing, where it is one.")},
    429: {"Retry-After": _header("Seconds to wait.")},
    503: {"Retry-After": _header("Seconds to wait.")},
}


def _answers(
    status: int, answer: Mapping[str, Any], effect: Effect, versioned: Versioned | None
) -> dict[int | str, dict[str, Any]]:
    headers = {"ETag": _header("The version, in quotation marks.")} if versioned else {}
    if effect is not Effect.READ:
        headers[REPLAYED] = _header("true where nothing was done, because the request had come before.")
    done: dict[str, Any] = {"description": "The answer.", "content": {"application/json": {"schema": dict(answer)}}}
    said: dict[int | str, dict[str, Any]] = {status: done | ({"headers": headers} if headers else {})}
    if versioned and effect is Effect.READ:
        said[304] = {"description": "There is nothing new.", "headers": headers}
    return said
