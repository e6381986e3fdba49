"""Guarded: what went wrong becomes an answer, whether it is an error of ours, of the router, or one nobody foresaw."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from http_api.problems import INTERNAL, MAY_READ, Overloaded, problem, told
from storage.errors import UserMemoryError

_ROUTER: Final[Mapping[int, tuple[str, str]]] = {
    404: ("not_found", "There is no such path."),
    405: ("method_not_allowed", "There is no such method at this path."),
}
"""What the router refuses: code and detail."""

_log = logging.getLogger(__name__)


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


def unforeseen(error: Exception) -> Response:
    """Log what kind of error nobody foresaw, without its text, and return what is told of it."""
    _log.error("a request failed: %s", type(error).__name__)
    return problem(500, INTERNAL, "Internal error", "The memory could not be used. Try again later.")


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
    """Return the methods of every route at the path of a request; what can be read can be asked for by HEAD."""
    routes = [each for each in request.app.routes if each.matches(request.scope)[0] is not Match.NONE]
    methods = {method for route in routes for method in getattr(route, "methods", None) or ()}
    return methods | {"HEAD"} if "GET" in methods else methods


async def refuse(send: Send, status: int, text: str) -> None:
    """Send the refusal of a request whose Host, Origin or address is wrong."""
    await _send(problem(status, "access_denied", HTTPStatus(status).phrase, text), send)


async def turn_away(send: Send, _: int, text: str) -> None:
    """Send the refusal of a request for which there is no time now."""
    await _send(told(Overloaded(text)), send)


async def _send(response: Response, send: Send) -> None:
    await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": response.body})
