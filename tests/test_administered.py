"""What docs/deploy.md says an administrator does to PostgreSQL, done: tables split by owner, backups, the drill."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
import sqlalchemy as sa

from storage.catalog import facts
from storage.database import Database
from storage.directory import resolve
from storage.erase import erase
from storage.errors import UnsafeRole
from storage.identity import Identity
from storage.migrate import migrate
from storage.provenance import by_operator
from storage.roles import LOGIN_ROLES, NOLOGIN_ROLES
from storage.tables import CONTENT, metadata
from tests.deployment import ROOT
from tests.people import furnish
from tests.postgres import Cluster

PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")


@pytest.fixture
def filled_database(cluster: Cluster) -> tuple[str, str]:
    """The administrator's and the application's URL of a database with two people in every table of content."""
    administrators = cluster.new_database()
    applications = migrate(administrators)
    with Database.open(applications) as database:
        for name, said in (("ada", "secret"), ("bob", "own")):
            furnish(database, resolve(database, Identity.of(user=name)).owner, name, said)
    with psycopg.connect(administrators) as connection:
        connection.execute(
            "INSERT INTO usermemory.conversation_memories"
            " SELECT owner_id, id, '{}', message_count, '{}', now(), now() FROM usermemory.conversations"
            " ON CONFLICT DO NOTHING"
        )
        rows = counted(connection)
    assert [table.name for table in CONTENT if not rows[table.name]] == []
    return administrators, applications


def counted(connection: "psycopg.Connection[Any]") -> dict[str, int]:
    """Return how many rows of each table this connection sees."""
    names = [table.name for table in metadata.sorted_tables]
    return {name: connection.execute(f"SELECT count(*) FROM usermemory.{name}").fetchone()[0] for name in names}  # type: ignore[index]


def owner_of(administrators: str, user: str) -> UUID:
    with psycopg.connect(administrators) as connection:
        row = connection.execute("SELECT owner_id FROM usermemory.identities WHERE value = %s", (user,)).fetchone()
    assert row is not None
    found: UUID = row[0]
    return found


def block(language: str, holding: str) -> str:
    """Return the one block of the page in a language that holds some words."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    [found] = [text for text in blocks if holding in text]
    return str(found)


@pytest.fixture
def programs(cluster: Cluster) -> Path:
    """Where psql, pg_dump and pg_restore of the server's own version are."""
    return Path(str(cluster.server.bin_path))


class TestByOwner:
    """A table that is partitioned by a hash of its owner, made by the statement of the page."""

    @pytest.fixture
    def partitioned(self, filled_database: tuple[str, str]) -> tuple[str, str]:
        administrators, _ = filled_database
        roles = [f"usermemory_{role}" for role in (*NOLOGIN_ROLES, *LOGIN_ROLES)]
        statement = block("sql", "PARTITION BY HASH")
        assert "named text := 'items'" in statement
        with psycopg.connect(administrators, autocommit=True) as connection:
            rows, before = counted(connection), facts(connection, roles)
            for table in CONTENT:
                connection.execute(statement.replace("named text := 'items'", f"named text := '{table.name}'").encode())
            after = {(name.replace("partitioned table", "table"), fact) for name, fact in facts(connection, roles)}
            assert counted(connection) == rows
        assert after == before
        return filled_database

    def test_each_table_of_content_keeps_its_rows_and_every_protection(self, partitioned: tuple[str, str]) -> None:
        administrators, applications = partitioned
        ada, bob = (owner_of(administrators, name) for name in ("ada", "bob"))
        with psycopg.connect(applications) as connection:
            connection.execute("SELECT usermemory.bind(%s)", (ada,))
            for table in CONTENT:
                found = connection.execute(f"SELECT DISTINCT owner_id FROM usermemory.{table.name}").fetchall()
                assert found == [(ada,)], table.name
            with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute("INSERT INTO usermemory.profiles SELECT %s, 'x', now(), now()", (bob,))
            with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute("SELECT * FROM usermemory_parts.items_0")
            connection.rollback()
            connection.execute("SELECT usermemory.set_item(%s, 'prefs', 'tone', '1', NULL, now())", (ada,))

    def test_a_statement_that_names_its_owner_reads_one_partition(self, partitioned: tuple[str, str]) -> None:
        administrators, applications = partitioned
        ada = owner_of(administrators, "ada")
        with psycopg.connect(applications) as connection:
            connection.execute("SELECT usermemory.bind(%s)", (ada,))
            for table in CONTENT:
                plan = connection.execute(
                    f"EXPLAIN SELECT * FROM usermemory.{table.name} WHERE owner_id = '{ada}'"
                ).fetchall()
                scanned = set(re.findall(rf"Scan.* on ({table.name}_\d+)\b", "\n".join(line for (line,) in plan)))
                assert len(scanned) == 1, plan

    def test_everything_goes_on_as_before(self, partitioned: tuple[str, str]) -> None:
        with Database.open(partitioned[1]) as database:
            ada = resolve(database, Identity.of(user="ada")).owner
            with database.begin(ada) as stores:
                stores.items.set("prefs", "tone", "warm")
                stores.snapshots.append({"summary": "Drinks tea."}, provenance=by_operator)
            erase(database, ada)
            assert resolve(database, Identity.of(user="ada")).owner != ada

    @pytest.mark.parametrize(
        "change",
        [
            "GRANT SELECT ON usermemory_parts.items_3 TO usermemory_app",
            "ALTER TABLE usermemory_parts.items_3 OWNER TO usermemory_worker",
        ],
    )
    def test_a_partition_that_somebody_could_read_past_the_policies_is_refused(
        self, partitioned: tuple[str, str], change: str
    ) -> None:
        with psycopg.connect(partitioned[0], autocommit=True) as connection:
            connection.execute("GRANT USAGE, CREATE ON SCHEMA usermemory_parts TO usermemory_worker")
            connection.execute(change.encode())
        with pytest.raises(UnsafeRole, match=r"partition usermemory_parts\.items_3 is not on the list"):
            Database.open(partitioned[1])


class TestBackup:
    @pytest.fixture
    def backup(self, filled_database: tuple[str, str], cluster: Cluster) -> Iterator[str]:
        """The URL of the role that the page makes."""
        administrators, _ = filled_database
        cluster.execute(block("sql", "CREATE ROLE"))
        yield as_role(administrators, "backup")
        cluster.execute("DROP ROLE backup")

    def test_the_drill_of_the_page_brings_every_row_back(
        self, filled_database: tuple[str, str], backup: str, cluster: Cluster, programs: Path, tmp_path: Path
    ) -> None:
        administrators, _ = filled_database
        script = block("bash", "pg_restore")
        for host in set(re.findall(r"postgresql://\w+@db/\w+", script)):
            role, database = re.fullmatch(r"postgresql://(\w+)@db/(\w+)", host).groups()  # type: ignore[union-attr]
            url = administrators if database == "memory" else in_database(administrators, database)
            script = script.replace(host, f"'{as_role(url, role)}'")
        path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        try:
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", script],
                cwd=tmp_path,
                env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                check=False,
            )
            assert (done.returncode, done.stderr) == (0, "")
            counts = dict(line.split("|") for line in (tmp_path / "after.txt").read_text().splitlines())
            with psycopg.connect(administrators) as connection:
                rows = counted(connection)
            assert {name: int(counts[name]) for name in rows} == rows
            ada = owner_of(administrators, "ada")
            with (
                Database.open(as_role(in_database(administrators, "drill"), "usermemory_app")) as restored,
                restored.read(ada) as stores,
            ):
                assert stores.profile.get().text == "secret"
        finally:
            cluster.execute("DROP DATABASE IF EXISTS drill")

    @pytest.mark.parametrize("role", ["usermemory_app", "usermemory_worker", "reader"])
    def test_a_role_that_rows_are_hidden_from_is_refused(
        self, role: str, filled_database: tuple[str, str], reader: str, programs: Path, tmp_path: Path
    ) -> None:
        done = dumped(programs, as_role(filled_database[0], role), tmp_path / "memory.sql")
        assert done.returncode == 1
        assert re.search("row-level security|permission denied", done.stderr)

    def test_with_row_security_a_dump_ends_well_and_is_empty(
        self, reader: str, backup: str, programs: Path, tmp_path: Path
    ) -> None:
        path = tmp_path / "memory.sql"
        assert dumped(programs, reader, path, "--enable-row-security").returncode == 0
        assert "secret" not in path.read_text()
        assert "COPY usermemory.items" in path.read_text()
        assert dumped(programs, backup, path).returncode == 0
        assert "secret" in path.read_text()

    @pytest.fixture
    def reader(self, filled_database: tuple[str, str], cluster: Cluster) -> Iterator[str]:
        """The URL of a role that may read everything and does not see past row security."""
        cluster.execute("CREATE ROLE reader LOGIN IN ROLE pg_read_all_data")
        yield as_role(filled_database[0], "reader")
        cluster.execute("DROP ROLE reader")

    def test_to_count_as_the_application_proves_nothing(self, filled_database: tuple[str, str]) -> None:
        with psycopg.connect(filled_database[1]) as connection:
            for table in CONTENT:
                assert connection.execute(f"SELECT count(*) FROM usermemory.{table.name}").fetchone() == (0,)


def as_role(url: str, role: str) -> str:
    return sa.make_url(url).set(username=role).render_as_string(hide_password=False)


def in_database(url: str, database: str) -> str:
    return sa.make_url(url).set(database=database).render_as_string(hide_password=False)


def dumped(programs: Path, url: str, path: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    command: list[str | Path] = [programs / "pg_dump", "--schema=usermemory", f"--file={path}", *options, url]
    return subprocess.run(command, capture_output=True, text=True, check=False)
