"""Body: the one message of a POST, read within its limits and past the gate before the SDK sees it."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import anyio
import orjson
from mcp_types import JSONRPCResponse
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mcp_server.gate import BODY_LIMIT, objection

MESSAGE: Final = "usermemory.message"
"""Where the message that was read stands in the scope of a request."""

BODY_SECONDS: Final = 15.0
"""How long a client may take to send its message."""


class Body:
    """Reads the message, refuses what may not pass, and hands on the rest as if nobody had read it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Leave the message in the scope of the request."""
        try:
            with anyio.fail_after(BODY_SECONDS):
                body = await _read(scope, receive)
        except TimeoutError:
            await _refused(HTTPStatus.REQUEST_TIMEOUT)(scope, receive, send)
            return
        if body is None:
            await _refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)(scope, receive, send)
            return
        answer = objection(body)
        if answer is not None:
            status = HTTPStatus.OK if isinstance(answer, JSONRPCResponse) else HTTPStatus.BAD_REQUEST
            said = answer.model_dump(mode="json", by_alias=True, exclude_none=True) | {"id": answer.id}
            await _json(said, status)(scope, receive, send)
            return
        scope[MESSAGE] = orjson.loads(body)
        given = False

        async def again() -> Message:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, again, send)


async def _read(scope: Scope, receive: Receive) -> bytes | None:
    """Return the body; None where it is larger than BODY_LIMIT, of which no more is read."""
    declared = Headers(scope=scope).get("content-length", "")
    if declared.isdigit() and int(declared) > BODY_LIMIT:
        return None
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > BODY_LIMIT:
            return None
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return bytes(body)


def _refused(status: HTTPStatus) -> Response:
    return PlainTextResponse(status.phrase, status, {"Connection": "close"})


def _json(content: Mapping[str, Any], status: HTTPStatus) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")
