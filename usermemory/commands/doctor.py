"""`usermemory doctor`: is the database as it should be?"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import click
import sqlalchemy as sa

from storage.database import Database
from storage.dialect import is_postgresql, make_engine, translated
from storage.json_types import Json
from storage.migrate import HEAD, revision_of
from storage.security import findings
from storage.settings import DatabaseSettings
from usermemory.commands.failure import REFUSED
from usermemory.commands.group import examples
from usermemory.commands.options import on_database
from usermemory.commands.screen import Screen
from usermemory.commands.visible import visible

_PRAGMAS = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}
"""What SQLite must be set to: synchronous 2 is FULL."""


@dataclass
class Report:
    """What was found out about a database."""

    database: str
    kind: str
    facts: dict[str, Json] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)

    def as_json(self) -> Json:
        """Return the report as `doctor --json` shows it."""
        return {
            "database": self.database,
            "kind": self.kind,
            **self.facts,
            "findings": self.findings,
            "healthy": not self.findings,
        }


@click.command(
    epilog=examples("usermemory doctor", "usermemory doctor --database postgresql://usermemory_app@localhost/memory")
)
@on_database
@click.pass_context
def command(ctx: click.Context, url: str, screen: Screen) -> None:
    """Examine the database and say what is wrong with it.

    SQLite: its settings, and whether the file is whole. PostgreSQL: the role, the policies and every object that row
    security rests on. Exit code 0 when all is well, 1 when there is a finding.
    """
    report = _examine(url)
    screen.answer(report.as_json(), lambda: _lines(report))
    if report.findings:
        Database.open(url).close()  # says so itself where nothing may be done with this database
        ctx.exit(REFUSED)


def _examine(url: str) -> Report:
    engine = make_engine(url, DatabaseSettings())
    try:
        if is_postgresql(engine):
            return _examine_postgresql(engine)
    except sa.exc.SQLAlchemyError as error:
        raise translated(error) from None
    finally:
        engine.dispose()
    with Database.open(url) as database, database.translating():
        return _examine_sqlite(database.engine)


def _examine_postgresql(engine: sa.Engine) -> Report:
    with engine.connect() as connection:
        report = Report(engine.url.render_as_string(hide_password=True), "postgresql")
        report.facts["server"] = connection.exec_driver_sql("SHOW server_version").scalar()
        report.facts["role"] = connection.exec_driver_sql("SELECT current_user").scalar()
        report.facts["migration"] = migration = revision_of(connection)
        if migration != HEAD:
            report.findings.append(f"the database is at migration {migration or 'none'}, and {HEAD} is needed")
        report.findings += findings(connection)
    return report


def _examine_sqlite(engine: sa.Engine) -> Report:
    report = Report(str(engine.url), "sqlite")
    with engine.connect() as connection:
        run = connection.exec_driver_sql
        report.facts["server"] = run("SELECT sqlite_version()").scalar()
        report.facts["migration"] = revision_of(connection)
        for name, wanted in _PRAGMAS.items():
            report.facts[name] = found = run(f"PRAGMA {name}").scalar()
            if found != wanted and engine.url.database not in (None, "", ":memory:"):
                report.findings.append(f"{name} is {found}, and must be {wanted}")
        faults = list(run("PRAGMA integrity_check").scalars())
        report.findings += [f"integrity: {fault}" for fault in faults if fault != "ok"]
        report.findings += [f"a row of {row[0]} refers to nothing" for row in run("PRAGMA foreign_key_check")]
    return report


def _lines(report: Report) -> Iterator[str]:
    yield click.style(visible(report.database), bold=True)
    for name, value in report.facts.items():
        yield f"  {name:<14}{visible(str(value))}"
    for finding in report.findings:
        yield f"  {click.style('✗', fg='red')} {visible(finding)}"
    if not report.findings:
        yield f"  {click.style('✓', fg='green')} healthy"
