"""OpenAPI: what the description of a whole app says of all its routes: the problems, and how to say who asks."""

from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from http_api.session import COOKIE, SessionResolver, SignedCookie

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
    "job": {"type": "http", "scheme": "bearer", "description": "The token of those who set work off."},
}
"""The ways to say who asks."""

OF_PEOPLE: Final = ("bearer", "session")
OF_OPERATORS: Final = ("bearer",)
OF_JOBS: Final = ("bearer", "job")
"""Those by which a route may be asked: nobody in a session is an operator."""


def describe(app: FastAPI, *, tokens: bool, session: SessionResolver | None, jobs: bool, is_bound: bool) -> None:
    """Have an app describe itself with the problems, and with those ways to say who asks that it knows.

    A session that a host knows in its own way is told in words alone: it need not even be a cookie. Where an app
    `is_bound` to one person, nobody says who asks. An operation that nobody can ask in a way that can be said has no
    `security`: an empty one would say that it is open to all.
    """
    schemes = {"bearer": SECURITY["bearer"]} if tokens else {}
    said = app.description
    if isinstance(session, SignedCookie):
        schemes["session"] = SECURITY["session"] | {"name": session.cookie}
    elif session is not None:
        said += " Who asks is also known by a session of the app around it."
    if jobs:
        schemes["job"] = SECURITY["job"]

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, description=said, routes=app.routes)
            components = schema.setdefault("components", {})
            components.setdefault("schemas", {})["Problem"] = _PROBLEM
            components["securitySchemes"] = components.get("securitySchemes", {}) | schemes
            for path in schema["paths"].values():
                for operation in path.values():
                    _secure(operation, components["securitySchemes"], is_bound)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # how FastAPI has it done


def _secure(operation: dict[str, Any], schemes: Mapping[str, Any], is_bound: bool) -> None:
    """Leave an operation those ways to say who asks that there are."""
    asked = operation.get("security")
    if not asked:  # open to everybody, or a route of the host's own
        return
    operation["security"] = [each for each in asked if each.keys() <= schemes.keys()]
    if not operation["security"] and not (is_bound and {"session": []} in asked):
        del operation["security"]
