from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from storage.database import Database
from storage.dialect import InsertIfNew
from storage.hot import SQLITE
from storage.tables import conversations, heads, items, messages, owners, snapshots
from tests.statement_guard import UnpinnedStatement, check, check_text

ADA, BOB = UUID(int=1), UUID(int=2)
HERS = items.c.owner_id == ADA
OTHERS = items.alias("others")

UNPINNED = {
    "no WHERE": sa.select(items),
    "count without WHERE": sa.select(sa.func.count()).select_from(items),
    "another condition": sa.select(items).where(items.c.key == "tone"),
    "an OR": sa.select(items).where(sa.or_(HERS, items.c.key == "tone")),
    "an OR within an AND": sa.select(items).where(items.c.key == "tone", sa.or_(HERS, sa.true())),
    "a NOT": sa.select(items).where(sa.not_(sa.and_(HERS, items.c.key == "tone"))),
    "an inequality": sa.select(items).where(items.c.owner_id != ADA),
    "a comparison": sa.select(items).where(items.c.owner_id >= ADA),
    "the column itself": sa.select(items).where(items.c.owner_id == items.c.owner_id),
    "an owner out of a query": sa.select(items).where(items.c.owner_id == sa.select(owners.c.id).scalar_subquery()),
    "owners out of a query": sa.select(items).where(items.c.owner_id.in_(sa.select(owners.c.id))),
    "a join that pins one side": sa.select(items, heads)
    .join(heads, heads.c.owner_id == items.c.owner_id)
    .where(heads.c.owner_id == ADA),
    "a join of the directory": sa.select(items).join(owners, owners.c.id == items.c.owner_id).where(owners.c.id == ADA),
    "an outer join that pins within ON": sa.select(items).outerjoin(heads, HERS),
    "a second table in FROM": sa.select(items, heads).where(HERS),
    "a self join that pins one side": sa.select(items, OTHERS).where(HERS, OTHERS.c.key == items.c.key),
    "an alias": sa.select(OTHERS),
    "a subquery": sa.select(sa.select(items).subquery()),
    "a subquery within a condition": sa.select(items).where(
        HERS, items.c.key.in_(sa.select(OTHERS.c.key).where(OTHERS.c.namespace == "prefs"))
    ),
    "a subquery pinned outside": sa.select(found := sa.select(items).subquery()).where(found.c.owner_id == ADA),
    "a CTE": sa.select(sa.select(items).cte()),
    "a union": sa.union_all(sa.select(items).where(HERS), sa.select(items)),
    "EXISTS": sa.select(owners).where(sa.exists().where(items.c.owner_id == owners.c.id)),
    "a DELETE of all": sa.delete(items),
    "a DELETE by another condition": sa.delete(items).where(items.c.key == "tone"),
    "an UPDATE without owner": sa.update(items).where(items.c.key == "tone").values(value="1"),
    "an UPDATE of all": sa.update(items).values(value="1"),
    "an UPDATE that names the owner as a value": sa.update(items).values(owner_id=ADA),
    "an UPDATE from another table": sa.update(items).where(HERS, heads.c.version == items.c.version).values(value="1"),
    "an INSERT from all": sa.insert(items).from_select(["owner_id"], sa.select(heads.c.owner_id)),
    "text": sa.text("SELECT * FROM items"),
}

PINNED = {
    "an equality": sa.select(items).where(HERS, items.c.key == "tone"),
    "an equality the other way round": sa.select(items).where(sa.literal(ADA) == items.c.owner_id),
    "IN": sa.select(items).where(items.c.owner_id.in_((ADA, BOB))),
    "an OR beside it": sa.select(items).where(HERS, sa.or_(items.c.key == "tone", items.c.key == "pace")),
    "a join that pins both sides": sa.select(items, heads)
    .join(heads, heads.c.owner_id == items.c.owner_id)
    .where(heads.c.owner_id == ADA, HERS),
    "a join that pins within ON": sa.select(items).join(heads, sa.and_(heads.c.owner_id == ADA, HERS)),
    "a join of the directory": sa.select(messages)
    .join(conversations, conversations.c.id == messages.c.conversation_id)
    .where(messages.c.owner_id == ADA),
    "an alias": sa.select(OTHERS).where(OTHERS.c.owner_id == ADA),
    "a subquery": sa.select(snapshots).where(
        snapshots.c.owner_id == ADA,
        snapshots.c.version
        >= sa.select(sa.func.max(snapshots.c.version)).where(snapshots.c.owner_id == ADA).scalar_subquery(),
    ),
    "a DELETE": sa.delete(items).where(items.c.owner_id.in_([ADA])),
    "an UPDATE": sa.update(items).where(HERS).values(value="1"),
    "an INSERT": sa.insert(items).values(owner_id=ADA),
    "an INSERT where the key is free": InsertIfNew(items).values(owner_id=ADA),
    "the directory": sa.select(owners),
    "text": sa.text("SELECT * FROM items WHERE owner_id = :owner"),
}

UNPINNED_TEXTS = [
    "SELECT value FROM items",
    "SELECT value FROM usermemory.items WHERE key = %s",
    "SELECT value FROM items WHERE owner_id = ? OR key = ?",
    "SELECT value FROM items WHERE owner_id <> ?",
    "SELECT value FROM items WHERE owner_id = owner_id",
    "SELECT value FROM items WHERE owner_id IN (SELECT id FROM owners)",
    "SELECT value FROM items WHERE owner_id = (SELECT survivor_id FROM owners LIMIT 1)",
    "SELECT items.value FROM items JOIN heads USING (owner_id) WHERE owner_id = ?",
    "SELECT value FROM owners, items WHERE owners.id = ?",
    "SELECT version FROM snapshots WHERE owner_id = ?1 AND version = (SELECT max(version) FROM snapshots)",
    "UPDATE items SET value = ? WHERE key = ?",
    "DELETE FROM items",
    "INSERT INTO items (namespace, key, owner_id) VALUES (?, ?, ?)",
    "INSERT INTO items (owner_id, key) SELECT survivor_id, ? FROM owners",
    "INSERT INTO items (owner_id, key) SELECT owner_id, ?2 FROM heads",
    "INSERT OR REPLACE INTO items (owner_id, key) VALUES (?, ?)",
]

PINNED_TEXTS = [
    "SELECT value FROM items WHERE owner_id = ? AND key = ?",
    "SELECT value FROM usermemory.items WHERE owner_id = %s",
    "SELECT value FROM items WHERE owner_id IN (?, ?)",
    "INSERT INTO items (owner_id, key) VALUES (?, ?)",
    "SELECT id FROM owners",
    "SELECT * FROM usermemory.read_head(%s)",
]


@pytest.mark.parametrize("planted", UNPINNED)
def test_a_statement_that_forgets_the_owner_is_caught(planted: str) -> None:
    with pytest.raises(UnpinnedStatement, match="without its owner"):
        check(UNPINNED[planted])


@pytest.mark.parametrize("statement", PINNED)
def test_a_statement_that_names_the_owner_passes(statement: str) -> None:
    check(PINNED[statement])


@pytest.mark.parametrize("planted", UNPINNED_TEXTS)
def test_a_text_that_forgets_the_owner_is_caught(planted: str) -> None:
    with pytest.raises(UnpinnedStatement):
        check_text(planted)


@pytest.mark.parametrize("statement", PINNED_TEXTS)
def test_a_text_that_names_the_owner_passes(statement: str) -> None:
    check_text(statement)


@pytest.mark.parametrize("name", SQLITE)
def test_every_hot_statement_pins_the_owner(name: str) -> None:
    check_text(SQLITE[name])


@pytest.mark.parametrize(
    ("name", "pin"),
    [
        ("read_head", "WHERE owner_id = (SELECT survivor_id FROM owners WHERE id = ?)"),
        ("read_chain", "WHERE owner_id = ?1 AND version <= ?2 AND checkpoint"),
        ("next_head", "owner_id = (SELECT survivor_id FROM owners WHERE id = ?1) AND "),
        ("set_item", " WHERE id = ?1"),
        ("change_item", "owner_id = (SELECT survivor_id FROM owners WHERE id = ?1) AND "),
    ],
)
def test_a_hot_statement_that_lost_its_pin_is_caught(name: str, pin: str) -> None:
    assert pin in SQLITE[name]
    with pytest.raises(UnpinnedStatement):
        check_text(SQLITE[name].replace(pin, "WHERE checkpoint" if pin.endswith("checkpoint") else ""))


def test_a_watched_engine_runs_nothing_unpinned(database: Database) -> None:
    with database.engine.connect() as connection:
        for planted in (sa.select(items), sa.text("SELECT * FROM items"), sa.select(sa.exists(sa.select(heads)))):
            with pytest.raises(UnpinnedStatement):
                connection.execute(planted)
        with pytest.raises(UnpinnedStatement):
            connection.exec_driver_sql("DELETE FROM items")
        assert connection.execute(sa.select(items).where(items.c.owner_id == uuid4())).all() == []
