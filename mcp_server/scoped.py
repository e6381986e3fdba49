"""Scoped: what a token has to be given for so that a message may be sent at all."""

from typing import Any, Final

from mcp.server import MCPServer
from starlette.types import ASGIApp, Receive, Scope, Send

from mcp_server.asker import PRINCIPAL
from mcp_server.bearer import MetadataUrl, challenge
from mcp_server.body import MESSAGE
from mcp_server.tools import SCOPES
from memory_tools import access
from memory_tools.access import Principal
from memory_tools.operations import CATALOG
from storage.errors import InsufficientScope

OPEN: Final = {
    "initialize",
    "ping",
    "server/discover",
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
}
"""What every valid token is enough for: the answers are the same for everybody and say nothing of anybody."""


class Scoped:
    """Answers a call with 403 that the token was not given for, before it gets anywhere.

    To find its way (OPEN) a client needs a valid token, whatever it was given for: so one that may only write is of
    use, and one that may not do what it comes to is told at that call what is missing. Everything else needs
    `memory:read`, and tools that change something `memory:write`: those of the host, too, that do not say that they
    only read (`readOnlyHint`).
    """

    def __init__(self, app: ASGIApp, server: MCPServer[Any], metadata_url: MetadataUrl) -> None:
        self._app = app
        self._server = server
        self._metadata_url = metadata_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on what the token was given for. The tools look once more."""
        principal: Principal = scope[PRINCIPAL]
        needed = await self._needed(scope.get(MESSAGE))
        try:
            if needed is not None:
                principal.require(needed)
        except InsufficientScope as error:
            await challenge(error, self._metadata_url(scope))(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _needed(self, message: Any) -> access.Scope | None:
        """Return the scope that the message needs; None where any token will do."""
        if not isinstance(message, dict):
            return access.Scope.READ
        method = message.get("method")
        if method == "tools/call" and isinstance(message.get("params"), dict):
            return await self._of_tool(str(message["params"].get("name")))
        is_open = isinstance(method, str) and (method in OPEN or method.startswith("notifications/"))
        return None if is_open else access.Scope.READ

    async def _of_tool(self, name: str) -> access.Scope:
        operation = CATALOG.get(name)
        if operation is not None:
            return SCOPES[operation.effect]
        hints = [tool.annotations for tool in await self._server.list_tools() if tool.name == name]
        only_reads = not hints or (hints[0] is not None and hints[0].read_only_hint)  # of no tool nothing is known
        return access.Scope.READ if only_reads else access.Scope.WRITE
