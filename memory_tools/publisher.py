"""Publisher: who is told of events in memory, one by one."""

from typing import Protocol

from storage.canonical import dumps
from storage.outbox import Event


class PublishFailed(Exception):
    """The event was not delivered, so it stays in the outbox. The message holds neither a secret nor an address."""


class Publisher(Protocol):
    """Tells somebody of events. `memory_tools/relay.py` calls it from one thread, with one event after the other."""

    def publish(self, event: Event) -> None:
        """Return once the event was delivered; raise PublishFailed where it was not. It takes a few seconds at most."""

    def close(self) -> None:
        """Let go of connections."""


def message(event: Event) -> str:
    """Return the JSON text that everybody is told, as canonical as what is stored."""
    return dumps(
        {
            "id": event.id,
            "event": event.event,
            "userId": event.user,
            "owner": str(event.owner),
            "organization": event.organization,
            "changed": event.changed,
            "version": event.version,
            "at": event.at.isoformat(),
        }
    )
