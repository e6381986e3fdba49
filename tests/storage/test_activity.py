from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from memory_tools.memory import Memory
from storage.conversations import NewMessage
from storage.database import Database
from storage.directory import resolve
from storage.erase import erase
from storage.errors import Erased, NotFound
from storage.identity import Identity
from storage.tables import owners
from storage.work.eligible import active_people
from tests.clock import Clock
from tests.contents import Contents


def last_active(administrator: sa.Engine, owner: UUID) -> datetime | None:
    with administrator.connect() as connection:
        found: datetime | None = connection.scalar(sa.select(owners.c.last_active_at).where(owners.c.id == owner))
        return found


def test_what_is_noted_is_now_and_of_this_person_alone(
    clocked: Database, clock: Clock, administrator: sa.Engine, ada: UUID, bob: UUID
) -> None:
    for seconds in (0, 60, 3_600):
        now = clock.move(seconds)
        with clocked.begin(ada) as stores:
            stores.activity.note()
        assert last_active(administrator, ada) == now
    assert last_active(administrator, bob) is None


def test_who_was_noted_is_active_until_a_day_later(
    clocked: Database, clocked_worker: Database, clock: Clock, ada: UUID, bob: UUID
) -> None:
    since = clock.now
    assert active_people(clocked_worker, since=since) == []
    clock.move(60)
    with clocked.begin(ada) as stores:
        stores.activity.note()
    assert [each.id for each in active_people(clocked_worker, since=since)] == [ada]
    clock.move(26 * 3_600)
    assert active_people(clocked_worker, since=clock.now) == []


def test_it_is_no_message(database: Database, ada: UUID) -> None:
    with database.begin(ada) as stores:
        stores.conversations.append("call-1", [NewMessage("user", "hello")])
        before = stores.conversations.totals()
        stores.activity.note()
        assert stores.conversations.totals() == before


def test_nobody_is_noted_who_is_not_there(database: Database, contents: Callable[[], Contents]) -> None:
    gone = resolve(database, Identity.of(user="gone")).owner
    erase(database, gone)
    before = contents()
    for owner in (gone, uuid4()):
        with suppress(Erased, NotFound), database.begin(owner) as stores:
            stores.activity.note()
    Memory(database).of(user="nobody").note_activity()
    assert contents() == before


def test_a_host_says_it_of_a_person(database: Database, administrator: sa.Engine, ada: UUID) -> None:
    Memory(database).of(user="ada").note_activity()
    assert last_active(administrator, ada) is not None


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)  # SQLite has one writer at a time
def test_what_was_not_noted_while_the_row_was_locked_is_noted_by_a_later_write(
    clocked: Database, administrator: sa.Engine, clock: Clock, ada: UUID
) -> None:
    message = NewMessage("user", "hello", external_id="1")
    with clocked.begin(ada) as stores:
        stores.conversations.append("call-1", [message])
    clock.move(24 * 3_600)
    with clocked.begin(ada) as stores:
        stores.conversations.append("call-1", [message])  # known already: it locks the row and notes nothing
        with clocked.begin(ada) as others:
            others.items.set("prefs", "tone", "warm")
    before = last_active(administrator, ada)
    now = clock.move(60)
    with clocked.begin(ada) as stores:
        stores.items.set("prefs", "tone", "cold")
    assert before != last_active(administrator, ada) == now
