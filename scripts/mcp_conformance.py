"""The official suites against the MCP server: its conformance in both protocol eras, and the strict lint of its tools.

Node and the suites are installed from npm into the user's cache, once for every list of versions. It prints a line per
run, then what is excused and why, and ends with 1 when something failed or something excused did not fail.
"""

import hashlib
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

PACKAGES = (
    "node@24.21.0",
    # The releases before 0.2 know nothing of 2026-07-28; this one has all of their scenarios.
    "@modelcontextprotocol/conformance@0.2.0-alpha.12",
    "@modelcontextprotocol/inspector@2.12.0",
)
ERAS = ("2025-11-25", "2026-07-28")
INSTALL_LIMIT = 600.0
"""Seconds that npm may take."""
START_LIMIT = 30.0
"""Seconds until a server must answer."""
RUN_LIMIT = 180.0
"""Seconds that one run of a suite may take."""

ROOT = Path(__file__).resolve().parent.parent
EVERYTHING = ROOT / "tests" / "mcp_server" / "everything.py"
COMMAND = (sys.executable, "-m", "usermemory", "mcp", "--user", "inspector")

NO_LOGGING = "not offered: the protocol has deprecated logging, and the server logs to stderr"
NO_SUBSCRIBING = (
    "not offered: a stateless server has no session to notify; since 2026-07-28 it serves subscriptions/listen"
)
NO_STREAM = "needs a stream during the call, and the app answers in JSON; passes behind the SDK's app, which streams"
NO_SESSION = "needs a session, and the app is stateless; passes behind the SDK's app, which keeps them"
NO_RESUMING = "not offered: streams cannot be resumed, and no revision requires it"

NOT_OFFERED = {
    "2025-11-25": {
        "logging-set-level:logging-set-level": NO_LOGGING,
        "tools-call-with-logging:tools-call-with-logging": NO_LOGGING,
        "resources-subscribe:resources-subscribe": NO_SUBSCRIBING,
        "resources-unsubscribe:resources-unsubscribe": NO_SUBSCRIBING,
        "server-sse-polling": NO_RESUMING,
    },
    "2026-07-28": {},
}
"""Checks, and scenarios whose checks depend on how they end, that fail behind every app, each with the reason."""

NOT_STREAMED = {
    "2025-11-25": {
        "tools-call-with-progress:tools-call-with-progress": NO_STREAM,
        "tools-call-sampling:tools-call-sampling": NO_STREAM,
        "tools-call-elicitation:tools-call-elicitation": NO_STREAM,
        "elicitation-sep1034-defaults": NO_STREAM,
        "elicitation-sep1330-enums": NO_STREAM,
        "server-sse-multiple-streams": NO_SESSION,
    },
    "2026-07-28": {"tools-call-with-progress:tools-call-with-progress": NO_STREAM},
}
"""Those that fail only behind the project's app, which is stateless and answers in JSON, each with the reason."""


class Failed(Exception):
    """A suite found something, or could not be run."""


def installed() -> Path:
    """Return the folder of the installed packages; they are installed when it is not there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "usermemory-ci"
    folder = cache / f"mcp-conformance-{hashlib.sha256(' '.join(PACKAGES).encode()).hexdigest()[:12]}"
    if folder.exists():
        return folder / "node_modules"
    if shutil.which("npm") is None:
        raise Failed("npm is needed to install the suites")
    cache.mkdir(parents=True, exist_ok=True)
    # Installed beside, then renamed: a run that is broken off, or another at the same time, leaves nothing half done.
    beside = tempfile.mkdtemp(dir=cache)
    try:
        quiet = ("--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error")
        command = ["npm", "install", "--prefix", beside, *quiet, *PACKAGES]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_LIMIT, check=False)
        if ended.returncode:
            raise Failed(f"npm install {said(ended)}")
        os.rename(beside, folder)
    except OSError:
        if not folder.exists():
            raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder / "node_modules"


def ended_with(modules: Path, command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    """Return a program of the suites that has ended."""
    node = str(modules / "node" / "bin" / "node")
    return subprocess.run([node, *command], capture_output=True, text=True, timeout=RUN_LIMIT, check=False, **options)


def said(ended: subprocess.CompletedProcess[str]) -> str:
    """Return the end of what a process said."""
    return f"ended with {ended.returncode}\n{ended.stdout[-4000:]}{ended.stderr[-4000:]}"


@contextmanager
def running(command: list[str], log: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a server, and end it by its process id."""
    with log.open("w") as errors:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


@contextmanager
def everything(folder: Path, *options: str) -> Iterator[str]:
    """Serve the project's server with the suite's tools, and return its URL."""
    log = folder / "everything.log"
    with running([sys.executable, str(EVERYTHING), *options], log) as process:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], START_LIMIT)
        url = process.stdout.readline().strip() if ready else ""
        if not url:
            raise Failed(f"the server did not start\n{log.read_text()[-4000:]}")
        yield url


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve with the command that users run, and return its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "served.log"
    database = f"sqlite:///{folder / 'served.db'}"
    deadline = time.monotonic() + START_LIMIT
    with running([*COMMAND, "--database", database, "--http", "--port", str(port)], log) as process:
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"usermemory mcp --http did not start\n{log.read_text()[-4000:]}")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/mcp"


def _answers(port: int) -> bool:
    with socket.socket() as trial:
        return trial.connect_ex(("127.0.0.1", port)) == 0


def conform(modules: Path, url: str, era: str, excused: dict[str, str], results: Path) -> str:
    """Run the scenarios of an era, and return how many passed.

    Raises Failed for one that failed unexcused, and for one that is excused but did not fail.
    """
    excuses = results.with_suffix(".yml")
    excuses.write_text(json.dumps({"server": list(excused)}))  # JSON is YAML
    program = modules / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
    options = ["--suite", "all", "--spec-version", era, "--expected-failures", str(excuses), "-o", str(results)]
    ended = ended_with(modules, [str(program), "server", "--url", url, *options])
    scenarios = {_SCENARIO.sub("", file.parent.name): json.loads(file.read_text()) for file in results.glob("*/*.json")}
    if ended.returncode:
        stale = [line for line in ended.stdout.rpartition("Total:")[2].splitlines() if line.startswith("  \u2713")]
        found = [*_complaints(scenarios, excused), *(f"{line.strip()}: excused, but did not fail" for line in stale)]
        raise Failed("\n".join(found) or said(ended))
    passed = sum(check["status"] == "SUCCESS" for checks in scenarios.values() for check in checks)
    return f"{len(scenarios)} scenarios, {passed} checks passed, {len(excused)} excused"


_SCENARIO = re.compile(r"^server-|-\d{4}-\d\d-\d\dT.*$")
"""What the suite puts around a scenario's name to name a folder."""


def _complaints(scenarios: dict[str, Any], excused: dict[str, str]) -> Iterator[str]:
    for scenario, checks in sorted(scenarios.items()):
        for check in checks:
            name = f"{scenario}:{check['id']}"
            if check["status"] in ("FAILURE", "WARNING") and not {scenario, name} & excused.keys():
                yield f"{name}: {check['status']} {check.get('errorMessage', '')}"


def lint(modules: Path, folder: Path, target: list[str], era: str) -> str:
    """List the tools as the Inspector does, and return how many there are. Raises Failed for an error or a warning."""
    program = modules / "@modelcontextprotocol" / "inspector" / "clients" / "launcher" / "build" / "index.js"
    options = ["--protocol-era", era, "--method", "tools/list", "--strict", "--format", "json"]
    # The Inspector keeps files in the home folder.
    home = {**os.environ, "HOME": str(folder)}
    ended = ended_with(modules, [str(program), "--cli", *options, *target], cwd=ROOT, env=home)
    if ended.returncode and not ended.stdout.startswith("{"):
        raise Failed(said(ended))
    listed = json.loads(ended.stdout)
    findings = [
        f"{tool['toolName']}: {each['severity']} at {each['schema']}.{each['path']}: {each['issue']}"
        for tool in listed.get("schemaFindings", ())
        for each in tool["findings"]
    ]
    if findings:
        raise Failed("\n".join(findings))
    if not listed["result"]["tools"]:
        raise Failed("the server lists no tools")
    return f"{len(listed['result']['tools'])} tools, 0 errors, 0 warnings"


def suites(modules: Path, folder: Path) -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield every run by its name; each is to be called before the next is asked for."""
    with everything(folder) as url:
        for era in ERAS:
            excused = NOT_OFFERED[era] | NOT_STREAMED[era]
            yield f"conformance {era}", partial(conform, modules, url, era, excused, folder / f"app-{era}")
    with everything(folder, "--streams") as url:
        for era in ERAS:
            run = partial(conform, modules, url, era, NOT_OFFERED[era], folder / f"streams-{era}")
            yield f"conformance {era}, with streams and sessions", run
    with served(folder) as url:
        for era in ("legacy", "modern"):
            yield f"inspector over HTTP, {era}", partial(lint, modules, folder, [url, "--transport", "http"], era)
    for era in ("legacy", "modern"):
        target = ["--", *COMMAND, "--database", f"sqlite:///{folder / 'stdio.db'}"]
        yield f"inspector over stdio, {era}", partial(lint, modules, folder, target, era)


def main() -> int:
    """Run every suite, and return 1 when one failed."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers are ended, too
    failures = 0
    try:
        modules = installed()
        with tempfile.TemporaryDirectory() as folder:
            for name, run in suites(modules, Path(folder)):
                try:
                    print(f"ok      {name}: {run()}", flush=True)
                except (Failed, subprocess.TimeoutExpired) as failed:
                    failures += 1
                    print(f"FAILED  {name}: {failed}", flush=True)
    except Failed as failed:
        failures += 1
        print(f"FAILED  {failed}")
    for era in ERAS:
        excused = NOT_OFFERED[era] | NOT_STREAMED[era]
        for reason in dict.fromkeys(excused.values()):
            scenarios = ", ".join(name.partition(":")[0] for name, why in excused.items() if why == reason)
            print(f"excused {era} {scenarios}: {reason}")
    return min(failures, 1)


if __name__ == "__main__":
    sys.exit(main())
