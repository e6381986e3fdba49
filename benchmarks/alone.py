"""Alone: the work of jobs done directly, by as many processes and threads as the workers have, without any queue."""

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any, Final

from benchmarks.jobs import KINDS, WARMING, Site
from benchmarks.over_http.places import Place
from benchmarks.over_mcp.running import tree_of
from graphs.work.worker import CONCURRENCY

DONE_WITHIN: Final = 300.0
"""Seconds that the work may take."""


def do_alone(site: Site, name: str, share: int, shares: int, says: Connection) -> None:
    """Do one share of the work, once it is told to."""
    [kind] = [each for each in KINDS if each.name == name]
    with site.opened() as memory, ThreadPoolExecutor(CONCURRENCY) as threads:
        do, found = kind.directly(memory, site.asked), kind.found(memory)
        assert len(found) == site.people
        # By their ids: what another process has done meanwhile is not found any more.
        warming = [each for organization in WARMING for each in kind.found(memory, organization)]
        list(threads.map(do, [each for each in warming if each.id.int % shares == share]))
        says.send_bytes(b"ready")
        says.recv_bytes()
        list(threads.map(do, found[share::shares]))
        says.send_bytes(b"done")
        says.recv_bytes()


def cpu_alone(place: Place, site: Site, name: str, processes: int) -> float:
    """Have all of it done and return the seconds of CPU, of PostgreSQL too."""
    context: Any = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.alone"])
    begun = []
    for share in range(processes):
        here, there = context.Pipe()
        process = context.Process(target=do_alone, args=(site, name, share, processes, there))
        process.start()
        begun.append((process, here))

    def heard() -> None:
        for _, here in begun:
            if not here.poll(DONE_WITHIN):
                raise RuntimeError("the work is not done")
            here.recv_bytes()

    def told() -> None:
        for _, here in begun:
            here.send_bytes(b"go")

    def used() -> float:
        return sum(tree_of(process.pid) for process, _ in begun) + place.cpu()

    heard()
    before = used()
    told()
    heard()
    cpu = used() - before
    told()
    for process, _ in begun:
        process.join()
    return cpu
