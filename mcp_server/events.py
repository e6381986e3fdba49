"""Events: who is told that a memory has changed: the same person, under the same name, and nobody else."""

from collections.abc import Callable, Iterator
from typing import Any

import anyio.lowlevel
from mcp.server.subscriptions import ResourceUpdated, ServerEvent
from mcp_types import CallToolResult

from mcp_server.asker import asker
from mcp_server.places import DOCUMENT, HISTORY, item_uri
from memory_tools.operation import Effect, Operation
from storage.errors import UserMemoryError

Listener = Callable[[ServerEvent], None]


class PersonalBus:
    """Hands what changed in a memory only to those who subscribed as the person whose request changed it.

    The SDK's own bus hands it to everybody who knows the address, and the addresses are the same for all. This one
    reaches the subscribers of its process; what other processes write is not announced.
    """

    def __init__(self) -> None:
        self._listeners: dict[object, tuple[object, Listener]] = {}

    async def publish(self, event: ServerEvent) -> None:
        """Deliver a change of memory to the person who asks now, and any other event, which is no secret, to all."""
        personal = isinstance(event, ResourceUpdated)
        who = _who() if personal else None
        for whose, listener in list(self._listeners.values()):
            if not personal or (who is not None and whose == who):
                listener(event)
        await anyio.lowlevel.checkpoint()  # or a burst of events would overflow the streams before they are read

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Register `listener` for the person who asks now, and return what ends it."""
        subscription = object()
        self._listeners[subscription] = _who(), listener

        def end() -> None:
            self._listeners.pop(subscription, None)

        return end


def changed(operation: Operation[Any, Any], result: CallToolResult) -> Iterator[str]:
    """Yield the addresses of what a call has changed."""
    said = result.structured_content or {}
    if operation.effect is Effect.READ or said.get("status") in ("unchanged", "held"):
        return
    if operation.name == "update_user_memory":
        yield from (DOCUMENT, HISTORY)
    elif "key" in said:
        yield item_uri(said["namespace"], said["key"])


def _who() -> object:
    try:
        return asker().key
    except UserMemoryError:  # somebody who may not be told anything
        return None
