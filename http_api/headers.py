"""Headers: what every answer tells a browser: to keep, to frame, to sniff and to load nothing."""

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

NOTHING: Final = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
"""The content security policy of whatever sets none itself."""

POLICY: Final = b"content-security-policy"

_ALWAYS: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_UNLESS_SAID: Final = (
    (b"cache-control", b"no-store"),
    (POLICY, NOTHING.encode()),
)


class SecurityHeaders:
    """Adds the headers to every answer, also to those of what is mounted below."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on everything."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def begin(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                said = {name.lower() for name, _ in headers}
                headers += _ALWAYS
                headers += [header for header in _UNLESS_SAID if header[0] not in said]
                message["headers"] = headers
            await send(message)

        await self._app(scope, receive, begin)
