"""Every service of compose.yaml whose image is ours, run as a process against a real PostgreSQL."""

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from storage.migrate import HEAD
from storage.roles import LOGIN_ROLES
from tests.deployment import ROOT, VALUES, exec_form, filled, moved, services
from tests.ports import reserved_port
from tests.postgres import Cluster
from tests.redis_server import heard_on, running_redis

SERVICES = services(filled((ROOT / "compose.yaml").read_text(encoding="utf-8"), VALUES))

PATIENCE = 60.0
"""Seconds within which a process has begun, or ended, on a busy machine."""


@pytest.fixture(scope="module")
def home(cluster: Cluster) -> str:
    """The administrator's URL of a database that was never migrated."""
    return cluster.new_database()


def environment(name: str, home: str) -> dict[str, str]:
    """Return what the process of a service gets, its database moved to where the test has it."""
    written = SERVICES[name].get("environment", {}).items()
    given = {variable: str(value) for variable, value in written if value is not None}
    outside = {
        variable: value for variable, value in os.environ.items() if not variable.startswith(("USERMEMORY_", "PG"))
    }
    return outside | {
        variable: moved(value, home) if value.startswith("postgresql://") else value
        for variable, value in given.items()
    }


def begin(name: str, home: str, *words: str, **more: str) -> "subprocess.Popen[str]":
    """Begin a service, with other words than its command has where some are given."""
    command = [sys.executable, "-m", "usermemory", *(words or exec_form(SERVICES[name]))]
    given = environment(name, home) | more
    return subprocess.Popen(
        command, cwd=ROOT, env=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def ended(process: "subprocess.Popen[str]", within: float = PATIENCE) -> str:
    """Wait for the end, which must be a good one, and return what was printed."""
    output, errors = process.communicate(timeout=within)
    assert process.returncode == 0, errors
    return output


@contextmanager
def running(process: "subprocess.Popen[str]") -> Iterator["subprocess.Popen[str]"]:
    """Let it run while the block lasts, and no longer whatever happens."""
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=PATIENCE)


def seconds(written: str) -> float:
    """Return a duration of a compose file."""
    assert written.endswith("s")
    return float(written.removesuffix("s"))


def once_there(look: Callable[[], None], process: "subprocess.Popen[str]") -> None:
    """Look again and again until it works; fail as soon as the process has ended."""

    def still() -> None:
        if process.poll() is not None:
            pytest.fail(f"it ended: {process.communicate()[1]}")
        look()

    again = retry_if_exception_type((AssertionError, subprocess.CalledProcessError))
    Retrying(retry=again, stop=stop_after_delay(PATIENCE), wait=wait_fixed(0.1), reraise=True)(still)


@pytest.fixture(scope="module")
def migrated(home: str) -> str:
    """The same database once the service `migrate` has ended: two of them, at the same time."""
    both = [begin("migrate", home), begin("migrate", home)]
    assert len({ended(process) for process in both}) == 1
    return home


def test_the_service_that_migrates_ends_well_also_beside_another_one(migrated: str) -> None:
    logins = [f"usermemory_{role}" for role in LOGIN_ROLES]
    with psycopg.connect(migrated) as connection:
        assert connection.execute("SELECT version_num FROM usermemory.migrations").fetchall() == [(HEAD,)]
        found = connection.execute(
            "SELECT rolname FROM pg_authid WHERE rolname = ANY (%s) AND rolpassword IS NOT NULL", (logins,)
        ).fetchall()
    assert sorted(role for (role,) in found) == logins
    assert HEAD in ended(begin("migrate", migrated, "migrate", "--json"))


@contextmanager
def served(home: str) -> Iterator[str]:
    """Give the address of the service `api`, on loopback, once its own health check finds it well; then end it."""
    with reserved_port() as port:
        replaced = {"--host=0.0.0.0": "--host=127.0.0.1", "--port=8000": f"--port={port}"}
        words = exec_form(SERVICES["api"])
        assert replaced.keys() <= set(words)
        check = SERVICES["api"]["healthcheck"]["test"]
        assert check[:2] == ["CMD", "python"]
        asking = [sys.executable, *(word.replace(":8000/", f":{port}/") for word in check[2:])]
        with running(begin("api", home, *(replaced.get(word, word) for word in words))) as process:
            once_there(lambda: is_well(asking), process)
            yield f"http://127.0.0.1:{port}"
            process.send_signal(signal.SIGTERM)
            ended(process, seconds(SERVICES["api"]["stop_grace_period"]))


def is_well(asking: list[str]) -> None:
    subprocess.run(asking, check=True, capture_output=True)


def asked(url: str, token: str | None = None, *, data: bytes | None = None) -> int:
    """Return the status of a GET, or of a POST where there is data."""
    request = urllib.request.Request(url, data, {"Authorization": f"Bearer {token}"} if token else {})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return int(response.status)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code


def test_the_api_serves_whoever_has_a_key_and_ends_well_when_it_is_told_to(migrated: str) -> None:
    key = ended(begin("worker", migrated, "keys", "create", "--user", "ada")).strip()
    with served(migrated) as address:
        assert asked(f"{address}/v1/document", key) == 200
        assert asked(f"{address}/v1/document") == 401
        assert asked(f"{address}/metrics") == 200
        cron, token = f"{address}/api/cron/memory-update", VALUES["USERMEMORY_JOB_TOKEN"]
        assert asked(cron, token, data=b"") == 202
        assert asked(cron, key, data=b"") == 403


def test_a_worker_publishes_what_changed_and_ends_in_time_when_it_is_told_to(migrated: str) -> None:
    with (
        running_redis() as redis,
        heard_on(redis.url) as heard,
        running(begin("worker", migrated, USERMEMORY_PUBLISH=redis.url)) as worker,
    ):
        once_there(lambda: publishes(migrated), worker)
        ended(begin("api", migrated, "items", "set", "prefs", "tone", '"warm"', "--user", "grace"))
        assert [event["userId"] for event in heard.messages(1)] == ["grace"]
        worker.send_signal(signal.SIGTERM)
        ended(worker, seconds(SERVICES["worker"]["stop_grace_period"]))


def publishes(administrator_url: str) -> None:
    with psycopg.connect(administrator_url) as connection:
        assert connection.execute("SELECT enabled FROM usermemory.publishing").fetchall() == [(True,)]
