"""Problems: how an error is told over HTTP, as problem details (RFC 9457) with the stable code of the error."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import orjson
from pydantic import ValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from memory_tools.bearer import challenge
from memory_tools.faults import place_of
from memory_tools.visible import visible
from storage import errors
from storage.errors import InvalidInput, UserMemoryError, VersionConflict
from storage.json_types import Json
from storage.pointer import pointer

MEDIA_TYPE: Final = "application/problem+json"

TYPE: Final = "urn:usermemory:problem:"
"""What the type of a problem begins with; its code follows."""

RETRY_SECONDS: Final = 5
"""When to come back where nobody knows better."""

INTERNAL: Final = "internal"
"""The code of what nobody foresaw."""

MAY_READ: Final = "usermemory.may_read"
"""Where the scope of a request says whether who asks may read: a conflict tells what both sides hold."""

FAULTS: Final = 20
"""Faults of one request that are named."""

TOLD_FAULTS: Final = 3
"""Faults that the sentence for people names."""

_log = logging.getLogger(__name__)


class Malformed(InvalidInput):
    """The request cannot be read."""


class InvalidQuestion(InvalidInput):
    """The members of the request are not valid."""

    def __init__(self, faults: Sequence[Mapping[str, str]]) -> None:
        """`faults` are `{pointer, message}`; nothing in them repeats the input."""
        self.faults = tuple(faults)
        places = [f"{fault['pointer'] or 'the whole'}: {fault['message']}" for fault in self.faults[:TOLD_FAULTS]]
        super().__init__("; ".join(places))

    @property
    def details(self) -> Mapping[str, Any]:
        """What is wrong, place by place."""
        return {"errors": [dict(fault) for fault in self.faults]}


class UnsupportedMediaType(InvalidInput):
    """A body is application/json, in UTF-8 and not compressed."""

    code = "unsupported_media_type"


class PreconditionFailed(VersionConflict):
    """It is not at the version that the request is for: read it again."""


class NoWorkersUrl(errors.UnsafeRole):
    """This server has no worker's database URL."""


class TooSlow(errors.TimedOut):
    """The body did not arrive in time."""


STATUSES: Final[Mapping[type[UserMemoryError], int]] = {
    UserMemoryError: 500,
    InvalidInput: 422,
    Malformed: 400,
    InvalidQuestion: 422,
    UnsupportedMediaType: 415,
    errors.InvalidJson: 400,
    errors.InvalidName: 422,
    errors.InvalidIdentity: 400,
    errors.InvalidPatch: 422,
    errors.InvalidDocument: 422,
    errors.InvalidTranscript: 422,
    errors.TooLarge: 413,
    errors.NoIdentity: 400,
    errors.AccessDenied: 403,
    errors.Unauthenticated: 401,
    errors.InsufficientScope: 403,
    errors.RateLimited: 429,
    errors.TimedOut: 504,
    TooSlow: 408,
    errors.PatchDoesNotApply: 409,
    errors.NotFound: 404,
    errors.Conflict: 409,
    VersionConflict: 409,
    PreconditionFailed: 412,
    errors.IdentityConflict: 409,
    errors.IdempotencyKeyReused: 422,
    errors.Erased: 410,
    errors.MemoryDisabled: 403,
    errors.UntrustedSource: 403,
    errors.SummarizerFailed: 502,
    errors.DatabaseError: 500,
    errors.NotMigrated: 503,
    errors.UnsafeRole: 500,
    NoWorkersUrl: 503,
    errors.DatabaseUnavailable: 503,
}
"""The status of every error. A kind that is not listed has that of the nearest one above it."""

_ROUTER: Final[Mapping[int, tuple[str, str]]] = {
    404: ("not_found", "There is no such path."),
    405: ("method_not_allowed", "There is no such method at this path."),
}
"""What the router refuses: code and detail."""


def status_of(error: UserMemoryError) -> int:
    """Return the status of an error."""
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def problem(
    status: int,
    code: str,
    title: str,
    detail: str,
    headers: Mapping[str, str] | None = None,
    extensions: Mapping[str, Json] | None = None,
) -> Response:
    """Return problem details; what the extensions call like one of the five members does not count."""
    members = {"type": f"{TYPE}{code}", "title": title, "status": status, "detail": detail, "code": code}
    content = orjson.dumps({**(extensions or {}), **members}, option=orjson.OPT_PASSTHROUGH_DATACLASS)
    return Response(content, status, headers, MEDIA_TYPE)


def told(error: UserMemoryError, authorizations: Sequence[str] = (), *, may_read: bool = False) -> Response:
    """Return the problem details of an error; `authorizations` is what its asker brought, for the challenge.

    Of a conflict only the places are told to who may not read.
    """
    status = status_of(error)
    headers = {}
    if isinstance(error, errors.Unauthenticated | errors.InsufficientScope):
        headers["WWW-Authenticate"] = challenge(error, authorizations)
    if isinstance(error, errors.RateLimited) and error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    elif status in (429, 503):
        headers["Retry-After"] = str(RETRY_SECONDS)
    details = error.details
    if isinstance(error, VersionConflict) and not may_read:
        details = {**details, "conflicts": [{"pointer": each["pointer"]} for each in error.conflicts]}
    title = next(title_of(kind) for kind in type(error).__mro__ if kind in STATUSES)
    return problem(status, error.code, title, visible(str(error)), headers, details)


def title_of(kind: type) -> str:
    """Return what a kind of error is called: the first line of its docstring."""
    return (kind.__doc__ or "").strip().splitlines()[0]


def unforeseen(error: Exception) -> Response:
    """Log what kind of error nobody foresaw, without its text, and return what is told of it."""
    _log.error("a request failed: %s", type(error).__name__)
    return problem(500, INTERNAL, "Internal error", "The memory could not be used. Try again later.")


def misasked(error: ValidationError) -> InvalidQuestion:
    """Return what is wrong with the members of a request, without repeating them."""
    faults = []
    for fault in error.errors(include_url=False, include_input=False, include_context=False):
        if fault["type"] == "none_required":  # the other half of a member that may be left out
            continue
        faults.append({"pointer": pointer(place_of(fault)), "message": visible(fault["msg"])})
    return InvalidQuestion(faults[:FAULTS])


async def on_error(request: Request, error: Exception) -> Response:
    """Answer an error of ours, as an exception handler of the app."""
    assert isinstance(error, UserMemoryError)
    may_read = request.scope.get(MAY_READ, False)
    return told(error, request.headers.getlist("authorization"), may_read=may_read)


async def on_refusal(request: Request, error: Exception) -> Response:
    """Answer what the router refuses, as an exception handler of the app."""
    assert isinstance(error, HTTPException)
    headers = error.headers
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:  # the router knows the methods of the first route only
        headers = {"Allow": ", ".join(sorted(_methods(request)))}
    phrase = HTTPStatus(error.status_code).phrase
    code, detail = _ROUTER.get(error.status_code, (phrase.lower().replace(" ", "_"), phrase))
    return problem(error.status_code, code, phrase, detail, headers)


def _methods(request: Request) -> set[str]:
    """Return the methods of every route at the path of a request."""
    routes = [each for each in request.app.routes if each.matches(request.scope)[0] is not Match.NONE]
    return {method for route in routes for method in getattr(route, "methods", None) or ()}


async def refuse(send: Send, status: int, text: str) -> None:
    """Send the refusal of a request whose Host, Origin or address is wrong."""
    response = problem(status, "access_denied", HTTPStatus(status).phrase, text)
    await send({"type": "http.response.start", "status": status, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": response.body})


class Guarded:
    """Answers what nobody foresaw: its own text, which may quote memory, gets into no answer and no log."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on everything."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def begin(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, begin)
        except UserMemoryError as error:
            response = told(error, Headers(scope=scope).getlist("authorization"))
        except Exception as error:  # noqa: BLE001 - a door: nothing internal may leak through it
            response = unforeseen(error)
        else:
            return
        if not begun:
            await response(scope, receive, send)
