"""migrate, doctor, and which database a command works on."""

import sqlite3
import stat
from pathlib import Path

import pytest
import sqlalchemy as sa

from storage.migrate import HEAD
from tests.postgres import Cluster
from tests.usermemory.cli import Cli

FOR_PERSONS = (
    ("show",),
    ("history",),
    ("diff", "0", "1"),
    ("revert", "1"),
    ("pending", "list"),
    ("items", "list", "prefs"),
    ("items", "set", "prefs", "tone", "1"),
    ("profile", "get"),
    ("update", "-"),
)


def test_doctor_finds_a_migrated_database_healthy(cli: Cli) -> None:
    report = cli("doctor", "--json").json
    assert report["healthy"] is True
    assert report["findings"] == []
    assert report["migration"] == HEAD
    assert report["kind"] in ("sqlite", "postgresql")
    assert cli("doctor").lines[-1] == "  ✓ healthy"


def test_doctor_says_how_sqlite_is_set(on_sqlite: Cli) -> None:
    report = on_sqlite("doctor", "--json").json
    assert [report[name] for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")] == [
        "wal",
        2,
        1,
        1,
    ]


def test_doctor_finds_a_row_that_refers_to_nothing(tmp_path: Path) -> None:
    cli = Cli(f"sqlite:///{tmp_path / 'memory.db'}", "ada")
    cli("items", "set", "prefs", "tone", "1")
    with sqlite3.connect(tmp_path / "memory.db") as connection:
        connection.execute("DELETE FROM owners")
    connection.close()
    answer = cli("doctor", "--json")
    assert answer.exit_code == 1
    assert "a row of items refers to nothing" in answer.stdout


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "memory.db").write_text("not a database" * 100)
    for command in ("doctor", "migrate", "show"):
        answer = Cli(f"sqlite:///{tmp_path / 'memory.db'}", "ada")(command, "--json")
        assert (answer.exit_code, answer.error["code"]) == (1, "database_unavailable")


def test_doctor_finds_what_is_wrong_on_postgresql(
    cluster: Cluster, administrator_url: str, postgresql_url: str
) -> None:
    database = sa.make_url(administrator_url).database
    cluster.execute("ALTER TABLE usermemory.items NO FORCE ROW LEVEL SECURITY", str(database))
    try:
        answer = Cli(postgresql_url)("doctor", "--json")
    finally:
        cluster.execute("ALTER TABLE usermemory.items FORCE ROW LEVEL SECURITY", str(database))
    assert answer.exit_code == 1
    assert "usermemory.items" in answer.stdout
    assert "unsafe_role" in answer.stderr


def test_doctor_reports_a_database_that_was_never_migrated(cluster: Cluster, postgresql_url: str) -> None:
    new = cluster.new_database().replace("postgres:", "usermemory_app:", 1)
    answer = Cli(new)("doctor", "--json")
    assert answer.exit_code == 1
    assert "migration none" in answer.stdout
    assert "not_migrated" in answer.stderr


@pytest.mark.parametrize("arguments", [*FOR_PERSONS, ("doctor",)])
def test_a_superusers_url_is_refused(administrator_url: str, postgresql_url: str, arguments: tuple[str, ...]) -> None:
    answer = Cli(administrator_url, "ada")(*arguments, "--json", stdin="user: hi")
    assert answer.exit_code == 1
    assert '"code": "unsafe_role"' in answer.stderr


def test_migrate_makes_a_database_ready_and_prints_the_applications_url(cluster: Cluster) -> None:
    answer = Cli(cluster.new_database())("migrate")
    [url] = answer.lines
    assert sa.make_url(url).username == "usermemory_app"
    ready = Cli(url, "ada")
    assert ready("show", "--json").json == {}
    assert ready("items", "set", "prefs", "tone", '"warm"', "--json").json["version"] == 1
    assert ready("doctor").exit_code == 0


def test_migrate_names_the_workers_url_beside_it_and_says_what_it_does_only_where_it_does(cluster: Cluster) -> None:
    cli = Cli(cluster.new_database())
    first, again = cli("migrate", "--role-prefix", "others"), cli("migrate", "--role-prefix", "others")
    assert first.stdout == again.stdout
    for answer in (first, again):
        assert sa.make_url(answer.stderr.split()[-1]).username == "others_worker"
    assert f"Migrating to {HEAD}" in first.stderr
    assert "Migrating" not in again.stderr


def test_migrate_twice_changes_nothing(cluster: Cluster) -> None:
    cli = Cli(cluster.new_database())
    first = cli("migrate", "--json").json
    assert cli("migrate", "--json").json == first
    assert first["migration"] == HEAD


def test_migrate_takes_passwords_from_the_environment_and_never_prints_them(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USERMEMORY_APP_PASSWORD", "secret%';--")
    answer = Cli(cluster.new_database())("migrate", "--role-prefix", "other")
    assert answer.exit_code == 0
    assert "other_app" in answer.stdout
    assert "secret" not in answer.stdout + answer.stderr


def test_migrate_refuses_a_prefix_that_is_no_identifier(cluster: Cluster) -> None:
    answer = Cli(cluster.new_database())("migrate", "--role-prefix", 'x"; DROP', "--json")
    assert (answer.exit_code, answer.error["code"]) == (1, "invalid_input")


def test_migrate_needs_an_administrator(postgresql_url: str) -> None:
    answer = Cli(postgresql_url)("migrate", "--json")
    assert (answer.exit_code, answer.error["code"]) == (1, "unsafe_role")


def test_migrate_on_sqlite_prints_the_same_url(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'memory.db'}"
    assert Cli(url)("migrate").lines == [url]
    assert Cli(url, "ada")("show", "--json").json == {}


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("mysql://host/memory", "invalid_input"),
        ("memory.db", "invalid_input"),
        ("sqlite:////nowhere/at/all/memory.db", "database_unavailable"),
        ("postgresql://someone:secret@127.0.0.1:1/memory", "database_unavailable"),
    ],
)
def test_a_database_that_cannot_be_opened_is_refused_without_its_password(url: str, code: str) -> None:
    for command in ("show", "migrate", "doctor"):
        answer = Cli(url, "ada")(command, "--json")
        assert (answer.exit_code, answer.error["code"]) == (1, code)
        assert "secret" not in answer.stderr


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://someone:secret@127.0.0.1:1/memory", "nobody listens at 127.0.0.1:1."),
        ("postgresql://someone:secret@nowhere.invalid/memory", "there is no such host: nowhere.invalid."),
        ("postgresql://someone:a@secret/b@127.0.0.1:1/memory", "there is no such host."),
        (
            "sqlite:////nowhere/at/all/memory.db",
            "the database file cannot be used (SQLITE_CANTOPEN): /nowhere/at/all/memory.db",
        ),
    ],
)
def test_why_a_database_cannot_be_opened_is_said_without_its_password(url: str, reason: str) -> None:
    for command in ("show", "migrate"):
        message = Cli(url, "ada")(command, "--json").error["message"]
        assert message.endswith(reason)
        assert "secret" not in message


def test_what_the_server_refuses_to_open_is_named(cluster: Cluster) -> None:
    there = sa.make_url(cluster.new_database())
    for other, reason in (
        (there.set(database="nowhere"), "there is no such database: nowhere."),
        (there.set(username="nobody"), "there is no such role: nobody."),
        (there.set(query={"host": "/nowhere"}), "nobody listens."),
    ):
        message = Cli(other.render_as_string(hide_password=False), "ada")("show", "--json").error["message"]
        assert message == f"The database does not answer: {reason}"


def test_without_a_database_named_memory_is_kept_in_the_data_folder_for_its_user_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    cli = Cli(user="ada")
    cli("items", "set", "prefs", "tone", '"warm"')
    assert cli("items", "get", "prefs", "tone", "--json").json["value"] == "warm"
    [file] = tmp_path.rglob("memory.db")
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
