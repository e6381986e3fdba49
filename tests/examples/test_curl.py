"""The lines for a shell in README.md and docs/http.md, pasted one by one: each curl is answered as it says there."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from tests.usermemory.serving import Running, running, without_ours

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = ("README.md", "docs/http.md")
BLOCK: Final = re.compile(r"^```bash\n(.*?)^```$", re.DOTALL | re.MULTILINE)
EXPECTED: Final = re.compile(r"\s+# (.*)$")
"""What an answer must hold, behind the command."""

ADDRESS: Final = "http://127.0.0.1:8000"
"""Where `usermemory serve` listens in the examples; in a test any free port has to do."""

INSTALLED: Final = "uv run "
"""What stands before a command where it is not on the path; in a test it is."""

END: Final = "kill $!; wait"
"""Ends the server, which is not a job of the shell of one line."""

LIMIT: Final = 60
"""Seconds that one line may take."""

CURL: Final = "silent\nshow-error\nfail-with-body\n"
"""How curl is to behave wherever a line says nothing else: a refusal is an error."""


def blocks() -> dict[str, str]:
    """Return the blocks in which there is a curl, by page and number."""
    return {
        f"{page}-{number}": block
        for page in PAGES
        for number, block in enumerate(BLOCK.findall((ROOT / page).read_text(encoding="utf-8")), start=1)
        if "curl " in block
    }


def lines(block: str) -> Iterator[str]:
    """Yield what is pasted at once: a line with those on which it goes on."""
    pending = ""
    for line in block.splitlines():
        pending += line
        if line.endswith("\\") or pending.count("'") % 2:
            pending += "\n"
            continue
        yield pending
        pending = ""
    assert not pending, "the block ends in the middle of a line"


class Shell:
    """A shell in an empty folder, with a memory of its own."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        (folder / ".curlrc").write_text(CURL)
        self._folder = folder
        self._stack = stack
        self._database = f"sqlite:///{folder / 'memory.db'}"
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._environment = without_ours() | {
            "CURL_HOME": str(folder),
            "HOME": str(folder),
            "PATH": path,
            "USERMEMORY_DATABASE": self._database,
        }
        self._server: Running | None = None
        self.answers = 0

    def paste(self, line: str) -> None:
        """Run a line and see that it was done, and answered as it says."""
        line = line.removeprefix(INSTALLED)
        if line.startswith("usermemory serve "):
            self._serve(line)
            return
        if line == END:
            self._end()
            return
        expected = EXPECTED.search(line)
        command = line if self._server is None else line.replace(ADDRESS, self._server.url)
        # Variables outlive a line, as they do in the shell of whoever pastes.
        after = f"{command}\n code=$?; env -0 > .environment; exit $code"
        done = subprocess.run(
            ["bash", "-a", "-c", after],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        kept = (self._folder / ".environment").read_text().split("\0")
        self._environment = dict(pair.split("=", 1) for pair in kept if pair)
        if expected is not None:
            assert expected[1] in done.stdout, f"{command}\n{done.stdout}"
            self.answers += 1

    def _serve(self, line: str) -> None:
        words = shlex.split(line)
        assert words[-1] == "&", "what is pasted next would wait for it"
        self._end()
        variables = {name: value for name, value in self._environment.items() if name.startswith("USERMEMORY_")}
        started = running(self._database, *words[2:-1], **variables)
        self._server = self._stack.enter_context(started)

    def _end(self) -> None:
        if self._server is not None:
            assert self._server.end() == 0
            self._server = None


@pytest.mark.parametrize("name", blocks())
def test_lines_for_a_shell_do_what_they_say(name: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        shell = Shell(tmp_path, stack)
        for line in lines(blocks()[name]):
            shell.paste(line)
        assert shell.answers > 0
        assert list(lines(blocks()[name]))[-1] == END, "the next block finds the port taken"


def test_there_are_lines_to_paste() -> None:
    assert {name.rpartition("-")[0] for name in blocks()} == set(PAGES)
    for name, block in blocks().items():
        assert next(lines(block)).removeprefix(INSTALLED).startswith(("usermemory serve ", "export ")), name


@pytest.mark.parametrize(
    "line",
    [
        f"curl {ADDRESS}/v1/items/prefs/nothing",
        f"curl {ADDRESS}/v1/document    # something else",
        "usermemory nonsense",
        "curl http://127.0.0.1:1/",
    ],
)
def test_a_line_that_does_not_do_what_it_says_is_found(line: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        shell = Shell(tmp_path, stack)
        shell.paste("usermemory serve --user ada &")
        with pytest.raises(AssertionError):
            shell.paste(line)
