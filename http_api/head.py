"""Head: HEAD is answered like GET, without the body (RFC 9110, section 9.3.2), at every path that can be read."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class WithoutBody:
    """Has everything below see GET where HEAD is asked, and sends all of the answer but its body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on everything."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def without_body(message: Message) -> None:
            await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

        seen = {**scope, "method": "GET"}  # the server's own stays HEAD: by it uvicorn knows that no body follows
        try:
            await self._app(seen, receive, without_body)
        finally:
            scope.update({**seen, "method": "HEAD"})
