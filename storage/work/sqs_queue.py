"""SQS queue: the queue in Amazon SQS, standard or FIFO, or in what speaks its protocol.

Bodies are plain JSON, so that any other program can send and read them. On a FIFO queue the group is the
MessageGroupId, elsewhere the message attribute `group`. What is buried goes to the dead-letter queue with the message
attributes `reason`, `receives` and `group`; attributes that another program gave it are not kept.
"""

import json
import math
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias
from uuid import NAMESPACE_URL, UUID, uuid5

from storage.canonical import dumps
from storage.errors import InvalidInput, NotFound
from storage.work.queue import DeadLetter, Delivery, Message, check_extension, check_listing, check_receiving, read_body
from storage.work.sqs_client import ALONE, MOST_AT_ONCE, Outgoing, called, open_client, queue_of, refusals, send_all

LONGEST_POLL: Final = 20
"""Seconds that one request waits for a message at the most."""

LISTING_HOLD: Final = 60
"""Seconds for which dead letters are held while they are listed; they are given back as soon as that is done."""

LISTING_POLL: Final = 1
"""Seconds that the next dead letter is waited for: without any, SQS asks only some of its servers."""

SEARCHED_LETTERS: Final = 1_000
"""Dead letters among which one is looked for that is to be revived."""

BURIAL_HOLD: Final = 60
"""Seconds for which a message is held while it moves to the dead letters."""

REASON_LIMIT: Final = 200
"""Characters of a reason that are kept."""

_LOST: Final = frozenset({"ReceiptHandleIsInvalid", "MessageNotInflight", "InvalidParameterValue"})
"""The codes by which SQS says that a receipt has expired; a FIFO queue calls it an invalid parameter."""

_Received: TypeAlias = dict[str, Any]
"""A message as boto3 gives it."""


class SqsQueue:
    """A queue of SQS. See `storage.work.queue.Queue`."""

    def __init__(
        self, url: str, *, dead_letter_url: str | None = None, endpoint: str | None = None, region: str | None = None
    ) -> None:
        """Take the queue's URL; credentials come from where boto3 finds them.

        Without `dead_letter_url` the queue's redrive policy says which queue gets what is buried, and InvalidInput is
        raised where it has none or the queue does not exist, also where a queue is to be its own, and where only one
        of the two is a FIFO queue. `endpoint` is who is asked, unless AWS_ENDPOINT_URL or
        the host in the URL shall say so; `region` goes before the one in the URL.
        """
        self._url = url
        self._client = open_client(url, endpoint=endpoint, region=region)
        self._leases: dict[str, float] = {}
        """Until when each receipt is good, by this machine's clock: a standard queue of SQS honours old ones, too."""

        try:
            self._dead_letters = dead_letter_url or self._redrive_target()
            _check_dead_letters(url, self._dead_letters)
        except BaseException:
            self.close()
            raise

    @property
    def answers_at_once(self) -> bool:
        """False: SQS asks only some of its servers where nobody waits."""
        return False

    def send(self, messages: Sequence[Message]) -> None:
        """Put messages at the end, ten in one request; where it fails between requests, some have been sent."""
        send_all(self._client, self._url, [Outgoing(message.text(), message.group) for message in messages])

    def receive(self, *, limit: int = 10, visibility: float = 60, wait: float = 0) -> list[Delivery]:
        """Return up to ten messages. Several of one group may be among them, in order, if the queue is a FIFO one.

        Of a held group nobody else gets a message, so those that wait for their turn are safe; they count as received
        and must be extended, too. They are not handed back here: each return counts towards the redrive policy.
        """
        check_receiving(limit, visibility, wait)
        seconds = math.ceil(visibility)
        deadline = time.monotonic() + wait
        while True:
            left = max(0.0, deadline - time.monotonic())
            found = self._received(
                self._url,
                limit=limit,
                visibility=seconds,
                wait=min(math.ceil(left), LONGEST_POLL),
                attributes=["group"],
            )
            if found or time.monotonic() >= deadline:
                return self._deliveries(found, seconds)

    def extend(self, delivery: Delivery, seconds: float) -> None:
        """Hold the message for `seconds` from now, unless it was lost. SQS allows 12 hours from the receipt on."""
        check_extension(seconds)
        if self._holds(delivery):
            self._hold(delivery, math.ceil(seconds))

    def acknowledge(self, delivery: Delivery) -> None:
        """Delete the message, unless the lease on it has expired."""
        if self._holds(delivery):
            with refusals(called(self._client, self._url), ignored=_LOST):
                self._client.delete_message(QueueUrl=self._url, ReceiptHandle=delivery.receipt)
            self._leases.pop(delivery.receipt, None)

    def bury(self, delivery: Delivery, reason: str) -> None:
        """Send the message to the dead letters and delete it here; a crash in between leaves it in both."""
        if not self._holds(delivery) or not self._hold(delivery, BURIAL_HOLD):
            return
        told = {"reason": reason[:REASON_LIMIT], "receives": str(delivery.receives), "group": str(delivery.group or "")}
        text = dumps(delivery.body) if delivery.raw is None else delivery.raw
        # Without a group: letters have no order, and a FIFO queue would show ten of one group and no more.
        letter = Outgoing(text, attributes={name: value for name, value in told.items() if value})
        send_all(self._client, self._dead_letters, [letter])
        self.acknowledge(delivery)

    def dead(self, *, limit: int = 100) -> list[DeadLetter]:
        """Return up to `limit` dead letters, in no certain order; it takes a second, and two at a time see each less.

        Of one group that SQS itself moved to a FIFO queue of dead letters, ten are seen at the most.
        """
        check_listing(limit)
        with self._held_letters(limit) as letters:
            return [_letter(message) for message in letters]

    def revive(self, letter_id: str) -> None:
        """Send a dead letter to the end of the queue; NotFound unless it is among the first SEARCHED_LETTERS."""
        with self._held_letters(SEARCHED_LETTERS) as letters:
            for message in letters:
                if message["MessageId"] == letter_id:
                    send_all(self._client, self._url, [Outgoing(message["Body"], _group(message))])
                    with refusals(ignored=_LOST):
                        handle = message["ReceiptHandle"]
                        self._client.delete_message(QueueUrl=self._dead_letters, ReceiptHandle=handle)
                    return
        raise NotFound("there is no such dead letter")

    def waiting(self) -> int:
        """Return about how many messages there are: those that can be received, are held, or are delayed."""
        names = [f"ApproximateNumberOfMessages{each}" for each in ("", "NotVisible", "Delayed")]
        with refusals(called(self._client, self._url)):
            answer = self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=names)
        return sum(int(answer["Attributes"].get(name, 0)) for name in names)

    def close(self) -> None:
        """Close the connections; what is held stays held until it expires."""
        self._client.close()

    def _redrive_target(self) -> str:
        """Return the URL of the queue that the redrive policy names; raises InvalidInput without one."""
        with refusals(called(self._client, self._url)):
            asked = self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=["RedrivePolicy"])
        policy = asked.get("Attributes", {}).get("RedrivePolicy")
        if not policy:
            raise InvalidInput(
                "the SQS queue has no dead-letter queue: give it a redrive policy, or name one"
                " (--dead-letters, USERMEMORY_DEAD_LETTERS)"
            )
        with refusals():
            *_, account, name = json.loads(policy)["deadLetterTargetArn"].split(":")
            found = self._client.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=account)
        return str(found["QueueUrl"])

    def _received(self, url: str, *, limit: int, visibility: int, wait: int, attributes: list[str]) -> list[_Received]:
        with refusals(called(self._client, url)):
            answer = self._client.receive_message(
                QueueUrl=url,
                MaxNumberOfMessages=min(limit, MOST_AT_ONCE),
                VisibilityTimeout=visibility,
                WaitTimeSeconds=wait,
                MessageAttributeNames=attributes,
                MessageSystemAttributeNames=["ApproximateReceiveCount", "MessageGroupId", "SentTimestamp"],
            )
        found: list[_Received] = answer.get("Messages", [])
        return found

    def _deliveries(self, found: list[_Received], seconds: int) -> list[Delivery]:
        now = time.monotonic()
        for receipt, until in list(self._leases.items()):
            if until <= now:
                self._leases.pop(receipt, None)
        self._leases.update({message["ReceiptHandle"]: now + _trusted(seconds) for message in found})
        return [_delivery(message) for message in found]

    def _holds(self, delivery: Delivery) -> bool:
        return time.monotonic() < self._leases.get(delivery.receipt, 0)

    def _hold(self, delivery: Delivery, seconds: int) -> bool:
        """Move the end of a lease; return whether it was still there."""
        if not seconds:
            self._leases.pop(delivery.receipt, None)
        began = time.monotonic()
        with refusals(ignored=_LOST):
            self._client.change_message_visibility(
                QueueUrl=self._url, ReceiptHandle=delivery.receipt, VisibilityTimeout=seconds
            )
            if seconds:
                self._leases[delivery.receipt] = began + _trusted(seconds)
            return True
        self._leases.pop(delivery.receipt, None)
        return False

    @contextmanager
    def _held_letters(self, limit: int) -> Generator[list[_Received]]:
        """Hold up to `limit` dead letters, so that none comes twice, and let them go when the block ends."""
        held: dict[str, _Received] = {}
        try:
            while len(held) < limit:
                found = self._received(
                    self._dead_letters,
                    limit=limit - len(held),
                    visibility=LISTING_HOLD,
                    wait=LISTING_POLL,
                    attributes=["group", "reason", "receives"],
                )
                new = {message["MessageId"]: message for message in found}
                if new.keys() <= held.keys():
                    break
                held |= new
            yield list(held.values())
        finally:
            self._let_go(list(held.values()))

    def _let_go(self, letters: list[_Received]) -> None:
        for start in range(0, len(letters), MOST_AT_ONCE):
            entries = [
                {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0}
                for number, message in enumerate(letters[start : start + MOST_AT_ONCE])
            ]
            with refusals():
                self._client.change_message_visibility_batch(QueueUrl=self._dead_letters, Entries=entries)


def _check_dead_letters(url: str, dead_letters: str) -> None:
    """Raise InvalidInput for dead letters that would come back as messages, or that SQS could not hold in order."""
    if queue_of(url) == queue_of(dead_letters):
        raise InvalidInput("an SQS queue cannot be its own dead-letter queue: what is given up would come again")
    if url.endswith(".fifo") != dead_letters.endswith(".fifo"):
        raise InvalidInput("the dead-letter queue of a FIFO queue is a FIFO queue, too; that of a standard one is none")


def _trusted(seconds: int) -> float:
    """Return for how long a lease of `seconds` is relied on: a little less, since the answer took time to arrive."""
    return seconds - min(1.0, seconds / 10)


def _delivery(message: _Received) -> Delivery:
    body, raw = read_body(message["Body"])
    return Delivery(body, message["ReceiptHandle"], _receives(message), _group(message), raw)


def _letter(message: _Received) -> DeadLetter:
    body, raw = read_body(message["Body"])
    reason, receives = _attribute(message, "reason"), _attribute(message, "receives")
    buried = None if reason is None else datetime.fromtimestamp(int(message["Attributes"]["SentTimestamp"]) / 1000, UTC)
    count = int(receives) if receives and receives.isdecimal() and len(receives) < 10 else _receives(message)
    return DeadLetter(message["MessageId"], body, reason, count, buried, raw)


def _receives(message: _Received) -> int:
    return int(message["Attributes"]["ApproximateReceiveCount"])


def _group(message: _Received) -> UUID | None:
    """Return the group; what another program calls its group without an UUID gets one that is made of the name."""
    name = _attribute(message, "group") or message["Attributes"].get("MessageGroupId", ALONE)
    if name.startswith(ALONE):
        return None
    try:
        return UUID(name)
    except ValueError:
        return uuid5(NAMESPACE_URL, name)


def _attribute(message: _Received, name: str) -> str | None:
    value: str | None = message.get("MessageAttributes", {}).get(name, {}).get("StringValue")
    return value
