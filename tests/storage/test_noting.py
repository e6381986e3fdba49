"""What the database notes by itself of every change: that the person is active, and the events of the outbox."""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa

from storage.conversations import NewMessage
from storage.database import Database
from storage.directory import link, resolve
from storage.erase import erase
from storage.errors import NotFound
from storage.identity import Identity
from storage.provenance import by_user
from storage.tables import outbox, owners, publishing
from tests.clock import Clock
from tests.contents import Contents

Notes = Callable[[], list[tuple[str | None, str, str | None, int | None]]]


@pytest.fixture
def told(administrator: sa.Engine) -> Notes:
    """Let events be written; what is called gives those that wait."""
    with administrator.begin() as connection:
        connection.execute(sa.insert(publishing).values(id=1, enabled=True))

    def waiting() -> list[tuple[str | None, str, str | None, int | None]]:
        wanted = sa.select(outbox.c.user_id, outbox.c.event, outbox.c.changed, outbox.c.version)
        with administrator.connect() as connection:
            return [tuple(row) for row in connection.execute(wanted.order_by(outbox.c.id))]

    return waiting


def change_everything(database: Database, owner: UUID) -> None:
    with database.single(owner) as stores:
        stores.items.set("prefs", "tone", "warm")
    with database.begin(owner) as stores:
        stores.snapshots.append({"summary": "Drinks tea."}, provenance=by_user)
        stores.profile.set("Drinks tea.")
        stores.items.delete("prefs", "tone")


def test_every_change_is_an_event_for_each_user_id(
    database: Database, operators_database: Database, ada: UUID, told: Notes
) -> None:
    link(operators_database, ada, "user", "ada@home")
    change_everything(database, ada)
    changes = [("item", 1), ("document", 1), ("profile", None), ("item", None)]
    assert told() == [(user, "memory.changed", *change) for change in changes for user in ("ada", "ada@home")]


def test_of_a_person_without_a_user_id_the_owner_alone_is_told(database: Database, told: Notes) -> None:
    caller = resolve(database, Identity.of(phone="+12025550123")).owner
    with database.begin(caller) as stores:
        stores.profile.set("Drinks tea.")
    assert told() == [(None, "memory.changed", "profile", None)]


def test_nothing_is_told_of_what_did_not_happen(database: Database, ada: UUID, told: Notes) -> None:
    def set_and_fail() -> None:
        with database.begin(ada) as stores:
            stores.items.set("prefs", "tone", "warm")
            stores.items.get("prefs", "mood")

    with pytest.raises(NotFound, match="mood"):
        set_and_fail()
    with database.begin(ada) as stores:
        stores.snapshots.append({}, provenance=by_user)  # unchanged
        stores.conversations.append("call-1", [NewMessage("user", "hello")])
    assert told() == []


def test_no_event_is_written_where_nobody_publishes(
    database: Database, ada: UUID, contents: Callable[[], Contents], administrator: sa.Engine
) -> None:
    change_everything(database, ada)
    assert contents()["outbox"] == []
    with administrator.begin() as connection:
        connection.execute(sa.insert(publishing).values(id=1, enabled=False))
    with database.begin(ada) as stores:
        stores.profile.set("Drinks coffee.")
    assert contents()["outbox"] == []


def test_what_is_left_of_an_erased_person_is_one_event_for_each_user_id(
    database: Database, operators_database: Database, ada: UUID, told: Notes
) -> None:
    link(operators_database, ada, "user", "ada@home")
    change_everything(database, ada)
    erase(database, ada)
    assert told() == [(user, "memory.erased", None, None) for user in ("ada", "ada@home")]


def test_erasing_leaves_nothing_where_nobody_publishes(
    database: Database, ada: UUID, contents: Callable[[], Contents]
) -> None:
    change_everything(database, ada)
    erase(database, ada)
    assert {name for name, rows in contents().items() if rows} == {"erasures"}


class TestActivity:
    def last_active(self, administrator: sa.Engine, owner: UUID) -> object:
        with administrator.connect() as connection:
            return connection.scalar(sa.select(owners.c.last_active_at).where(owners.c.id == owner))

    def test_an_item_is_noted_once_in_each_hour(
        self, clocked: Database, clock: Clock, administrator: sa.Engine, ada: UUID
    ) -> None:
        noon = clock().replace(minute=0, second=0, microsecond=0) + timedelta(hours=3)
        for minutes, noted in ((5, 5), (59, 5), (61, 61), (62, 61)):
            clock.now = noon + timedelta(minutes=minutes)
            with clocked.begin(ada) as stores:
                stores.items.push("tips", "recent", minutes)
            assert self.last_active(administrator, ada) == noon + timedelta(minutes=noted)

    def test_a_deletion_and_a_document_are_no_activity(
        self, database: Database, administrator: sa.Engine, ada: UUID
    ) -> None:
        with database.begin(ada) as stores:
            stores.snapshots.append({"summary": "Drinks tea."}, provenance=by_user)
        assert self.last_active(administrator, ada) is None
