import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa

from storage.conversations import NewMessage
from storage.database import Database
from storage.directory import resolve
from storage.errors import DatabaseError, DatabaseUnavailable, InvalidInput, NotFound, NotMigrated
from storage.identity import Identity
from storage.provenance import by_user
from storage.settings import DatabaseSettings
from storage.stores import Stores
from tests.contents import Contents
from tests.postgres import Cluster

IMPATIENT = DatabaseSettings(pool_size=2, pool_timeout=0.05, busy_timeout=0.05)


def someone(database: Database, user: str = "ada") -> UUID:
    return resolve(database, Identity.of(user=user)).owner


def write_everywhere(stores: Stores) -> None:
    stores.items.set("prefs", "tone", "cool")
    stores.items.push("said", "jokes", "one")
    stores.profile.set("Likes tea.")
    stores.conversations.append("call-1", [NewMessage("user", "hello", external_id="m1")])
    stores.cursors.advance("update", 1)
    stores.snapshots.append({"safety_notes": "a b c"}, provenance=by_user, idempotency_key="first")
    stores.snapshots.append({"safety_notes": "gone"}, provenance=by_user, idempotency_key="held")


def test_sqlite_is_durable_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with Database.open(f"sqlite:///{tmp_path / 'a.db'}") as database, database.engine.connect() as connection:
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete", "busy_timeout")
        }
    assert settings == {
        "journal_mode": "wal",
        "synchronous": 2,  # FULL
        "foreign_keys": 1,
        "secure_delete": 1,
        "busy_timeout": 60_000,
    }


def test_settings_are_those_of_every_connection(tmp_path: Path) -> None:
    settings = DatabaseSettings(pool_size=3, synchronous="NORMAL", busy_timeout=1.5)
    with Database.open(f"sqlite:///{tmp_path / 'a.db'}", settings) as database:
        connections = [database.engine.connect() for _ in range(3)]
        for connection in connections:
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 1
            assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 1_500
            connection.close()


def test_what_was_deleted_is_no_longer_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with Database.open(f"sqlite:///{path}") as database:
        ada = someone(database)
        with database.begin(ada) as stores:
            stores.items.set("prefs", "secret", "SECRET-OF-ADA" * 50)
            stores.items.set("prefs", "tone", "WARM-OF-ADA")
        with database.begin(ada) as stores:
            stores.items.delete("prefs", "secret")
    left = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"WARM-OF-ADA" in left
    assert b"SECRET-OF-ADA" not in left


def test_closing_lets_go_of_the_file(tmp_path: Path) -> None:
    with Database.open(f"sqlite:///{tmp_path / 'a.db'}") as database:
        ada = someone(database)
        for visit in (database.begin, database.read, database.single):
            with visit(ada) as stores:
                stores.snapshots.current()
        assert len(list(tmp_path.iterdir())) > 1
    assert [file.name for file in tmp_path.iterdir()] == ["a.db"]  # who closes last removes SQLite's log


def test_what_was_written_is_there_after_opening_again(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"
    with Database.open(url) as database, database.begin(someone(database)) as stores:
        write_everywhere(stores)
    with Database.open(url) as database, database.read(someone(database)) as stores:
        assert stores.items.get("prefs", "tone").value == "cool"
        assert stores.snapshots.current().version == 1
        assert len(stores.pending.waiting().entries) == 1
        assert stores.cursors.seen("update") == 1


def test_a_database_in_memory_is_one_of_its_own() -> None:
    with Database.open("sqlite://") as one, Database.open("sqlite:///:memory:") as other:
        ada = someone(one)
        with one.begin(ada) as stores:
            write_everywhere(stores)
        with one.read(ada) as stores:
            assert stores.items.get("prefs", "tone").value == "cool"
        with pytest.raises(NotFound), other.read(ada) as stores:
            stores.snapshots.current()


def test_a_database_in_memory_serves_many_threads() -> None:
    with Database.open("sqlite://") as database:
        ada = someone(database)

        def push(number: int) -> None:
            with database.begin(ada) as stores:
                stores.items.push("said", "numbers", number, keep=100)

        threads = [threading.Thread(target=push, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with database.read(ada) as stores:
            assert sorted(stores.items.get("said", "numbers").value) == list(range(20))


@pytest.mark.parametrize(
    "url", ["", "memory.db", "sqlite", "mysql://localhost/x", "oracle://x", "postgres", "://", "\0"]
)
def test_a_url_of_no_database_we_know_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput, match=r"use sqlite:///FILE or postgresql://"):
        Database.open(url)


def test_a_password_in_a_bad_url_is_not_repeated() -> None:
    for url in ("mysql://ada:hunter2@localhost/x", "postgresql//ada:hunter2@localhost"):
        with pytest.raises(InvalidInput) as refused:
            Database.open(url)
        assert "hunter2" not in str(refused.value)


def test_a_file_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("This is no database, however much it is opened as one." * 20)
    for path in (text, tmp_path, tmp_path / "missing" / "a.db"):
        with pytest.raises(DatabaseUnavailable, match="file cannot be used"):
            Database.open(f"sqlite:///{path}")
    assert text.read_text().startswith("This is no database")


def test_a_file_of_a_newer_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    Database.open(f"sqlite:///{path}").close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE migrations SET version_num = '9999'")
    connection.close()
    with pytest.raises(NotMigrated, match="newer"):
        Database.open(f"sqlite:///{path}")


def test_postgresql_must_be_migrated_there_and_running(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(DatabaseError):
        Database.open(cluster.new_database())
    with pytest.raises(DatabaseUnavailable):
        Database.open(cluster.url("nowhere"))
    with pytest.raises(DatabaseUnavailable):
        Database.open(f"postgresql://postgres@/x?host={tmp_path}")


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt, SystemExit, NotFound])
def test_a_block_that_fails_leaves_nothing(
    database: Database, ada: UUID, contents: Callable[[], Contents], error: type[BaseException]
) -> None:
    with database.begin(ada) as stores:
        stores.items.set("prefs", "tone", "warm")
    before = contents()
    with pytest.raises(error):
        fail_in_the_end(database, ada, error)
    assert contents() == before
    with database.begin(ada) as stores:  # and the connection is as good as new
        write_everywhere(stores)
    assert contents() != before


def fail_in_the_end(database: Database, owner: UUID, error: type[BaseException]) -> None:
    with database.begin(owner) as stores:
        write_everywhere(stores)
        raise error


def test_others_see_a_block_when_it_is_done_and_not_before(database: Database, ada: UUID) -> None:
    with database.begin(ada) as stores:
        write_everywhere(stores)
        with database.read(ada) as others:
            assert others.snapshots.current().version == 0
            assert others.items.in_namespace("prefs").entries == ()
    with database.read(ada) as others:
        assert others.snapshots.current().version == 1


def test_a_block_for_nobody_keeps_nothing(database: Database, contents: Callable[[], Contents]) -> None:
    before = contents()
    with database.nobody() as stores:
        assert stores.snapshots.current().version == 0
        assert stores.items.in_namespace("prefs").entries == ()
        assert stores.pending.waiting().entries == ()
        assert stores.conversations.all().entries == ()
        assert stores.cursors.seen("update") == 0
        for write in (
            lambda: stores.items.set("prefs", "tone", "warm"),
            lambda: stores.snapshots.append({"n": 1}, provenance=by_user),
        ):
            with pytest.raises(NotFound):
                write()
    assert contents() == before


def test_a_writer_inside_a_writer_is_refused_instead_of_waiting_for_itself(tmp_path: Path) -> None:
    with Database.open(f"sqlite:///{tmp_path / 'a.db'}", IMPATIENT) as database:
        ada = someone(database)
        with database.begin(ada) as stores:
            stores.items.set("prefs", "tone", "warm")
            for visit in (database.begin, database.single):
                with pytest.raises(DatabaseUnavailable, match="another writer"), visit(ada) as inner:
                    inner.items.set("prefs", "tone", "lost")
        with database.read(ada) as stores:
            assert stores.items.get("prefs", "tone").value == "warm"


@pytest.mark.parametrize("backend", ["postgresql"])  # SQLite has one writer at a time
def test_a_transaction_inside_one_of_somebody_else_stays_with_its_own_person(database: Database) -> None:
    ada, bob = someone(database), someone(database, "bob")
    with database.begin(ada) as adas:
        adas.items.set("prefs", "tone", "ada's")
        with database.begin(bob) as bobs:
            bobs.items.set("prefs", "tone", "bob's")
        with database.single(bob) as bobs:
            assert bobs.items.get("prefs", "tone").value == "bob's"
        assert adas.items.get("prefs", "tone").value == "ada's"


def test_whoever_finds_no_free_connection_is_told(tmp_path: Path) -> None:
    with Database.open(f"sqlite:///{tmp_path / 'a.db'}", IMPATIENT) as database:
        ada = someone(database)
        with database.read(ada), database.read(ada):
            started = time.monotonic()
            with pytest.raises(DatabaseUnavailable, match="no database connection became free"), database.read(ada):
                pass
            assert time.monotonic() - started < DatabaseSettings().pool_timeout, "it was as impatient as it was told"
        with database.read(ada) as stores:
            assert stores.snapshots.current().version == 0


def test_another_process_that_holds_the_file_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with Database.open(f"sqlite:///{path}") as database:
        ada = someone(database)
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.2, other.execute, ["COMMIT"])
        release.start()
        with database.begin(ada) as stores:
            write_everywhere(stores)
        release.join()
        other.close()
        with database.read(ada) as stores:
            assert stores.snapshots.current().version == 1


def test_what_a_driver_says_about_values_is_not_passed_on(
    database: Database, ada: UUID, administrator: sa.Engine
) -> None:
    with failing_inserts(administrator):
        for visit in (database.begin, database.single):
            with pytest.raises(DatabaseError) as refused, visit(ada) as stores:
                stores.items.set("prefs", "tone", "SECRET")
            told = f"{refused.value} {refused.value.__cause__} {refused.value.details}"
            assert "SECRET" not in told
            assert refused.value.__suppress_context__


@contextmanager
def failing_inserts(administrator: sa.Engine) -> Iterator[None]:
    """While the block lasts, inserting an item fails with a message that quotes its value."""
    if administrator.dialect.name == "sqlite":
        arm = ["CREATE TRIGGER failing BEFORE INSERT ON items BEGIN SELECT json(NEW.value || NEW.value); END"]
        disarm = "DROP TRIGGER failing"
    else:
        body = "BEGIN RAISE EXCEPTION 'no: %%', NEW.value; END"
        trigger = "BEFORE INSERT ON usermemory.items FOR EACH ROW EXECUTE FUNCTION public.failing()"
        arm = [
            f"CREATE FUNCTION public.failing() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$",
            f"CREATE TRIGGER failing {trigger}",
        ]
        disarm = "DROP FUNCTION public.failing() CASCADE"
    run(administrator, *arm)
    try:
        yield
    finally:
        run(administrator, disarm)


def run(administrator: sa.Engine, *statements: str) -> None:
    with administrator.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def test_stores_are_of_no_use_after_their_block(database: Database, ada: UUID) -> None:
    with database.begin(ada) as stores:
        stores.items.set("prefs", "tone", "warm")
    with database.single(ada) as single:
        single.items.get("prefs", "tone")
    for ended in (stores, single):
        with pytest.raises(DatabaseError):
            ended.items.get("prefs", "tone")
    with pytest.raises(DatabaseError):
        stores.items.in_namespace("prefs")
