"""Pace: what comes faster than one person may ask is refused, and told when to come back."""

import math
from typing import Any, Final

from mcp.server.context import CallNext, HandlerResult, ServerMiddleware, ServerRequestContext

from mcp_server.asker import asker
from mcp_server.failures import failed, refused, told
from memory_tools.buckets import Buckets
from storage.errors import RateLimited, UserMemoryError

_PACED: Final = {
    "tools/call",
    "resources/read",
    "prompts/get",
    "completion/complete",
    "subscriptions/listen",
}
"""The requests that reach memory. The others cost next to nothing, and a client needs them to find its way."""


def pacing(pace: str | Buckets) -> ServerMiddleware[Any]:
    """Return the middleware that refuses what comes faster than `pace`, as `Buckets.of` reads it.

    Counted as `memory_tools.buckets.bucket` says, in this process. Raises InvalidInput for a pace that is none.
    """
    buckets = Buckets.of(pace)

    async def pace_out(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        who = _who() if ctx.method in _PACED else None
        seconds = 0.0 if who is None else buckets.take(who)
        if not seconds:
            return await call_next(ctx)
        error = RateLimited(retry_after=math.ceil(seconds))
        if ctx.method == "tools/call":
            return failed(told(error))
        raise refused(error)

    return pace_out


def _who() -> tuple[str, ...] | None:
    """Return what the request is counted by; None where it will be refused for another reason."""
    try:
        return asker().bucket
    except UserMemoryError:
        return None
