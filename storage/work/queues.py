"""Queues: which queue is meant, by `sql` or by the URL of one at SQS."""

from typing import Final
from urllib.parse import urlsplit

from storage.database import Database
from storage.errors import InvalidInput
from storage.work.queue import Queue
from storage.work.sql_queue import SqlQueue

SQL: Final = "sql"
"""What names the queue in the memory's own database."""


def open_queue(spec: str | None, database: Database, *, dead_letters: str | None = None) -> Queue:
    """Open a queue: None or `sql` is the one in the database, the URL of an SQS queue is that one.

    `dead_letters` is the URL of the SQS queue for what was given up; without it the redrive policy names one. On
    PostgreSQL the `sql` queue takes the worker's URL; the application may only send to the person it is bound to.
    Raises InvalidInput for another spec, for an SQS queue without dead letters or with ones that cannot be its own, and
    where the extra `sqs` is missing.
    """
    if spec is None or spec == SQL:
        return SqlQueue(database)
    parts = urlsplit(spec)
    if parts.scheme not in ("http", "https") or not parts.hostname or not parts.path.strip("/"):
        raise InvalidInput(f"a queue is {SQL!r} or the URL of an SQS queue, such as https://sqs.REGION.amazonaws.com/…")
    try:
        from storage.work.sqs_queue import SqsQueue  # noqa: PLC0415 - boto3 is an extra, and takes 0.3 s
    except ImportError as error:
        raise InvalidInput("SQS needs its client: pip install 'usermemory[sqs]'") from error
    return SqsQueue(spec, dead_letter_url=dead_letters)
