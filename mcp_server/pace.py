"""Pace: how many requests one person may make, so that one caller does not slow down the others."""

import time
from typing import Any, Final

from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from mcp.server.context import CallNext, HandlerResult, ServerMiddleware, ServerRequestContext

from mcp_server.asker import asker
from mcp_server.failures import failed, refused, told
from storage.errors import InvalidInput, RateLimited, UserMemoryError
from storage.identity import Identity

PACE: Final = "600/minute"
"""Requests of one person, where the operator says nothing else."""

_PACED: Final = {
    "tools/call",
    "resources/read",
    "prompts/get",
    "completion/complete",
    "subscriptions/listen",
}
"""The requests that reach memory. The others cost next to nothing, and a client needs them to find its way."""


def pacing(pace: str) -> ServerMiddleware[Any]:
    """Return the middleware that refuses what comes faster than `pace`, such as `600/minute` or `20 per second`.

    Counted by the person that is asked about, in this process. Raises InvalidInput for a pace that is none.
    """
    try:
        limit = parse(pace)
    except ValueError:
        raise InvalidInput(f"{pace!r} is no pace: write it as 600/minute") from None
    limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    async def pace_out(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        if ctx.method not in _PACED:
            return await call_next(ctx)
        who = _whose()
        if who is None or limiter.hit(limit, *who):
            return await call_next(ctx)
        reset, _ = limiter.get_window_stats(limit, *who)
        error = RateLimited(retry_after=max(1, round(reset - time.time())))
        if ctx.method == "tools/call":
            return failed(told(error))
        raise refused(error)

    return pace_out


def _whose() -> tuple[str, ...] | None:
    """Return the person as the limiter keeps them; None where the request will be refused for another reason."""
    try:
        identity = asker().key
    except UserMemoryError:
        return None
    if not isinstance(identity, Identity):
        return None
    # Each part by its length: the parts are opaque and may hold whatever stands between them.
    return tuple(
        f"{len(part)}:{part}" for part in (identity.organization, *(text for name in identity.names for text in name))
    )
