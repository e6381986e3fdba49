"""Queues for tests: an SQS server on the loopback, the places in which the port is tried, and consumers of their own.

`python -m tests.queues ORDER` is one consumer in a process of its own; it can be killed. ORDER is a JSON object: the
`database`, the `spec` and the `dead_letters` of the queue, the `work` by name, and `notes`, the file of what was done.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self
from uuid import UUID, uuid4

import boto3  # type: ignore[import-untyped]
import pytest

from storage.database import Database
from storage.directory import resolve
from storage.identity import Identity
from storage.transaction import Clock, utc_now
from storage.work import sqs_queue
from storage.work.queue import Delivery, Message, Queue
from storage.work.queues import open_queue

ROOT = Path(__file__).parents[1]

REGION = "eu-west-1"

PATIENCE = 30.0
"""Seconds for what should take none, on a busy machine."""

LOOK_AGAIN = 0.02
"""Seconds between two looks of the SQS server at a queue that somebody waits for."""


@dataclass(frozen=True)
class Place:
    """Where a queue is: enough to open it in another process, too."""

    database: str
    spec: str
    dead_letters: str | None = None

    @contextmanager
    def open(self, clock: Clock = utc_now) -> Iterator[Queue]:
        """Open the queue for one consumer; a queue in the database goes by this clock."""
        with Database.open(self.database, clock=clock) as database:
            queue = open_queue(self.spec, database, dead_letters=self.dead_letters)
            try:
                yield queue
            finally:
                queue.close()

    def person(self, name: str) -> UUID:
        """Return somebody whom the queue's database knows."""
        with Database.open(self.database) as database:
            return resolve(database, Identity.of(user=name)).owner


class SqsServer:
    """A server that speaks the protocol of SQS over real HTTP."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.clock: Clock = utc_now
        """The time by which the server holds messages; a test may put another in its place."""

        self.client: Any = boto3.session.Session().client("sqs", region_name=REGION, endpoint_url=url)

    def new_queue(self, *, fifo: bool = False, dead_letters: str | None = None, receives: int = 1_000) -> str:
        """Create a queue and return its URL; with `dead_letters` SQS moves there what was received so often."""
        attributes = {"FifoQueue": "true"} if fifo else {}
        if dead_letters is not None:
            asked = self.client.get_queue_attributes(QueueUrl=dead_letters, AttributeNames=["QueueArn"])
            policy = {"deadLetterTargetArn": asked["Attributes"]["QueueArn"], "maxReceiveCount": receives}
            attributes["RedrivePolicy"] = json.dumps(policy)
        name = f"queue-{uuid4().hex}{'.fifo' if fifo else ''}"
        return str(self.client.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])


@contextmanager
def running_sqs() -> Iterator[SqsServer]:
    """Start a server on a free port; until the end of the block, credentials for it are in the environment."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what moto imports
        from moto.moto_server.threaded_moto_server import ThreadedMotoServer
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_SQS", "AWS_PROFILE", "AWS_REGION"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "never-to-be-told")
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setattr(sqs_queue, "LISTING_POLL", 0)  # it is one server, so nothing is overlooked
        server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        sqs = SqsServer(f"http://{host}:{port}")
        _mend_moto(patch, sqs)
        try:
            yield sqs
        finally:
            sqs.client.close()
            server.stop()


def _mend_moto(patch: pytest.MonkeyPatch, server: SqsServer) -> None:
    """Let moto do two things that SQS does, and moto 5.2 does not, and go by the clock of the server.

    Its queues are lists without a lock, so that two requests at once could give a message to both. And of several
    messages of a FIFO group that are received again, it gives the last one first.
    """
    from moto.sqs import models
    from moto.sqs.models import SQSBackend

    lock = threading.RLock()
    receive = SQSBackend.receive_message

    def receive_message(
        self: Any, name: str, count: int, wait: int, visibility: int, attributes: list[str] | None = None
    ) -> Any:
        deadline = time.monotonic() + wait
        while True:
            with lock:
                pending = self.get_queue(name).pending_messages
                pending.difference_update([message for message in pending if message.visible])
                found = receive(self, name, count, 0, visibility, attributes)
            if found or time.monotonic() >= deadline:
                return found
            time.sleep(LOOK_AGAIN)

    def locked(method: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            with lock:
                return method(*arguments, **named)

        return call

    patch.setattr(models, "unix_time_millis", lambda: server.clock().timestamp() * 1_000)
    patch.setattr(SQSBackend, "receive_message", receive_message)
    for name in ("send_message_batch", "delete_message", "change_message_visibility", "get_queue_attributes"):
        patch.setattr(SQSBackend, name, locked(getattr(SQSBackend, name)))


class Handled(NamedTuple):
    """What a consumer notes of each message: what it was, and when it was busy with it, by the machine's clock."""

    number: int
    group: str | None
    began: float
    ended: float


class Consumer:
    """A consumer in a process of its own, which ends with the block at the latest."""

    def __init__(self, place: Place, work: str, notes: Path) -> None:
        order = asdict(place) | {"work": work, "notes": str(notes)}
        self.notes = notes
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.queues", json.dumps(order)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self.kill()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()

    def line(self) -> str:
        """Wait for the next line that it says."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def begin(self) -> None:
        """Tell it to begin."""
        assert self._process.stdin is not None
        self._process.stdin.write("begin\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """End it as a crash would."""
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait(60)

    def end(self) -> list[Handled]:
        """Wait until it has ended by itself, and return what it handled; fails where it failed."""
        _, errors = self._process.communicate(timeout=120)
        assert self._process.returncode == 0, errors
        return [Handled(*json.loads(line)) for line in self.notes.read_text().splitlines()]


def hold(queue: Queue, _notes: Path) -> None:
    """Take one message, say so, and never do anything about it."""
    [delivery] = queue.receive(limit=1, wait=PATIENCE)
    print(delivery.body["number"], flush=True)
    threading.Event().wait()


def consume(queue: Queue, notes: Path) -> None:
    """Take a message, say so, wait to be told to begin, and handle everything until nothing is left."""
    deliveries = queue.receive(limit=1, wait=PATIENCE)
    print("ready" if deliveries else "there is nothing", flush=True)
    sys.stdin.readline()
    with notes.open("a") as file:
        while deliveries or queue.waiting():
            for delivery in deliveries:
                file.write(json.dumps(_handled(delivery, notes)) + "\n")
                queue.acknowledge(delivery)
            deliveries = queue.receive(limit=10, wait=0.3)


def _handled(delivery: Delivery, notes: Path) -> Handled:
    began = time.monotonic()
    with notes.with_suffix(".work").open("w") as file:  # takes a moment, so that two at once would be seen
        file.write(str(delivery.body))
        os.fsync(file.fileno())
    group = None if delivery.group is None else str(delivery.group)
    return Handled(delivery.body["number"], group, began, time.monotonic())


def numbered(number: int, group: UUID | None = None) -> Message:
    """Return a message that says its number."""
    return Message({"number": number}, group)


def numbers(deliveries: list[Delivery]) -> list[int]:
    """Return what the messages of `numbered` say."""
    return [delivery.body["number"] for delivery in deliveries]


def main(order: dict[str, str]) -> None:
    """Be one consumer."""
    work = {"hold": hold, "consume": consume}[order["work"]]
    with ExitStack() as stack:
        queue = stack.enter_context(Place(order["database"], order["spec"], order["dead_letters"]).open())
        work(queue, Path(order["notes"]))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
