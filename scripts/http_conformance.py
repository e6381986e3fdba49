"""Schemathesis against the HTTP API: what it generates from /openapi.json, sent with every kind of credential.

`usermemory serve` runs over SQLite, with `--postgresql` over PostgreSQL, and knows two people whose memory is full of
canaries. It prints a line per credential, what is excused and why, and how many requests there were, and ends with 1
when a check failed, a canary was seen by somebody else, something excused did not fail, or there were too few requests.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from schemathesis.engine.recorder import Interaction, ScenarioRecorder

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from http_api.app import OPEN_PATHS  # noqa: E402 - beside this folder
from storage.migrate import migrate  # noqa: E402
from tests.http_api.canaries import CANARIES, OK, SERVER_ERROR, all_of, bringing, planted, shut_doors, sung  # noqa: E402
from tests.http_api.credentials import JOB_TOKEN, SESSION_SECRET, Credential, credentials  # noqa: E402
from tests.http_api.excuses import ACCEPTED, EXCUSED  # noqa: E402

SEED: Final = 20_261_120
"""What Schemathesis draws from: the same requests each time, but for the ids that the server made."""

EXAMPLES: Final = 5
"""Requests that each phase draws for one operation, beside those that it derives from the schema."""

WANTED: Final = 5_000
"""Requests that there have to be, all credentials together."""

KNOWN_SHARE: Final = 0.5
"""The share of the parameters that are drawn from DICTIONARIES."""

UNPACED: Final = "1000000/second"
"""What nobody here exceeds: the pace has tests of its own."""

START_LIMIT: Final = 30.0
"""Seconds until the server must answer, and until it must have ended."""

SHOWN: Final = 600
"""Characters of a complaint."""

DICTIONARIES: Final = {
    "user_id": ["ada", "bob"],
    "namespace": ["prefs", "default"],
    "key": ["tone", "tips"],
    "conversation": ["call-17"],
    "name": ["call-17"],
    "flow": ["support-line"],
    "pointer": ["", "/summary"],
    "after": ["tone", "/prefs/tone"],
    "If-Match": ['"0"', '"1"', '"2"', "*"],
    "If-None-Match": ["*"],
    "Memory-User": ["ada"],
    "Memory-Phone": ["%2B12025550123"],
    "Memory-Phone-Verified": ["true", "false"],
    "Memory-Organization": ["default"],
}
"""What the parameters of these names are now and then, so that requests get past the first check."""


class Failed(Exception):
    """The server could not be run, or answered as it must not."""


@dataclass(slots=True)
class Found:
    """What the runs found."""

    requests: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    excused: set[tuple[str, str]] = field(default_factory=set)


@contextmanager
def databases(folder: Path, on_postgresql: bool) -> Iterator[tuple[str, str]]:
    """Yield the application's and the worker's URL of a new database."""
    if not on_postgresql:
        url = f"sqlite:///{folder / 'memory.db'}"
        yield url, url
        return
    from tests.postgres import running_cluster  # noqa: PLC0415 - it brings a server along

    with running_cluster("fsync = off\n") as cluster:
        url = migrate(cluster.new_database())
        yield url, url.replace("usermemory_app@", "usermemory_worker@")


@contextmanager
def served(log: Path, url: str, worker_url: str) -> Iterator[str]:
    """Serve with the command that operators run, and yield its address; the process is ended by its id."""
    command = [sys.executable, "-m", "usermemory", "serve", "--api-keys", "--port", "0", "--pace", UNPACED]
    secrets = {"USERMEMORY_JOB_TOKEN": JOB_TOKEN, "USERMEMORY_SESSION_SECRET": SESSION_SECRET}
    command += ["--database", url, "--worker-database", worker_url]
    environment = {name: each for name, each in os.environ.items() if not name.startswith("USERMEMORY_")} | secrets
    with log.open("w") as said:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=said)
    try:
        deadline = time.monotonic() + START_LIMIT
        while (address := re.search(r"http://[\w.:]+", log.read_text())) is None:
            if process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"usermemory serve did not start: {log.read_text()}")
            time.sleep(0.1)
        yield address[0]
    finally:
        process.terminate()
        process.wait(START_LIMIT)


def described(description: Mapping[str, Any], credential: Credential) -> dict[str, Any]:
    """Return the description without the headers that this credential may not send, and without other paths."""
    said: dict[str, Any] = json.loads(json.dumps(description))
    said["paths"] = {
        path: each
        for path, each in said["paths"].items()
        if re.search(credential.paths, path) and not (credential.answers and path in OPEN_PATHS)
    }
    for path in said["paths"].values():
        for operation in path.values():
            given = operation.get("parameters", [])
            kept = [each for each in given if not each["name"].startswith("Memory-")]
            operation["parameters"] = given if credential.names_people else kept
    return said


def configuration(folder: Path, address: str, credential: Credential, ids: Sequence[str]) -> SchemathesisConfig:
    """Return how Schemathesis asks with a credential."""
    words = {**DICTIONARIES, "conversation_id": list(ids)}
    told: dict[str, Any] = {
        "seed": SEED,
        "base-url": address,
        "headers": dict(credential.headers),
        "continue-on-failure": True,
        "cache": {"enabled": False},
        "phases": {"coverage": {"enabled": credential.thoroughly}},
        "checks": {"positive_data_acceptance": {"expected-statuses": list(ACCEPTED)}},
        "generation": {"max-examples": EXAMPLES, "no-shrink": True, "database": "none"},
        "dictionaries": {name.lower().replace("-", "_"): {"values": values} for name, values in words.items()},
        "parameters": {
            name: {"dictionary": name.lower().replace("-", "_"), "probability": KNOWN_SHARE} for name in words
        },
    }
    if credential.session:
        told["auth"] = {"openapi": {"session": {"api_key": credential.session}}}
    elif credential.peers:
        bearers = {
            name: {"name": "Authorization", "value": f"Bearer {token}"} for name, token in credential.peers.items()
        }
        people = folder / "people.json"
        people.write_text(json.dumps({"auth": [{"name": n, "fixedHeaders": [each]} for n, each in bearers.items()]}))
        told["auth"] = {"wfc": {"path": str(people), "peers": list(bearers)}}
    return SchemathesisConfig.from_dict(told)


def run(credential: Credential, description: Mapping[str, Any], config: SchemathesisConfig) -> Found:
    """Ask everything with a credential, and return what was found."""
    found = Found()
    schema = schemathesis.openapi.from_dict(described(description, credential), config=config)
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            found.requests += len(event.recorder.interactions)
            found.complaints.extend(complaints(event.recorder, credential, found))
        elif isinstance(event, events.NonFatalError | events.FatalError):
            found.complaints.append(f"Schemathesis: {vars(event) if hasattr(event, '__dict__') else event}")
    return found


def complaints(recorder: ScenarioRecorder, credential: Credential, found: Found) -> Iterator[str]:
    """Yield what is wrong with the answers of one scenario, and is not excused."""
    for interaction in recorder.interactions.values():
        response = interaction.response
        if response is None:
            yield f"{_asked(interaction)}: no answer"
            continue
        found.statuses[response.status_code] += 1
        said = response.content.decode(errors="replace") + str(response.headers)
        if any(canary in said for name, canary in CANARIES.items() if name not in _may_see(credential, interaction)):
            yield f"{_asked(interaction)}: the canary of somebody else"
        if response.status_code >= SERVER_ERROR:
            yield f"{_asked(interaction)}: {response.status_code}"
        if credential.answers and response.status_code not in credential.answers:
            yield f"{_asked(interaction)}: answered with {response.status_code}"
        yield from _replayed(credential, interaction, found)
    for case, checks in recorder.checks.items():
        for check in checks:
            if check.failure_info is None:
                continue
            failure = check.failure_info.failure
            failed = recorder.interactions[failure.case_id or case]
            place = f"{failure.operation}: {_told(failed)}: {_body(failed)}"
            excuses = [each for each in EXCUSED if each[0] == check.name and re.search(each[1], place)]
            found.excused.update(excuses)
            if not excuses:
                yield f"{check.name}: {place}: {failure.title}: {failure.message}: {check.failure_info.code_sample}"


def _replayed(credential: Credential, interaction: Interaction, found: Found) -> Iterator[str]:
    """Read again what somebody read, as each of the others; Schemathesis does so only where it sees an id in a path."""
    if interaction.request.method != "GET" or interaction.response is None or interaction.response.status_code != OK:
        return
    for peer, token in credential.peers.items():
        answer = httpx.get(interaction.request.uri, headers=bringing(token))
        found.requests += 1
        if others := [name for name in sung(answer) if name != peer]:
            yield f"{_asked(interaction)}: {peer} sees the canary of {others}"


def _may_see(credential: Credential, interaction: Interaction) -> Sequence[str]:
    brought = interaction.request.headers.get("Authorization", [])
    return [name for name, token in credential.peers.items() if f"Bearer {token}" in brought] or credential.sees


def _told(interaction: Interaction) -> str:
    """Return the status of an answer, the code of a problem, and whether it was asked on a condition."""
    if (response := interaction.response) is None:
        return "nothing"
    problem = re.search(r'"code":"([a-z_]+)"', response.content.decode(errors="replace"))
    on = interaction.request.headers.keys() & {"If-Match", "If-None-Match"}
    return f"{response.status_code} {problem[1] if problem else ''}{' on a condition' if on else ''}"


def _body(interaction: Interaction) -> str:
    return (interaction.request.body or b"").decode(errors="replace")


def _asked(interaction: Interaction) -> str:
    return f"{interaction.request.method} {interaction.request.uri}"


def report(credential: Credential, found: Found) -> None:
    """Print the line of a credential, and what is wrong."""
    statuses = ", ".join(f"{count:,} x {status}" for status, count in sorted(found.statuses.items()))
    verdict = "FAILED" if found.complaints else "ok    "
    print(f"{verdict}  {credential.name}: {found.requests:,} requests, answered with {statuses}", flush=True)
    for complaint, count in Counter(each.replace("\n", " ")[:SHOWN] for each in found.complaints).most_common():
        print(f"        {count} x {complaint}", flush=True)


def conform(folder: Path, on_postgresql: bool) -> bool:
    """Run everything, print what was found, and return whether nothing was wrong."""
    runs: list[Found] = []
    log = folder / "served.log"
    with databases(folder, on_postgresql) as urls:
        people = planted(*urls)
        with served(log, *urls) as address, httpx.Client(base_url=address) as client:
            print(f"ok      {shut_doors(client, people)} doors to the memory of others are shut", flush=True)
            of_bob = all_of(client, people, "bob")
            description = client.get("/openapi.json").json()
            for credential in credentials(people):
                if "bob" in credential.sees and of_bob:
                    if all_of(client, people, "bob") != of_bob:
                        raise Failed("somebody else changed the memory of Bob")
                    of_bob = {}
                asks = configuration(folder, address, credential, tuple(people.conversations.values()))
                runs.append(run(credential, description, asks))
                report(credential, runs[-1])
    if said := [canary for canary in CANARIES.values() if canary in log.read_text()]:
        raise Failed(f"the server logs what memory holds: {said}")
    if errors := [line for line in log.read_text().splitlines() if "failed" in line]:
        raise Failed(f"the server met what nobody foresaw: {set(errors)}")
    needed = set().union(*(found.excused for found in runs))
    for excuse, reason in EXCUSED.items():
        verdict, why = ("excused", reason) if excuse in needed else ("FAILED ", "did not fail")
        print(f"{verdict} {' '.join(excuse)}: {why}")
    requests = sum(found.requests for found in runs)
    print(f"{'ok    ' if requests >= WANTED else 'FAILED'}  {requests:,} requests in all, with the seed {SEED}")
    return requests >= WANTED and needed == EXCUSED.keys() and not any(found.complaints for found in runs)


def main() -> int:
    """Run everything on the database that is asked for, and return 1 when something was wrong."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers are ended, too
    try:
        with tempfile.TemporaryDirectory() as folder:
            return 0 if conform(Path(folder), "--postgresql" in sys.argv[1:]) else 1
    except (Failed, AssertionError) as failed:
        print(f"FAILED  {failed}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
