"""A client's file: changed in one entry, or not at all."""

import json
import os
import signal
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from storage.errors import Conflict, InvalidInput, InvalidJson
from storage.json_types import Json
from usermemory.commands.client_file import ClientFile

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
ENTRY: Json = {"command": "uvx"}
OTHERS = '{"zoom": 1.5, "mcpServers": {"z": {"x": null}, "a": {"url": "ä"}}, "aims": [true, {"b": 1, "a": 2}]}'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "client"
    folder.mkdir()
    return folder / "mcp.json"


def save(path: Path, entry: Json = ENTRY, name: str = "memory") -> Path | None:
    return ClientFile.read(path).save("mcpServers", name, entry, now=NOW)


def test_a_new_file_and_its_folder_are_made_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "not" / "yet" / "mcp.json"
    assert save(path) is None
    assert json.loads(path.read_text()) == {"mcpServers": {"memory": ENTRY}}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("empty", [b"", b" \n", b"\xef\xbb\xbf", b"\xef\xbb\xbf{}"])
def test_an_empty_file_counts_as_an_object(path: Path, empty: bytes) -> None:
    path.write_bytes(empty)
    backup = save(path)
    assert json.loads(path.read_text(encoding="utf-8")) == {"mcpServers": {"memory": ENTRY}}
    assert backup is not None
    assert backup.read_bytes() == empty


def test_everything_else_keeps_its_value_and_its_place(path: Path) -> None:
    path.write_text(OTHERS, encoding="utf-8")
    save(path)
    expected = json.loads(OTHERS)
    expected["mcpServers"]["memory"] = ENTRY
    assert path.read_text(encoding="utf-8") == json.dumps(expected, indent=2, ensure_ascii=False) + "\n"


def test_an_entry_that_is_replaced_stays_where_it_was(path: Path) -> None:
    path.write_text(OTHERS, encoding="utf-8")
    save(path, name="z")
    assert next(iter(json.loads(path.read_text(encoding="utf-8"))["mcpServers"].items())) == ("z", ENTRY)


def test_the_file_keeps_its_rights_and_so_does_its_copy(path: Path) -> None:
    path.write_text(OTHERS, encoding="utf-8")
    path.chmod(0o640)
    backup = save(path)
    assert backup is not None
    assert {stat.S_IMODE(each.stat().st_mode) for each in (path, backup)} == {0o640}
    assert ClientFile.read(path).others_read


def test_no_copy_overwrites_an_earlier_one(path: Path) -> None:
    path.write_text(OTHERS, encoding="utf-8")
    versions, copies = [], []
    for number in range(3):
        versions.append(path.read_bytes())
        copies.append(save(path, number))
    names = [
        "mcp.json.backup-20261120T090000",
        "mcp.json.backup-20261120T090000-2",
        "mcp.json.backup-20261120T090000-3",
    ]
    assert [copy.name for copy in copies if copy is not None] == names
    assert [copy.read_bytes() for copy in copies if copy is not None] == versions


def test_a_link_stays_a_link_and_the_file_behind_it_is_changed(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(path)
    assert save(link) is None
    backup = save(link, {"command": "other"})
    assert link.is_symlink()
    assert json.loads(path.read_text())["mcpServers"]["memory"] == {"command": "other"}
    assert backup is not None
    assert backup.parent == path.parent


@pytest.mark.parametrize(
    "text",
    [
        '{\n  // mine\n  "mcpServers": {}\n}',
        '{"mcpServers": {},}',
        '{"mcpServers": {}, "mcpServers": {"a": {}}}',
        '{"mcpServers": ',
        '{"zoom": NaN}',
        "[]",
        "null",
        '{"mcpServers": []}',
        '{"mcpServers": null}',
        b'{"name": "\xff"}',
        "{}".encode("utf-16"),
    ],
)
def test_what_could_not_be_kept_as_it_is_is_refused_and_left(path: Path, text: str | bytes) -> None:
    before = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(before)
    with pytest.raises(InvalidJson, match="left as it is"):
        save(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_what_another_program_wrote_in_the_meantime_is_not_lost(path: Path) -> None:
    path.write_text("{}")
    for meanwhile in ('{"new": 1}', None):
        file = ClientFile.read(path)
        path.unlink() if meanwhile is None else path.write_text(meanwhile)
        with pytest.raises((Conflict, InvalidInput)):
            file.save("mcpServers", "memory", ENTRY, now=NOW)
        assert (path.read_text() if path.exists() else None) == meanwhile
    created = ClientFile.read(path)
    path.write_text('{"new": 2}')
    with pytest.raises(Conflict):
        created.save("mcpServers", "memory", ENTRY, now=NOW)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("wrong", ["file/mcp.json", "folder", "loop"])
def test_a_path_where_no_file_can_be_is_named(tmp_path: Path, wrong: str) -> None:
    (tmp_path / "file").write_text("{}")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(InvalidInput, match=f"{wrong} cannot be read"):
        ClientFile.read(tmp_path / wrong)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="a folder in which even root makes no file")
def test_a_folder_that_takes_no_file_is_named() -> None:
    with pytest.raises(InvalidInput, match=r"/proc/mcp\.json cannot be written"):
        save(Path("/proc/mcp.json"))


FULL_DISK = """
import resource, signal, sys
from tests.usermemory.test_client_file import Path, save
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
save(Path(sys.argv[1]), {"args": ["x" * 50]})
"""


@pytest.mark.parametrize("room", [20, 200])
def test_a_disk_that_is_full_changes_nothing_and_leaves_nothing(path: Path, room: int) -> None:
    before = json.dumps({"others": "y" * 100})
    path.write_text(before)
    result = subprocess.run([sys.executable, "-c", FULL_DISK, str(path), str(room)], capture_output=True, text=True)
    assert "mcp.json cannot be written (File too large)" in result.stderr
    assert path.read_text() == before
    assert list(path.parent.iterdir()) == [path]


WRITE_FOR_EVER = """
import sys
from itertools import count
from tests.usermemory.test_client_file import Path, save
path = Path(sys.argv[1])
for number in count():
    backup = save(path, {"args": ["x" * 100_000, number]})
    backup.unlink()
    print(number, flush=True)
"""


def test_whoever_reads_meets_a_whole_file_also_where_the_writer_is_killed(path: Path) -> None:
    path.write_text('{"others": 1}')
    with subprocess.Popen([sys.executable, "-c", WRITE_FOR_EVER, str(path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        for _ in range(200):
            assert json.loads(path.read_text())["others"] == 1
        os.kill(writer.pid, signal.SIGKILL)
    content = json.loads(path.read_text())
    assert (content["others"], len(content["mcpServers"]["memory"]["args"][0])) == (1, 100_000)
