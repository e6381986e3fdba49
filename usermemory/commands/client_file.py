"""A client's file: JSON that another program reads and people edit. It is changed in one entry, or not at all."""

import json
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Self

from storage.canonical import parse
from storage.errors import Conflict, InvalidInput, InvalidJson
from storage.json_types import Json

FILE_LIMIT = 2**20
"""Bytes of canonical JSON in a client's file."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

_OWN = stat.S_IRUSR | stat.S_IWUSR
"""The rights to a new file: it says who somebody is, and perhaps the password of a database."""


@dataclass(frozen=True)
class ClientFile:
    """What a client's file held when it was read."""

    path: Path
    """Where it is itself, behind symbolic links."""

    before: bytes | None
    """None where there was no file."""

    content: dict[str, Json]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the file at `path`; an empty one, and none at all, count as `{}`.

        Raises InvalidInput where it cannot be read, InvalidJson where it is not JSON to the letter or not an object.
        """
        with _naming(path, "read"):
            real = Path(os.path.realpath(path))
            before = _bytes_of(real)
        try:
            content = parse((before or b"").removeprefix(_BYTE_ORDER_MARK).strip() or b"{}", limit=FILE_LIMIT)
        except InvalidInput as fault:
            hint = "comments and trailing commas would be lost, so it is left as it is"
            raise InvalidJson(f"{path} is not plain JSON ({hint}). {fault}", pointer=fault.pointer) from None
        if not isinstance(content, dict):
            raise InvalidJson(f"{path} does not hold a JSON object, so it is left as it is", pointer="")
        return cls(real, before, content)

    @property
    def others_read(self) -> bool:
        """Whether other users of the computer have rights to it."""
        return self.before is not None and bool(self.path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))

    def servers(self, member: str) -> dict[str, Json]:
        """Return the object under `member`; empty where there is none. Raises InvalidJson for anything else there."""
        servers = self.content.get(member, {})
        if not isinstance(servers, dict):
            raise InvalidJson(f"{member} is not an object in {self.path}, so it is left as it is", pointer=f"/{member}")
        return servers

    def save(self, member: str, name: str, entry: Json, *, now: datetime) -> Path | None:
        """Write the file with `entry` as `name` under `member`, and return where the file before it is kept, if any.

        Everything else keeps its value and its place. A crash leaves the old file or the new one, whole. Raises
        Conflict if somebody wrote it since it was read, InvalidInput where it cannot be written.
        """
        content = {**self.content, member: {**self.servers(member), name: entry}}
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        with _naming(self.path, "written"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            mode = _OWN if self.before is None else stat.S_IMODE(self.path.stat().st_mode)
            with _beside(self.path, text.encode(), mode) as new:
                if _bytes_of(self.path) != self.before:
                    raise Conflict(f"{self.path} was changed by another program in the meantime: try again")
                backup = None if self.before is None else _keep(self.path, self.before, mode, now)
                new.replace(self.path)
            _settle(self.path.parent)
        return backup


def _bytes_of(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


@contextmanager
def _beside(path: Path, data: bytes, mode: int) -> Iterator[Path]:
    """Give a file on the disk, in the same folder, that holds `data`; remove it if it is still there at the end."""
    number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    new = Path(name)
    try:
        _write(number, data, mode, new)
        yield new
    finally:
        new.unlink(missing_ok=True)


def _keep(path: Path, data: bytes, mode: int, now: datetime) -> Path:
    """Write `data` into a new file beside `path`, named after it and the time, and return its path."""
    first = f"{path.name}.backup-{now:%Y%m%dT%H%M%S}"
    backup, count = path.with_name(first), 1
    while True:
        try:
            number = os.open(backup, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), _OWN)
            break
        except FileExistsError:
            count += 1
            backup = path.with_name(f"{first}-{count}")
    _write(number, data, mode, backup)
    return backup


def _write(number: int, data: bytes, mode: int, path: Path) -> None:
    """Write `data` to the open file `number`, which is `path`, and down to the disk."""
    with open(number, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(number)
    path.chmod(mode)


def _settle(folder: Path) -> None:
    """Bring the names in `folder` to the disk, where a folder can be opened for that."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextmanager
def _naming(path: Path, done: str) -> Iterator[None]:
    """Turn what the system refuses into InvalidInput that names the file."""
    try:
        yield
    except OSError as error:
        raise InvalidInput(f"{path} cannot be {done} ({error.strerror or error})") from None
