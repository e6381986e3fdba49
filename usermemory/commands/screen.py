"""The screen: answers go to stdout, as JSON or for people, and whatever else there is to say to stderr."""

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import click

from storage.canonical import dumps
from storage.json_types import Json

_ERASE_LINE = "\r\x1b[2K"


@dataclass(frozen=True)
class Screen:
    """How one command answers."""

    as_json: bool

    def answer(self, value: Json, lines: Callable[[], Iterable[str]]) -> None:
        """Print `value` as one line of canonical JSON where `--json` was given, else `lines`."""
        if self.as_json:
            click.echo(dumps(value).encode())
            return
        click.echo("\n".join(lines()))

    def note(self, text: str) -> None:
        """Say something beside the answer. With `--json` stderr is for errors alone."""
        if not self.as_json:
            click.secho(text, err=True, dim=True)

    def progress(self, stage: str | None) -> None:
        """Say what is being done: in one line that changes on a terminal, else in a line each. None: it is done."""
        if self.as_json:
            return
        if not sys.stderr.isatty():
            if stage is not None:
                self.note(f"{stage} ...")
            return
        shown = "" if stage is None else click.style(f"{stage} ...", dim=True)
        click.echo(f"{_ERASE_LINE}{shown}", nl=False, err=True)
