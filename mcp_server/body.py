"""Body: the one message of a POST, read within its limits and past the gate before the SDK sees it."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import anyio
import anyio.to_thread
import orjson
from mcp_types import JSONRPCResponse
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mcp_server.gate import BODY_LIMIT, objection
from memory_tools.body import BODY_SECONDS, ClientGone, read_body
from storage.errors import TooLarge

MESSAGE: Final = "usermemory.message"
"""Where the message that was read stands in the scope of a request."""

_LITTLE: Final = 64 * 1024
"""Bytes that are looked at in no time. Of more, a thread takes care: the others' requests go on meanwhile."""


class Body:
    """Reads the message, refuses what may not pass, and hands on the rest as if nobody had read it."""

    def __init__(self, app: ASGIApp, *, seconds: float = BODY_SECONDS) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Leave the message in the scope of the request."""
        try:
            with anyio.fail_after(self._seconds):
                body = await read_body(Headers(scope=scope).get("content-length", ""), receive, BODY_LIMIT)
        except TimeoutError:
            await _refused(HTTPStatus.REQUEST_TIMEOUT)(scope, receive, send)
            return
        except TooLarge:
            await _refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)(scope, receive, send)
            return
        except ClientGone:  # half a message is none
            return
        answer = objection(body) if len(body) <= _LITTLE else await anyio.to_thread.run_sync(objection, body)
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


def _refused(status: HTTPStatus) -> Response:
    return PlainTextResponse(status.phrase, status, {"Connection": "close"})


def _json(content: Mapping[str, Any], status: HTTPStatus) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")
