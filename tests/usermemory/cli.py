"""The command line as tests call it: in this process, with what it printed where."""

import io
import json
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from click.testing import CliRunner

from tests.statement_guard import watch
from usermemory.commands import main


@dataclass(frozen=True)
class Answer:
    """What one call printed, and how it ended."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """What it answered; nothing but that may stand on stdout, and nothing on stderr."""
        assert self.stderr == ""
        assert self.exit_code == 0
        return json.loads(self.stdout)

    @property
    def error(self) -> Any:
        """What it reported; nothing but that may stand on stderr, and nothing on stdout."""
        assert self.stdout == ""
        assert self.exit_code != 0
        return json.loads(self.stderr)["error"]

    @property
    def lines(self) -> list[str]:
        """What it answered, line by line."""
        assert self.exit_code == 0, self.stderr
        return self.stdout.splitlines()


@dataclass(frozen=True)
class Cli:
    """`usermemory` for one person of one database."""

    url: str | None = None
    user: str | None = None

    def __call__(self, *arguments: str, stdin: str | bytes | io.IOBase | None = None, color: bool = False) -> Answer:
        environment = {"USERMEMORY_DATABASE": self.url, "USERMEMORY_USER": self.user}
        # Of every engine there is; a migration makes tables and knows no owners.
        with nullcontext() if "migrate" in arguments else watch(sa.Engine):  # type: ignore[arg-type]
            result = CliRunner(env=environment).invoke(
                main,
                list(arguments),
                input=stdin,  # type: ignore[arg-type]
                color=color,
                catch_exceptions=False,
            )
        return Answer(result.exit_code, result.stdout, result.stderr)
