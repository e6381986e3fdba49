"""What could not be learnt is left behind, and gone back to."""

from uuid import UUID

import pytest
import sqlalchemy as sa

from storage.cursors import ITEMS, MESSAGES, RETURNS
from storage.database import Database
from storage.errors import InvalidInput
from storage.stores import Stores
from storage.tables import cursors


def standing(stores: Stores) -> tuple[int, int]:
    return stores.cursors.seen(MESSAGES), stores.cursors.seen(ITEMS)


def test_a_cursor_goes_back_to_where_it_stood_before_what_failed(database: Database, ada: UUID) -> None:
    with database.begin(ada) as stores:
        stores.cursors.advance(MESSAGES, 3)
        stores.cursors.leave_behind(MESSAGES, 5)
        stores.cursors.leave_behind(ITEMS, 1_000)
        assert standing(stores) == (5, 1_000)
    with database.begin(ada) as stores:
        stores.cursors.advance(MESSAGES, 9)
        assert stores.cursors.go_back()
        assert standing(stores) == (3, 0)


def test_what_was_gone_back_to_is_left_behind_no_more(database: Database, ada: UUID) -> None:
    with database.begin(ada) as stores:
        assert not stores.cursors.go_back()
        assert stores.cursors.seen(RETURNS) == 0
        stores.cursors.leave_behind(MESSAGES, 5)
        assert stores.cursors.go_back()
        stores.cursors.advance(MESSAGES, 7)
        assert not stores.cursors.go_back()
        assert stores.cursors.seen(MESSAGES) == 7
        assert stores.cursors.seen(RETURNS) == 1


def test_of_several_that_failed_the_oldest_is_gone_back_to(database: Database, ada: UUID) -> None:
    with database.begin(ada) as stores:
        for number in (2, 4, 6):
            stores.cursors.leave_behind(MESSAGES, number)
        assert stores.cursors.go_back()
        assert standing(stores) == (0, 0)
        stores.cursors.advance(MESSAGES, 4)
        stores.cursors.leave_behind(MESSAGES, 6)
        assert stores.cursors.go_back()
        assert standing(stores) == (4, 0)


def test_what_failed_is_left_behind_with_its_transaction_or_not_at_all(database: Database, ada: UUID) -> None:
    def crash() -> None:
        with database.begin(ada) as stores:
            stores.cursors.leave_behind(MESSAGES, 5)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        crash()
    with database.begin(ada) as stores:
        assert stores.cursors.seen(MESSAGES) == 0
        assert not stores.cursors.go_back()


def test_nobody_goes_back_for_somebody_else(database: Database, ada: UUID, bob: UUID) -> None:
    with database.begin(ada) as stores:
        stores.cursors.leave_behind(MESSAGES, 5)
    with database.begin(bob) as stores:
        assert not stores.cursors.go_back()
    with database.read(ada) as stores:
        assert stores.cursors.seen(MESSAGES) == 5


def test_only_what_the_document_is_made_of_can_be_left_behind(database: Database, ada: UUID) -> None:
    with database.begin(ada) as stores, pytest.raises(InvalidInput):
        stores.cursors.leave_behind("update", 5)


def test_the_application_needs_no_more_rights_than_to_move_a_cursor(
    database: Database, ada: UUID, administrator: sa.Engine
) -> None:
    with database.begin(ada) as stores:
        stores.cursors.leave_behind(MESSAGES, 5)
        stores.cursors.go_back()
    with administrator.connect() as connection:
        rows = connection.execute(sa.select(cursors.c.purpose).order_by(cursors.c.purpose)).scalars().all()
    assert rows == [MESSAGES, "document:failed", RETURNS]
