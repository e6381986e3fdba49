"""SQS client: how SQS is reached and sent to, and what its errors become here. Needs the extra `sqs`."""

import os
import re
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import boto3  # type: ignore[import-untyped]
from botocore.config import Config  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped]

from storage.errors import DatabaseUnavailable, InvalidInput, TooLarge, UserMemoryError

MOST_AT_ONCE: Final = 10
"""Messages in one request."""

REQUEST_LIMIT: Final = 1_048_576
"""Bytes in one request, of all bodies and attributes: 1 MiB."""

RESEND_PAUSES: Final = (0.0, 0.2, 1.0, 3.0)
"""Seconds before each try to send what SQS did not take for reasons of its own."""

CONNECT_TIMEOUT: Final = 5
"""Seconds until an address that does not answer is given up."""

READ_TIMEOUT: Final = 30
"""Seconds until an answer is given up; a request for messages may wait 20 of them."""

CONNECTIONS: Final = 32
"""Connections that are kept: several threads receive, extend and acknowledge."""

ALONE: Final = "alone-"
"""What the MessageGroupId of a message without a group begins with; a FIFO queue wants one for each."""

ANYWHERE: Final = "us-east-1"
"""The region that requests are signed for where nobody names one; an emulator may keep those of each apart."""

_REGION: Final = re.compile(r"(?:^|\.)sqs(?:-fips)?\.([a-z0-9-]+)\.|^([a-z0-9-]+)\.queue\.amazonaws\.")
"""Finds the region in the host of a queue's URL, in the form of today and in the one before it."""

_NO_QUEUE: Final = frozenset({"NonExistentQueue", "QueueDoesNotExist"})

_REFUSED: Final = frozenset(
    {"InvalidMessageContents", "InvalidParameterValue", "InvalidAddress", "UnsupportedOperation"}
)
"""Codes that say that the request was at fault."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One message on its way to a queue."""

    text: str = field(repr=False)
    group: UUID | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)

    def entry(self, *, fifo: bool) -> tuple[dict[str, Any], int]:
        """Return the entry of a request, without its Id, and its size in bytes."""
        attributes = dict(self.attributes)
        if self.group is not None and not fifo:
            attributes["group"] = str(self.group)
        entry: dict[str, Any] = {"MessageBody": self.text}
        size = len(self.text.encode())
        weight = sum(len(f"{name}String{value}".encode()) for name, value in attributes.items())
        if attributes and size + weight <= REQUEST_LIMIT:  # what another program sent may leave no room for them
            size += weight
            entry["MessageAttributes"] = {
                name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
            }
        if fifo:
            # The same deduplication id each time the entry is sent: SQS keeps the first that arrived.
            entry["MessageGroupId"] = f"{ALONE}{uuid4().hex}" if self.group is None else str(self.group)
            entry["MessageDeduplicationId"] = uuid4().hex
        return entry, size


def open_client(url: str, *, endpoint: str | None, region: str | None) -> Any:
    """Return boto3's client for a queue, in whose URL stands whom to ask, unless somebody says otherwise."""
    parts = urlsplit(url)
    named = os.environ.get("AWS_ENDPOINT_URL_SQS") or os.environ.get("AWS_ENDPOINT_URL")
    with refusals():
        session = boto3.session.Session()
        return session.client(
            "sqs",
            region_name=region or region_of(parts.hostname or "") or _configured_region(session),
            endpoint_url=endpoint or named or f"{parts.scheme}://{parts.netloc}",
            config=Config(
                connect_timeout=CONNECT_TIMEOUT,
                read_timeout=READ_TIMEOUT,
                retries={"mode": "standard", "total_max_attempts": 3},
                max_pool_connections=CONNECTIONS,
                user_agent_extra="usermemory",
            ),
        )


def region_of(host: str) -> str | None:
    """Return the region that the host of a queue's URL names; None where it names none."""
    found = _REGION.search(host)
    return None if found is None else found[1] or found[2]


def queue_of(url: str) -> tuple[str | None, str]:
    """Return what tells two queues apart: the region, where the URL names one, and the account with the name."""
    parts = urlsplit(url)
    return region_of(parts.hostname or ""), parts.path.strip("/")


def called(client: Any, url: str) -> str:
    """Return the name of a queue and the region in which the client looks for it."""
    return f"{queue_of(url)[1].rpartition('/')[2]} in {client.meta.region_name}"


def _configured_region(session: Any) -> str:
    """Return the region that the environment names, as the AWS command line knows it, or boto3's files."""
    return os.environ.get("AWS_REGION") or session.region_name or ANYWHERE  # boto3 does not read AWS_REGION


def send_all(client: Any, url: str, messages: Sequence[Outgoing]) -> None:
    """Send the messages in order, up to ten in a request; on a FIFO queue no two of one group in the same.

    SQS may take some entries of a request and not others: those are sent again, before anything that comes after.
    Raises DatabaseUnavailable when it does not take them in the end, InvalidInput where they are at fault.
    """
    for batch in _batches(messages, fifo=url.endswith(".fifo")):
        _send(client, url, batch)


def _batches(messages: Sequence[Outgoing], *, fifo: bool) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    room, groups = REQUEST_LIMIT, set[UUID]()
    for message in messages:
        entry, size = message.entry(fifo=fifo)
        if len(batch) == MOST_AT_ONCE or size > room or (fifo and message.group in groups):
            yield batch
            batch, room, groups = [], REQUEST_LIMIT, set()
        batch.append(entry | {"Id": str(len(batch))})
        room -= size
        if message.group is not None:
            groups.add(message.group)
    if batch:
        yield batch


def _send(client: Any, url: str, entries: list[dict[str, Any]]) -> None:
    for pause in RESEND_PAUSES:
        time.sleep(pause)
        with refusals(called(client, url)):
            failed = client.send_message_batch(QueueUrl=url, Entries=entries).get("Failed", [])
        for failure in failed:
            if failure.get("SenderFault"):
                raise InvalidInput(f"SQS refused a message ({_plain(failure.get('Code', ''))})")
        again = {failure["Id"] for failure in failed}
        entries = [entry for entry in entries if entry["Id"] in again]
        if not entries:
            return
    raise DatabaseUnavailable(f"SQS did not take {len(entries)} of the messages")


@contextmanager
def refusals(queue: str = "", *, ignored: frozenset[str] = frozenset()) -> Generator[None]:
    """Turn what boto3 raises into our errors; a block that ends with one of the `ignored` codes just ends.

    Messages hold codes and names of classes alone, and of a queue that does not exist what `called` returned: boto3's
    own may quote URLs, keys and bodies.
    """
    try:
        yield
    except ClientError as error:
        code = _plain(error.response.get("Error", {}).get("Code", ""))
        if code not in ignored:
            raise _translated(code, queue) from None
    except BotoCoreError as error:
        raise DatabaseUnavailable(f"SQS cannot be used ({type(error).__name__})") from None


def _plain(code: str) -> str:
    """Return a code without the service's name that some have in front."""
    return code.rpartition(".")[2]


def _translated(code: str, queue: str) -> UserMemoryError:
    if code in _NO_QUEUE:
        return InvalidInput(f"there is no such SQS queue{queue and f': {queue}'}")
    if code == "BatchRequestTooLong":
        return TooLarge("the message is larger than SQS takes")
    if code in _REFUSED:
        return InvalidInput(f"SQS refused the request ({code})")
    return DatabaseUnavailable(f"SQS cannot be used ({code or 'no code'})")
