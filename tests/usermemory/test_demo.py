"""demo."""

import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.usermemory.cli import Cli


def test_the_demo_shows_everything_it_promises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    answer = Cli()("demo")
    text = answer.stdout
    assert answer.exit_code == 0
    assert answer.stderr == ""
    for version in (1, 2, 3, 4):
        assert f"Saved as version {version}" in text
    assert "merged with what others saved meanwhile" in text
    assert "Held: version 3 stays in force" in text
    assert '"op": "add"' in text
    early, late = re.findall(r"as of version \d +(\".*\")", text)
    assert early != late
    assert list(tmp_path.iterdir()) == []


def test_the_demo_is_the_same_each_time_apart_from_times() -> None:
    one, two = (re.sub(r"\d{4}-\d{2}-\d{2}", "DAY", Cli()("demo").stdout) for _ in range(2))
    assert one == two


def test_the_demo_takes_less_than_ten_seconds_of_an_idle_machine() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "usermemory", "demo"], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 10  # nothing in it waits
