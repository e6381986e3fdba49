"""Writers: processes that write to one person's memory and say what was acknowledged, for `python -m tests.writers`.

The one argument is a JSON object: `url`, the `work` by name, and `writers`, the options of each. All are forked from
one process, wait for each other, and end by themselves.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from memory_tools.memory import Memory
from storage.errors import DatabaseUnavailable, VersionConflict
from storage.outcome import Saved

ROOT = Path(__file__).parents[1]

Options = dict[str, Any]


class Writers:
    """Writer processes that run until they are done, or until somebody kills them."""

    def __init__(self, url: str, work: str, writers: list[Options], *, race_to_open: bool = False) -> None:
        """Start them; they work as soon as all of them are ready, or open the database then, if that is the race."""
        order = {"url": url, "work": work, "writers": writers, "race_to_open": race_to_open}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.writers", json.dumps(order)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.pids: list[int] = json.loads(self._process.stdout.readline() or "[]")
        """The process of each writer, in the order given."""

    def end(self) -> list[Any]:
        """Wait for all, and return what those who were not killed said in the end; fails where one of them failed."""
        output, errors = self._process.communicate(timeout=120)
        *answers, codes = [json.loads(line) for line in output.splitlines()]
        assert set(codes) <= {0, -signal.SIGKILL}, errors
        return answers


class Acknowledged:
    """The file in which a writer notes each write once it was acknowledged; it outlives the writer."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def note(self, number: int, version: int) -> None:
        """Add a line, at once and whole."""
        with self.path.open("ab", buffering=0) as file:
            file.write(f"{number} {version}\n".encode())

    def read(self) -> dict[int, int]:
        """Return the version of each acknowledged write, by its number."""
        if not self.path.exists():
            return {}
        lines = [line.split() for line in self.path.read_text().splitlines()]
        return {int(number): int(version) for number, version in lines}


def contribute(memory: Memory, options: Options) -> dict[str, Any]:
    """Write one of everything to a person whom nobody has met, as everybody else does at the same time."""
    name = options["name"]
    person = memory.of(user="racer", phone="+16502530000", phone_verified=True)
    add = [{"op": "add", "path": f"/{name}", "value": name}]
    answer = {
        "version": person.document.append(add).version,
        "shared": person.document.append({"shared": True}, expected_version=0, idempotency_key="shared").version,
        "message": person.conversations.append("call", [{"role": "user", "content": name}])[0].number,
    }
    person.conversations.append("call", [{"role": "user", "content": "once", "external_id": "once"}])
    person.items.push("said", "names", name, keep=1_000)
    try:
        person.items.set("won", "by", name, expected_version=0)
    except VersionConflict:
        return answer
    return answer | {"won": name}


def mix(memory: Memory, options: Options) -> dict[str, Any]:
    """Write and read a bit of everything, again and again; whatever goes wrong ends the process."""
    name = options["name"]
    for number in range(options["rounds"]):
        person = memory.of(user="shared")
        fact = f"{name}-{number}"
        person.document.append([{"op": "add", "path": f"/{fact}", "value": number}])
        person.items.push("said", "facts", fact, keep=1_000)
        person.items.set("last", name, number)
        person.conversations.append(name, [{"role": "user", "content": fact}])
        assert fact in person.document.current().document
        assert person.items.get("last", name).value == number
        with memory.of(user=name).begin() as stores:
            stores.items.set("own", "number", number)
    return {}


def endure(memory: Memory, options: Options) -> dict[str, Any]:
    """Count up in a member of the document until time is up, and note each number once it was acknowledged.

    With `keyed` a number whose outcome is unknown is sent again under the same key; without, it is given up.
    """
    acknowledged = Acknowledged(Path(options["acknowledged"]))
    person = memory.of(user="ada")
    number = options["first"]
    until = time.monotonic() + options["seconds"]
    while time.monotonic() < until:
        change = [{"op": "add", "path": f"/{options['name']}", "value": number}]
        key = f"{options['name']}-{number}" if options["keyed"] else None
        try:
            outcome = person.document.append(change, idempotency_key=key)
        except DatabaseUnavailable:  # the server stands still, or stood still in the middle of it
            time.sleep(0.02)
            number += 0 if options["keyed"] else 1
            continue
        assert isinstance(outcome, Saved)
        acknowledged.note(number, outcome.version)
        number += 1
    return {}


WORK: dict[str, Callable[[Memory, Options], dict[str, Any]]] = {"contribute": contribute, "mix": mix, "endure": endure}


def main(order: Options) -> None:
    """Fork the writers, let them go at once, and end when the last of them has ended; 1 where one of them failed."""
    wait_here, let_go = os.pipe()
    ready, say_ready = os.pipe()
    pids = []
    for options in order["writers"]:
        pid = os.fork()
        if pid == 0:
            os.close(let_go)
            write(order, options, lambda: os.write(say_ready, b".") and os.read(wait_here, 1))
            return
        pids.append(pid)
    os.close(say_ready)
    for _ in pids:
        os.read(ready, 1)
    print(json.dumps(pids), flush=True)
    os.close(let_go)
    print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]), flush=True)


def write(order: Options, options: Options, wait: Callable[[], Any]) -> None:
    """Do the work of one writer once all are ready; to open the database may be a part of it."""
    if order["race_to_open"]:
        wait()
    with Memory.open(order["url"]) as memory:
        if not order["race_to_open"]:
            wait()
        print(json.dumps(WORK[order["work"]](memory, options)), flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
