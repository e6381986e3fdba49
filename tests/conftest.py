import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings

from storage.database import Database
from storage.directory import resolve
from storage.identity import Identity
from storage.migrate import migrate
from storage.tables import metadata
from tests.clock import Clock
from tests.contents import Contents, administrators_engine, everything
from tests.postgres import Cluster, running_cluster
from tests.queues import SqsServer, running_sqs
from tests.redis_server import RedisServer, running_redis
from tests.statement_guard import watch
from tests.telemetry import Heard, listen

# A busy machine is slow, which is no fault of a property.
settings.register_profile("usermemory", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("usermemory")

BACKENDS = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A running PostgreSQL; fsync is off, because no test here is about power loss."""
    with running_cluster("fsync = off\nmax_connections = 200\n") as running:
        yield running


@pytest.fixture(scope="session")
def administrator_url(cluster: Cluster) -> str:
    return cluster.new_database()


@pytest.fixture(scope="session")
def postgresql_url(administrator_url: str) -> str:
    """The application's URL of a migrated database."""
    return migrate(administrator_url)


@pytest.fixture(scope="session")
def superuser(administrator_url: str, postgresql_url: str) -> Iterator[sa.Engine]:
    """PostgreSQL's superuser in the migrated database, for what an application cannot do."""
    engine = administrators_engine(administrator_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def worker_url(postgresql_url: str) -> str:
    return postgresql_url.replace("usermemory_app@", "usermemory_worker@")


@pytest.fixture(scope="session")
def sqlite_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('sqlite') / 'memory.db'}"


@pytest.fixture(scope="module")
def sqs() -> Iterator[SqsServer]:
    """A server that speaks the protocol of SQS."""
    with running_sqs() as server:
        yield server


@pytest.fixture(scope="module")
def redis_server() -> Iterator[RedisServer]:
    """A running Redis; a test that stops it starts it again."""
    with running_redis() as server:
        yield server


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def database_url(backend: str, request: pytest.FixtureRequest) -> str:
    """The URL of an empty, migrated database; other processes may open it too."""
    if backend == "sqlite":
        url: str = request.getfixturevalue("sqlite_url")
        return url
    url = request.getfixturevalue("postgresql_url")
    return url


@pytest.fixture
def database(database_url: str, request: pytest.FixtureRequest) -> Iterator[Database]:
    """An open, empty database whose every statement is watched: a content table must be pinned to its owner."""
    opened = Database.open(database_url)
    with watch(opened.engine):
        yield opened
    opened.close()
    if opened.on_postgresql:
        wipe(request.getfixturevalue("administrator_url"))
    else:
        wipe(database_url)


@pytest.fixture
def operators_database(database: Database, request: pytest.FixtureRequest) -> Iterator[Database]:
    """The same database for an operator: the worker's role on PostgreSQL, the same file on SQLite."""
    if not database.on_postgresql:
        yield database
        return
    with Database.open(request.getfixturevalue("worker_url")) as opened, watch(opened.engine):
        yield opened


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def clocked(database: Database, database_url: str, clock: Clock) -> Iterator[Database]:
    """The same database, with a clock that the test moves."""
    with Database.open(database_url, clock=clock) as opened, watch(opened.engine):
        yield opened


@pytest.fixture
def clocked_worker(operators_database: Database, clock: Clock, request: pytest.FixtureRequest) -> Iterator[Database]:
    """The same database as the worker opens it, with a clock that the test moves."""
    url = request.getfixturevalue("worker_url" if operators_database.on_postgresql else "database_url")
    with Database.open(url, clock=clock) as opened, watch(opened.engine):
        yield opened


@pytest.fixture
def administrator(database_url: str, request: pytest.FixtureRequest) -> sa.Engine:
    """An engine that sees every row of the database."""
    if database_url.startswith("postgresql"):
        return administrators_engine(request.getfixturevalue("administrator_url"))
    return administrators_engine(database_url)


@pytest.fixture
def contents(database: Database, administrator: sa.Engine) -> Callable[[], Contents]:
    """A look at every row of every table: what a refused call must leave as it was."""
    return lambda: everything(administrator)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Heard]:
    """What OpenTelemetry is told while the test runs."""
    yield from listen(monkeypatch)


@pytest.fixture
def ada(database: Database) -> UUID:
    return resolve(database, Identity.of(user="ada")).owner


@pytest.fixture
def bob(database: Database) -> UUID:
    return resolve(database, Identity.of(user="bob")).owner


def wipe(url: str) -> None:
    """Delete every row of every table, as an administrator."""
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    if engine.dialect.name == "postgresql":
        engine = engine.execution_options(schema_translate_map={None: "usermemory"})
    with engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(sa.delete(table))
    engine.dispose()


def waits_for_a_lock(administrator: sa.Engine) -> bool:
    """Return whether anybody in the database waits for somebody else, on PostgreSQL."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with administrator.connect() as connection:
        return bool(connection.exec_driver_sql(waiting).scalar())


def shared_data(name: str) -> Path:
    """Return a file of the shared test data; its absence skips the test, except in CI, where it must be there."""
    path = Path(__file__).parents[2] / "shared" / "data" / name
    if not path.exists():
        if os.environ.get("CI"):
            pytest.fail(f"the shared test data is missing: {name}")
        pytest.skip(f"the shared test data is not here: {name}")
    return path


warnings.filterwarnings("ignore", message=".*runtime.*dir.*", category=UserWarning)
