"""The door: what nobody foresaw is told in a sentence of ours, and its own text gets into no answer, log or span."""

from typing import Any

from mcp.server.context import CallNext, HandlerResult, ServerMiddleware, ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR
from pydantic import ValidationError

from mcp_server.failures import UNFORESEEN, refused, unforeseen
from storage.errors import InvalidInput


def guarding() -> ServerMiddleware[Any]:
    """Return the middleware that replaces errors which the SDK would log with all that a client or a person said."""

    async def guard(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        try:
            return await call_next(ctx)
        except (MCPError, ValidationError):  # these are for the client, and the SDK repeats nothing of them
            raise
        except Exception as error:  # noqa: BLE001 - a door: nothing internal may leak through it
            if ctx.method == "prompts/get" and isinstance(error, ValueError):  # so the SDK says both of these
                raise refused(InvalidInput("There is no such prompt, or it takes other arguments.")) from None
            unforeseen(ctx.method, error)
            raise MCPError(INTERNAL_ERROR, UNFORESEEN) from None

    return guard
