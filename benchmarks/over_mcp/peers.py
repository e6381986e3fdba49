"""Peers: other memory servers, and the tokenizer of a model, kept in a cache folder outside the tree.

Nothing gets into our environment: npm packages and Python tools have folders of their own under the user's cache.
"""

import json
import os
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import click
import platformdirs

REFERENCE = "@modelcontextprotocol/server-memory"
"""The reference memory server on npm; the newest is taken."""

TOKENIZER = "gpt-tokenizer"
"""A tokenizer on npm that brings its vocabularies along."""

ENCODING = "o200k_base"
"""The vocabulary that tokens are counted in."""

BASIC_MEMORY = "basic-memory==0.23.2"
"""The Python peer. It wants Python 3.12: set UV_PYTHON where uv does not find one by itself."""

INSTALLED_WITHIN = 600
"""Seconds that an installation may take."""

COUNT = f"""
import {{ countTokens }} from "{TOKENIZER}/encoding/{ENCODING}";
let asked = "";
process.stdin.setEncoding("utf8");
for await (const part of process.stdin) asked += part;
console.log(JSON.stringify(JSON.parse(asked).map((text) => countTokens(text))));
"""


class PeerMissing(click.ClickException):
    """A peer could not be installed."""


def folder() -> Path:
    """Return the folder that peers are kept in."""
    return platformdirs.user_cache_path("usermemory-benchmarks")


@cache
def npm_packages() -> Path:
    """Return the folder with the npm packages, which are installed when they are not there. Raises PeerMissing."""
    place = folder() / "npm"
    modules = place / "node_modules"
    if not (modules / REFERENCE).is_dir() or not (modules / TOKENIZER).is_dir():
        place.mkdir(parents=True, exist_ok=True)
        packages = [f"{name}@latest" for name in (REFERENCE, TOKENIZER)]
        run("npm", "install", "--no-audit", "--no-fund", "--prefix", str(place), *packages)
    return modules


def version_of(package: str) -> str:
    """Return the installed version of an npm package."""
    described = json.loads((npm_packages() / package / "package.json").read_text(encoding="utf-8"))
    return str(described["version"])


@cache
def basic_memory() -> Path:
    """Return the command of the Python peer, which is installed when it is not there. Raises PeerMissing."""
    place = folder() / "python"
    command = place / "bin" / "basic-memory"
    if not command.exists():
        folders = {"UV_TOOL_DIR": str(place / "tools"), "UV_TOOL_BIN_DIR": str(command.parent)}
        run("uv", "tool", "install", BASIC_MEMORY, environment=folders)
    return command


def run(
    *command: str, environment: dict[str, str] | None = None, said: str | None = None, cwd: Path | None = None
) -> str:
    """Return what a command printed; it is given `said` on stdin. Raises PeerMissing when it fails."""
    try:
        done = subprocess.run(
            command,
            env=os.environ | (environment or {}),
            input=said,
            cwd=cwd,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=INSTALLED_WITHIN,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerMissing(f"{command[0]}: {error}") from error
    if done.returncode:
        raise PeerMissing(f"{' '.join(command[:3])}: {done.stderr.strip()[-400:]}")
    return done.stdout


def tokens_of(texts: Sequence[str]) -> list[int]:
    """Return how many tokens each text has. Raises PeerMissing without node."""
    here = npm_packages().parent
    counted = json.loads(run("node", "--input-type=module", "-e", COUNT, said=json.dumps(list(texts)), cwd=here))
    return [int(count) for count in counted]
