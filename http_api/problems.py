"""Problems: how an error is told over HTTP, as problem details (RFC 9457) with the stable code of the error."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson
from pydantic import ValidationError
from starlette.responses import Response

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

COME_BACK: Final = frozenset({429, 503, 504})
"""The statuses of what may well be answered later."""

INTERNAL: Final = "internal"
"""The code of what nobody foresaw."""

MAY_READ: Final = "usermemory.may_read"
"""Where the scope of a request says whether who asks may read: a conflict tells what both sides hold."""

FAULTS: Final = 20
"""Faults of one request that are named."""

TOLD_FAULTS: Final = 3
"""Faults that the sentence for people names."""


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


class Overloaded(UserMemoryError):
    """The server has too much to do at the moment."""

    code = "overloaded"


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
    Overloaded: 503,
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
    elif status in COME_BACK:
        headers["Retry-After"] = str(RETRY_SECONDS)
    details = error.details
    if isinstance(error, VersionConflict) and not may_read:
        details = {**details, "conflicts": [{"pointer": each["pointer"]} for each in error.conflicts]}
    title = next(title_of(kind) for kind in type(error).__mro__ if kind in STATUSES)
    return problem(status, error.code, title, visible(str(error)), headers, details)


def title_of(kind: type) -> str:
    """Return what a kind of error is called: the first line of its docstring."""
    return (kind.__doc__ or "").strip().splitlines()[0]


def misasked(error: ValidationError) -> InvalidQuestion:
    """Return what is wrong with the members of a request, without repeating them."""
    faults = []
    for fault in error.errors(include_url=False, include_input=False, include_context=False):
        if fault["type"] == "none_required":  # the other half of a member that may be left out
            continue
        faults.append({"pointer": pointer(place_of(fault)), "message": visible(fault["msg"])})
    return InvalidQuestion(faults[:FAULTS])
