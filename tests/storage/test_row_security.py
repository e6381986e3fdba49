"""What PostgreSQL itself holds back, whatever SQL the application's role runs.

It holds back mistakes, not an attacker who may run any SQL: the setting that says who is bound can be set by anybody.
Each attack runs bound to Bob and bound to nobody, on every table. None may show a mark of Ada or change a row of hers,
and each must succeed once the role is made a superuser: an attack that cannot succeed would prove nothing.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from uuid import UUID

import psycopg
import pytest
import sqlalchemy as sa
from psycopg.pq import TransactionStatus

from storage.api_keys import create_api_key
from storage.database import Database
from storage.directory import resolve
from storage.erase import erase
from storage.identity import Identity
from storage.tables import CONTENT, metadata
from tests.attacks import READS, SHAPES, Shape, statements
from tests.configuring import set_configuration
from tests.contents import Contents
from tests.people import furnish, give_work

MARKS = ("alice-", "secret")
"""Every row of Ada, who goes by alice here, holds one of them; no attack does, and no UUID: `ada-` would be in some."""

OF_PEOPLE = [table for table in metadata.sorted_tables if table.name == "owners" or "owner_id" in table.c]
"""The tables whose rows are somebody's. Configurations are nobody's; see `TestConfigurations`."""


@dataclass(frozen=True)
class Scene:
    """Ada and Bob with something in every table, and Eve, who was erased."""

    url: str
    ada: UUID
    bob: UUID
    eve: UUID

    def of(self, shape: Shape, table: sa.Table) -> Iterator[str]:
        """Yield the statements of Bob's attack on what one table holds of Ada."""
        return statements(shape, table, attacker=self.bob, victim=self.ada)

    def shows(self, seen: list[str]) -> list[str]:
        """Return what was seen of Ada, or of Eve."""
        return [line for line in seen if any(mark in line for mark in (*MARKS, str(self.eve)))]

    def rows(self, connection: psycopg.Connection) -> list[str]:
        """Return all rows of Ada, to somebody who may see them."""
        found = []
        for table in OF_PEOPLE:
            owner = "id" if table.name == "owners" else "owner_id"
            query = f"SELECT t::text FROM usermemory.{table.name} t WHERE {owner} = %s"
            found += [f"{table.name} {line}" for (line,) in connection.execute(query, (self.ada,))]
        return sorted(found)


@pytest.fixture
def backend() -> str:
    return "postgresql"


ADA = Identity.of(organization="alice-organization", user="alice-user")


@pytest.fixture
def scene(database: Database, operators_database: Database, database_url: str, superuser: sa.Engine) -> Scene:
    ada = resolve(database, ADA).owner
    bob, eve = (resolve(database, Identity.of(user=name)).owner for name in ("bob", "eve"))
    furnish(database, ada, "alice", "secret")
    furnish(database, bob, "bob", "own")
    give_key(operators_database, "alice-digest", ADA)
    give_key(operators_database, "bobs-digest", Identity.of(user="bob"))
    give_work(superuser, ada, "alice")
    give_work(superuser, bob, "bob")
    erase(database, eve)
    with superuser.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")
    return Scene(database_url, ada, bob, eve)


def give_key(operators_database: Database, digest: str, identity: Identity | None) -> None:
    """Make a key whose id and name tell it by its digest; without an identity one that acts for others."""
    organization = "acme" if identity is None else identity.organization
    create_api_key(
        operators_database,
        key_id=f"{digest}-id",
        digest=digest,
        organization=organization,
        scopes="memory:read",
        identity=identity,
        name=f"{digest}-name",
    )


@pytest.fixture
def watcher(administrator_url: str) -> Iterator[psycopg.Connection]:
    """A superuser, who sees what became of Ada's rows."""
    with psycopg.connect(administrator_url, autocommit=True) as connection:
        yield connection


@contextmanager
def without_any_guard(superuser: sa.Engine) -> Iterator[None]:
    """Make the application's role a superuser while the block lasts."""
    with superuser.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ALTER ROLE usermemory_app SUPERUSER")
        try:
            yield
        finally:
            connection.exec_driver_sql("ALTER ROLE usermemory_app NOSUPERUSER")


def attack(connection: psycopg.Connection, statements: Iterable[str]) -> list[str]:
    """Run `statements` until one fails; return all that came back: rows, notices and the error."""
    seen: list[str] = []

    def hear(notice: psycopg.errors.Diagnostic) -> None:
        seen.append(notice.message_primary or "")

    connection.add_notice_handler(hear)
    try:
        for statement in statements:
            seen += answer(connection.cursor(), statement)
    except psycopg.Error as error:
        seen.append(str(error))
    finally:
        connection.remove_notice_handler(hear)
    return seen


def answer(cursor: psycopg.Cursor, statement: str) -> list[str]:
    """Run one statement and return its rows; what COPY reads stands behind its first semicolon."""
    if not statement.startswith("COPY"):
        cursor.execute(statement.encode())
        return [repr(row) for row in cursor] if cursor.description else []
    command, _, line = statement.partition(";")
    with cursor.copy(command.encode()) as copy:
        if not line:
            return [bytes(part).decode() for part in copy]
        copy.write(line.strip().replace(" ", "\t"))
    return []


def seen_of_somebody_else(scene: Scene, shape: str) -> list[str]:
    """Attack every table, bound to nobody and then to Bob, and return what was seen of Ada. What it does, stays."""
    seen = []
    firsts = "BEGIN", f"BEGIN; SELECT usermemory.bind('{scene.bob}')"
    with psycopg.connect(scene.url, autocommit=True, prepare_threshold=None) as connection:
        for table, first in product(OF_PEOPLE, firsts):
            seen += attack(connection, [first, *scene.of(SHAPES[shape], table), "COMMIT"])
            connection.execute("ROLLBACK")
            connection.execute("DISCARD ALL")
    return scene.shows(seen)


@pytest.mark.parametrize("shape", SHAPES)
def test_no_sql_shows_or_changes_what_is_somebody_elses(scene: Scene, watcher: psycopg.Connection, shape: str) -> None:
    before = scene.rows(watcher)
    assert seen_of_somebody_else(scene, shape) == []
    assert scene.rows(watcher) == before


def test_every_attack_succeeds_where_nothing_holds_it_back(scene: Scene, superuser: sa.Engine) -> None:
    with (
        without_any_guard(superuser),
        psycopg.connect(scene.url, autocommit=True, prepare_threshold=None) as connection,
    ):
        assert [shape for shape in SHAPES if not succeeds(connection, scene, shape)] == []


def succeeds(connection: psycopg.Connection, scene: Scene, shape: str) -> bool:
    """Tell whether an attack on any table shows or changes anything of Ada, and undo it."""
    before = scene.rows(connection)
    for table in OF_PEOPLE:
        seen = attack(connection, ["BEGIN", *scene.of(SHAPES[shape], table)])
        failed = connection.info.transaction_status == TransactionStatus.INERROR
        found = scene.shows(seen) or (not failed and scene.rows(connection) != before)
        connection.execute("ROLLBACK")
        connection.execute("DISCARD ALL")
        if found:
            return True
    return False


def test_one_permissive_policy_is_found_by_most_reads(scene: Scene, watcher: psycopg.Connection) -> None:
    watcher.execute("CREATE POLICY leak ON usermemory.items FOR SELECT USING (true)")
    try:
        blind = [shape for shape in READS if not seen_of_somebody_else(scene, shape)]
    finally:
        watcher.execute("DROP POLICY leak ON usermemory.items")
    assert blind == [
        "FOR SHARE",
        "FOR UPDATE",
        "join of the directory",
        "statistics",
        "raw statistics",
        "row security off",
        "as a superuser",
        "as a superuser's session",
    ]


CALLS = {
    "bind('{ada}')": "UM001",
    "bind_to_write('{ada}')": "UM001",
    "read_head('{ada}')": "UM001",
    "read_chain('{ada}', 1)": "UM001",
    "read_item('{ada}', 'alice-namespace', 'alice-key')": "UM001",
    "set_item('{ada}', 'alice-namespace', 'alice-key', '1', NULL, now())": "UM001",
    "set_item('{ada}', 'alice-namespace', 'alice-key', '1', 0, now())": "UM001",
    "set_item('{ada}', 'alice-namespace', 'alice-key', '1', 1, now())": "UM001",
    "save_version('{ada}', 0, '{{}}', '[]', NULL, '{{}}', 'user', 1, 0, now())": "UM001",
    "save_version('{ada}', 7, '{{}}', '[]', NULL, '{{}}', 'user', 1, 0, now())": "UM001",
    "erase('{ada}')": "42501",
    "link('{bob}', 'user', 'alice-user')": "42501",
    "link('{ada}', 'phone', '+4915112345678')": "42501",
    "unlink('alice-organization', 'user', 'alice-user')": "42501",
    "resolve('default', 'somebody', NULL, false, '{ada}')": "23505",
}
"""What the application may try with the functions while it is bound to Bob, and the SQLSTATE that it gets."""


@pytest.mark.parametrize("call", CALLS)
def test_no_function_works_for_somebody_else(scene: Scene, watcher: psycopg.Connection, call: str) -> None:
    before = scene.rows(watcher)
    statement = f"SELECT * FROM usermemory.{call}".format(ada=scene.ada, bob=scene.bob)
    with psycopg.connect(scene.url) as connection:
        connection.execute("SELECT usermemory.bind(%s)", (scene.bob,))
        with pytest.raises(psycopg.Error) as refused:
            connection.execute(statement.encode())
    assert refused.value.sqlstate == CALLS[call]
    assert not scene.shows([str(refused.value)])
    assert scene.rows(watcher) == before


def test_nobody_is_erased_while_nobody_is_bound(scene: Scene) -> None:
    with psycopg.connect(scene.url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("SELECT usermemory.erase(%s)", (scene.ada,))


@pytest.mark.parametrize("role", ["app", "worker"])
@pytest.mark.parametrize("other", ["owner", "resolver", "eraser", "app", "worker"])
def test_nobody_becomes_another_role(scene: Scene, role: str, other: str) -> None:
    with psycopg.connect(scene.url.replace("_app@", f"_{role}@")) as connection:
        if role == other:
            connection.execute(f"SET ROLE usermemory_{other}".encode())
        else:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(f"SET ROLE usermemory_{other}".encode())


def assert_refused(scene: Scene, contents: Callable[[], Contents], statement: str) -> None:
    """The application has no right to do it, whether somebody is bound or nobody is."""
    before = contents()
    for first in ("SELECT 1", f"SELECT usermemory.bind('{scene.bob}')"):
        with psycopg.connect(scene.url) as connection:
            connection.execute(first.encode())
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement.encode())
    assert contents() == before


class TestConfigurations:
    """The application learns what an organization allows by its exact name, and never which ones there are."""

    @pytest.fixture(autouse=True)
    def organizations(self, operators_database: Database) -> None:
        for organization, flow in (("acme", None), ("acme", "support"), ("acme", "sales"), ("other", None)):
            set_configuration(operators_database, organization, flow, {"retention_days": 30})

    @pytest.mark.parametrize(
        "statement",
        [
            "SELECT * FROM usermemory.configurations",
            "SELECT count(*) FROM usermemory.configurations WHERE organization_id = 'acme'",
            "INSERT INTO usermemory.configurations VALUES ('new', '', '{}', now())",
            "UPDATE usermemory.configurations SET settings = '{}'",
            "DELETE FROM usermemory.configurations",
            "TRUNCATE usermemory.configurations",
            "COPY usermemory.configurations TO STDOUT",
        ],
    )
    def test_the_application_has_no_right_to_the_table(
        self, scene: Scene, contents: Callable[[], Contents], statement: str
    ) -> None:
        assert_refused(scene, contents, statement)

    @pytest.mark.parametrize(
        ("organization", "flow", "seen"),
        [
            ("acme", "support", ["", "support"]),
            ("acme", "", [""]),
            ("acme", None, [""]),
            ("acme", "%", [""]),
            ("%", "%", []),
            ("", "", []),
            ("ACME", "support", []),
            (None, None, []),
        ],
    )
    def test_the_function_shows_what_is_named_exactly(
        self, database_url: str, organization: str | None, flow: str | None, seen: list[str]
    ) -> None:
        with psycopg.connect(database_url) as connection:
            rows = connection.execute("SELECT flow FROM usermemory.configuration(%s, %s)", (organization, flow))
            assert sorted(flow for (flow,) in rows) == seen

    def test_the_worker_sees_and_edits_all_of_them(self, worker_url: str) -> None:
        with psycopg.connect(worker_url) as connection:
            edited = connection.execute("UPDATE usermemory.configurations SET settings = '{}'")
            assert edited.rowcount == 4


class TestApiKeys:
    """The application learns whose a key is by its exact digest, and never which keys there are."""

    @pytest.fixture(autouse=True)
    def a_key_that_acts_for_others(self, operators_database: Database) -> None:
        give_key(operators_database, "gateways-digest", None)

    @pytest.mark.parametrize(
        "statement",
        [
            "SELECT * FROM usermemory.api_keys",
            "SELECT count(*) FROM usermemory.api_keys WHERE digest = 'bobs-digest'",
            "INSERT INTO usermemory.api_keys VALUES ('id', 'digest', 'acme', '{bob}', NULL, '', now())",
            "UPDATE usermemory.api_keys SET revoked_at = NULL",
            "UPDATE usermemory.api_keys SET owner_id = '{ada}'",
            "DELETE FROM usermemory.api_keys",
            "TRUNCATE usermemory.api_keys",
            "COPY usermemory.api_keys TO STDOUT",
        ],
    )
    def test_the_application_has_no_right_to_the_table(
        self, scene: Scene, contents: Callable[[], Contents], statement: str
    ) -> None:
        assert_refused(scene, contents, statement.format(ada=scene.ada, bob=scene.bob))

    @pytest.mark.parametrize(
        ("digest", "seen"),
        [
            ("bobs-digest", ("bobs-digest-id", "default", "user", "bob")),
            ("gateways-digest", ("gateways-digest-id", "acme", None, None)),
            ("BOBS-DIGEST", None),
            ("bobs-diges_", None),
            ("%", None),
            ("' OR true --", None),
            ("", None),
            (None, None),
        ],
    )
    def test_the_function_shows_the_key_of_exactly_that_digest(
        self, scene: Scene, digest: str | None, seen: tuple[str | None, ...] | None
    ) -> None:
        with psycopg.connect(scene.url) as connection:
            wanted = "SELECT id, organization, kind, value FROM usermemory.api_key(%s)"
            assert connection.execute(wanted, (digest,)).fetchone() == seen

    @pytest.mark.parametrize(
        "statement",
        [
            "SELECT * FROM usermemory.api_key('bobs-digest')",
            "UPDATE usermemory.api_keys SET digest = 'mine'",
            "UPDATE usermemory.api_keys SET owner_id = NULL",
            "UPDATE usermemory.api_keys SET scopes = 'memory:act-as'",
            "DELETE FROM usermemory.api_keys",
        ],
    )
    def test_the_worker_learns_nobodys_name_by_a_key_and_changes_none(
        self, scene: Scene, worker_url: str, contents: Callable[[], Contents], statement: str
    ) -> None:
        before = contents()
        with psycopg.connect(worker_url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())
        assert contents() == before

    def test_the_worker_sees_and_revokes_all_of_them(self, scene: Scene, worker_url: str) -> None:
        with psycopg.connect(worker_url) as connection:
            assert connection.execute("UPDATE usermemory.api_keys SET revoked_at = now()").rowcount == 3


class TestWorker:
    """The worker finds work by ids, counters and times. It never learns who somebody is."""

    @pytest.fixture
    def worker(self, scene: Scene, worker_url: str) -> Iterator[psycopg.Connection]:
        with psycopg.connect(worker_url, prepare_threshold=None) as connection:
            yield connection

    def reads_that_show_an_identity(self, worker: psycopg.Connection, scene: Scene) -> list[str]:
        """Return those that do so bound to nobody, or bound to the very person."""
        found = []
        for shape, first in product(READS, ("SELECT 1", f"SELECT usermemory.bind('{scene.ada}')")):
            seen = attack(worker, [first, *scene.of(READS[shape], metadata.tables["identities"])])
            worker.rollback()
            found += [shape for line in seen if "alice-user" in line]
        return found

    def test_no_read_shows_an_identity(self, worker: psycopg.Connection, scene: Scene) -> None:
        assert self.reads_that_show_an_identity(worker, scene) == []

    def test_a_right_and_a_policy_too_many_would_be_found(
        self, worker: psycopg.Connection, scene: Scene, watcher: psycopg.Connection
    ) -> None:
        watcher.execute("GRANT SELECT ON usermemory.identities TO usermemory_worker")
        watcher.execute("CREATE POLICY leak ON usermemory.identities FOR SELECT TO usermemory_worker USING (true)")
        try:
            assert len(set(self.reads_that_show_an_identity(worker, scene))) > 30
        finally:
            watcher.execute("DROP POLICY leak ON usermemory.identities")
            watcher.execute("REVOKE SELECT ON usermemory.identities FROM usermemory_worker")

    @pytest.mark.parametrize("table", ["owners", "conversations", "cursors"])
    def test_it_scans_for_work(self, worker: psycopg.Connection, scene: Scene, table: str) -> None:
        owner = "id" if table == "owners" else "owner_id"
        found = worker.execute(f"SELECT {owner} FROM usermemory.{table}".encode()).fetchall()
        assert {scene.ada, scene.bob} == {whose for (whose,) in found}

    @pytest.mark.parametrize("table", [table.name for table in CONTENT])
    def test_it_sees_content_of_whom_it_is_bound_to_alone(
        self, worker: psycopg.Connection, scene: Scene, table: str
    ) -> None:
        query = f"SELECT DISTINCT owner_id FROM usermemory.{table}".encode()
        assert worker.execute(query).fetchall() == []
        worker.execute("SELECT usermemory.bind(%s)", (scene.bob,))
        assert worker.execute(query).fetchall() == [(scene.bob,)]
