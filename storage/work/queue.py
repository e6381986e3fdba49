"""Queue: messages that wait until somebody does what they ask for; the port that every backend of it has.

At least once, as with Amazon SQS: whoever receives a message holds it for some seconds, may extend that, and
acknowledges the message when its work is done. What was not acknowledged in time comes again, also after `kill -9`; so
what a message asks for must bear being done twice. Messages hold ids, never what a person said.

Messages of one group (a person) are handled one after the other, in the order in which they were sent: `sql` has at
most one message of a group out, the oldest; a FIFO queue of SQS may deliver several of a group at once, in order, and
none of that group to anybody else meanwhile. So a consumer takes deliveries of equal `group` one by one, extends those
that wait for their turn, and gives all of them back where one is not acknowledged. A standard queue of SQS keeps no
order between consumers. Messages without a group have no order.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol, TypeAlias
from uuid import UUID

from storage.canonical import canonical, parse
from storage.errors import InvalidInput, InvalidJson
from storage.json_types import Json

BODY_LIMIT: Final = 1_000_000
"""Bytes of canonical UTF-8 JSON in one message: what SQS takes (1 MiB) with room for the attributes."""

VISIBILITY_LIMIT: Final = 43_200
"""Seconds for which a message can be held at the most, as on SQS: 12 hours."""

Body: TypeAlias = dict[str, Json]
"""A JSON object."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is to be sent."""

    body: Body
    group: UUID | None = None
    """The owner whose messages are handled one after the other."""

    def text(self) -> str:
        """Return the canonical text of the body.

        Raises InvalidJson unless it is an object that can be kept, TooLarge for more than BODY_LIMIT bytes.
        """
        if type(self.body) is not dict:
            raise InvalidJson("the body of a message must be a JSON object")
        return canonical(self.body, limit=BODY_LIMIT)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that the receiver holds for some time."""

    body: Body = field(repr=False)
    receipt: str
    """A token for this one delivery: it opens nothing any more once the message was delivered again."""

    receives: int
    """How often the message was delivered, this time included."""

    group: UUID | None
    raw: str | None = field(default=None, repr=False)
    """The text as it came where it is no JSON object; `body` is empty then, and all one can do is to bury it."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was given up."""

    id: str
    body: Body = field(repr=False)
    reason: str | None
    """The code that it was buried with; None where SQS itself gave it up."""

    receives: int
    dead_at: datetime | None
    """None where SQS itself gave it up: it does not say when."""

    raw: str | None = field(default=None, repr=False)
    """As in a Delivery."""


class Queue(Protocol):
    """What every backend does. Thread-safe; a delivery is handled through the object that received it.

    Everything raises DatabaseUnavailable where the queue does not answer. `extend`, `acknowledge` and `bury` change
    nothing and raise nothing once the delivery was lost: it expired and somebody else holds the message, or it is gone.
    """

    @property
    def answers_at_once(self) -> bool:
        """Whether nothing is there where `receive` gives nothing without waiting."""

    def send(self, messages: Sequence[Message], /) -> None:
        """Put messages at the end, in this order; `sql` all or none.

        Raises InvalidJson or TooLarge for a body that cannot be sent, before anything is, and on `sql` Erased where
        the owner of a group is no more.
        """

    def receive(self, *, limit: int = 10, visibility: float = 60, wait: float = 0) -> list[Delivery]:
        """Return up to `limit` messages, oldest first, that nobody else gets for `visibility` seconds.

        Waits up to `wait` seconds for the first. SQS gives ten at once at the most and counts in whole seconds, which
        are rounded up. What is no JSON object is delivered, too (`Delivery.raw`). Raises InvalidInput for a limit
        below 1, a visibility of 0 or above VISIBILITY_LIMIT, and a wait below 0.
        """

    def extend(self, delivery: Delivery, seconds: float, /) -> None:
        """Hold the message for `seconds` from now; with 0 it can be received at once, and the receipt is void.

        A held message keeps its group waiting. Raises InvalidInput below 0 and above VISIBILITY_LIMIT.
        """

    def acknowledge(self, delivery: Delivery, /) -> None:
        """Delete the message: what it asks for is done."""

    def bury(self, delivery: Delivery, reason: str, /) -> None:
        """Give the message up, and let its group go on. `reason` is a code, never content."""

    def dead(self, *, limit: int = 100) -> list[DeadLetter]:
        """Return up to `limit` messages that were given up, on `sql` the oldest first."""

    def revive(self, letter_id: str, /) -> None:
        """Let a dead letter be received again, as if never before; raises NotFound where there is none.

        On `sql` it comes back to its old place in the order, on SQS to the end.
        """

    def waiting(self) -> int:
        """Return how many messages are neither acknowledged nor dead, also those held now. SQS says so roughly."""

    def close(self) -> None:
        """Let go of connections that are the queue's own. What is held stays held until it expires."""


def read_body(text: str) -> tuple[Body, str | None]:
    """Return the body that a text stands for, or an empty one and the text itself where it is no JSON object."""
    try:
        body = parse(text, limit=BODY_LIMIT)
    except InvalidInput:
        return {}, text
    return (body, None) if isinstance(body, dict) else ({}, text)


def check_receiving(limit: int, visibility: float, wait: float) -> None:
    """Raise InvalidInput for numbers with which nothing can be received."""
    if limit < 1:
        raise InvalidInput("at least one message must be asked for")
    if not 0 < visibility <= VISIBILITY_LIMIT:
        raise InvalidInput(f"a message is held for more than 0 and at most {VISIBILITY_LIMIT:,} seconds")
    if not 0 <= wait < float("inf"):
        raise InvalidInput("nobody can wait for so many seconds")


def check_extension(seconds: float) -> None:
    """Raise InvalidInput for a time for which no message can be held."""
    if not 0 <= seconds <= VISIBILITY_LIMIT:
        raise InvalidInput(f"a message is held for 0 to {VISIBILITY_LIMIT:,} seconds")


def check_listing(limit: int) -> None:
    """Raise InvalidInput where no dead letter is asked for."""
    if limit < 1:
        raise InvalidInput("at least one dead letter must be asked for")
