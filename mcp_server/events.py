"""Events: who is told that a memory has changed: the same person, under the same name, and nobody else."""

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, Final, TypeAlias

import anyio
import anyio.lowlevel
from mcp.server.context import CallNext, HandlerResult, ServerMiddleware, ServerRequestContext
from mcp.server.subscriptions import SUBSCRIPTION_ID_META_KEY, ResourceUpdated, ServerEvent
from mcp_types import CallToolResult, SubscriptionsListenResult

from mcp_server.asker import asker
from mcp_server.failures import refused
from mcp_server.places import DOCUMENT, HISTORY, item_uri
from memory_tools.access import Scope
from memory_tools.operation import Effect, Operation
from storage.errors import RateLimited, UserMemoryError
from storage.items import DEFAULT_NAMESPACE
from storage.json_types import Json

STREAMS: Final = 16
"""Streams of events that one person may have open: the SDK has 1,024 for all."""

STREAM_SECONDS: Final = 3_600.0
"""How long a stream lasts that was opened with a token. Then the token has to be shown again."""

_DOCUMENT_WRITES: Final = frozenset({"update_user_memory", "revert_user_memory", "accept_pending_version"})
"""Operations that make a version of the document. The others that name a `key` change that item."""

_listens_as: ContextVar[tuple[str, ...] | None] = ContextVar("usermemory_listens_as", default=None)
"""Whose changes the stream that is being opened is to tell."""

Listener: TypeAlias = Callable[[ServerEvent], None]


class PersonalBus:
    """Hands what changed in a memory only to those who subscribed as the person whose request changed it.

    The SDK's own bus hands it to everybody who knows the address, and the addresses are the same for all. This one
    reaches the subscribers of its process; what other processes write is not announced.
    """

    def __init__(self) -> None:
        self._listeners: dict[object, tuple[object, Listener]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    async def publish(self, event: ServerEvent) -> None:
        """Deliver a change of memory to the person who asks now, and any other event, which is no secret, to all."""
        if isinstance(event, ResourceUpdated):
            if self._listeners:
                self._deliver(await _who(), [event])
        else:
            for _, listener in list(self._listeners.values()):
                listener(event)
        await anyio.lowlevel.checkpoint()  # or a burst of events would overflow the streams before they are read

    def announce(self, whose: tuple[str, ...], name: str, given: Mapping[str, Json], said: Json) -> None:
        """Deliver what an operation has changed through another door, as an `Announce` does. Thread-safe."""
        loop = self._loop
        if loop is None or not self._listeners:
            return
        events = [ResourceUpdated(uri) for uri in _places(name, given, said)]
        with suppress(RuntimeError):  # the loop has come to its end, and nobody listens any more
            loop.call_soon_threadsafe(self._deliver, whose, events)

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Register `listener` for the person who asks now, and return what ends it."""
        self._loop = asyncio.get_running_loop()
        subscription = object()
        self._listeners[subscription] = _listens_as.get(), listener

        def end() -> None:
            self._listeners.pop(subscription, None)

        return end

    def _deliver(self, who: tuple[str, ...] | None, events: Iterable[ServerEvent]) -> None:
        listeners = [listener for whose, listener in self._listeners.values() if who is not None and whose == who]
        for event in events:
            for listener in listeners:
                listener(event)


def streaming(seconds: float = STREAM_SECONDS) -> ServerMiddleware[Any]:
    """Return the middleware that says who may open a stream of events, how many, and for how long.

    It takes the scope to read, and one person has STREAMS at the most. One that was opened with a token ends after
    `seconds`: what was revoked or has expired meanwhile does not open the next one.
    """
    streams: Counter[object] = Counter()

    async def stream(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        if ctx.method != "subscriptions/listen":
            return await call_next(ctx)
        known = await _who()
        who = _admitted(streams)
        streams[who] += 1
        token = _listens_as.set(known)
        try:
            with anyio.move_on_after(math.inf if asker().principal is None else seconds):
                return await call_next(ctx)
        finally:
            _listens_as.reset(token)
            streams[who] -= 1
            if not streams[who]:
                del streams[who]
        return SubscriptionsListenResult(_meta={SUBSCRIPTION_ID_META_KEY: ctx.request_id})

    return stream


def _admitted(streams: Counter[object]) -> object:
    """Return who asks for one more stream. Raises MCPError."""
    try:
        asker().require(Scope.READ)
        who = asker().bucket
        if streams[who] >= STREAMS:
            raise RateLimited(f"{STREAMS} streams of events are open for this person: close one of them.")
    except UserMemoryError as error:
        raise refused(error) from None
    return who


def changed(operation: Operation[Any, Any], given: Mapping[str, Any], result: CallToolResult) -> Iterator[str]:
    """Yield the addresses of what a call with these arguments has changed."""
    if operation.effect is not Effect.READ:
        yield from _places(operation.name, given, result.structured_content)


def _places(name: str, given: Mapping[str, Any], said: Any) -> Iterator[str]:
    """Yield the addresses of what an operation that writes has changed, by its name and the names in its question."""
    if isinstance(said, Mapping) and said.get("status") in ("unchanged", "held"):
        return
    if name in _DOCUMENT_WRITES:
        yield from (DOCUMENT, HISTORY)
    elif isinstance(given.get("key"), str):
        yield item_uri(given.get("namespace") or DEFAULT_NAMESPACE, given["key"])


async def _who() -> tuple[str, ...] | None:
    """Return who asks now, as the configuration lets them be known: under a name that does not count are several."""
    try:
        asking = asker()
        return await asking.memory.threads.run(asking.known_as)
    except UserMemoryError:  # somebody who may not be told anything
        return None
