"""A long queue: how many rows PostgreSQL reads to take one message, however few it believes to be there."""

from uuid import uuid4

import pytest
import sqlalchemy as sa

from storage.database import Database
from storage.tables import owners, queue_messages
from storage.transaction import utc_now
from storage.work.queue import Message
from storage.work.sql_queue import SqlQueue

MANY = 2_000

A_FEW = 100
"""Rows that may be read where one message is taken: some are read again, and those that are held are passed over."""


def send_to_many(url: str, administrator: sa.Engine) -> None:
    """Send one message about each of many people."""
    ids = [uuid4() for _ in range(MANY)]
    rows = [{"id": one, "survivor_id": one, "organization_id": "default", "created_at": utc_now()} for one in ids]
    with administrator.begin() as connection:
        connection.execute(sa.insert(owners), rows)
    with Database.open(url) as opened:
        SqlQueue(opened).send([Message({"owner_id": str(one)}, one) for one in ids])


def count_as(left: int, administrator: sa.Engine) -> None:
    """Have PostgreSQL count the rows while only the newest ones are there."""
    newest = sa.select(sa.func.max(queue_messages.c.id)).scalar_subquery()
    with administrator.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.delete(queue_messages).where(queue_messages.c.id <= newest - left))
        connection.exec_driver_sql("VACUUM ANALYZE usermemory.queue_messages")


def rows_read(administrator: sa.Engine) -> int:
    """Return how many rows of the queue were read by all who have closed their connections."""
    read = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = 'queue_messages'"
    with administrator.connect() as connection:
        return int(connection.exec_driver_sql(read).scalar_one())


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
@pytest.mark.usefixtures("database")
@pytest.mark.parametrize("counted", [None, 0, 50])
def test_to_take_one_message_few_rows_of_a_long_queue_are_read(
    worker_url: str, administrator: sa.Engine, counted: int | None
) -> None:
    send_to_many(worker_url, administrator)
    if counted is not None:
        count_as(counted, administrator)
        send_to_many(worker_url, administrator)
    before = rows_read(administrator)
    with Database.open(worker_url) as opened:
        assert len(SqlQueue(opened).receive(limit=1)) == 1
    assert 0 < rows_read(administrator) - before < A_FEW
