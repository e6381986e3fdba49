"""Threads of an open memory, whatever the host does with its processes and loops."""

import asyncio
import os
import threading

import pytest

from memory_tools.threads import Threads


def where() -> str:
    return threading.current_thread().name.partition("_")[0]


def test_what_blocks_runs_there_on_any_number_of_loops() -> None:
    threads = Threads(2)
    assert [asyncio.run(threads.run(where)) for _ in range(3)] == ["usermemory"] * 3
    threads.close()


def test_after_the_end_what_is_asked_for_still_runs_and_finds_out_by_itself() -> None:
    threads = Threads(1)
    threads.close()
    assert asyncio.run(threads.run(lambda: 7)) == 7


def test_an_error_reaches_whoever_asked() -> None:
    def fails() -> None:
        raise LookupError("no")

    with pytest.raises(LookupError):
        asyncio.run(Threads(1).run(fails))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Python warns of every fork beside threads
def test_a_forked_process_has_threads_of_its_own() -> None:
    threads = Threads(1)
    assert asyncio.run(threads.run(where)) == "usermemory"
    child = os.fork()
    if child == 0:
        ran = asyncio.run(asyncio.wait_for(threads.run(where), 10)) == "usermemory"
        os._exit(0 if ran else 1)
    assert os.waitpid(child, 0)[1] == 0
