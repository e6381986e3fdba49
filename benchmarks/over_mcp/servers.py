"""Servers: how ours, the reference of npm and a Python peer are started, filled, written to and read."""

import base64
import json
import random
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from mcp import StdioServerParameters

from benchmarks.documents import document_of, sentence
from benchmarks.over_mcp.peers import REFERENCE, basic_memory, npm_packages
from benchmarks.over_mcp.running import Ask
from memory_tools import Memory
from storage.items import DEFAULT_NAMESPACE
from storage.settings import DatabaseSettings

PERSON = "bench"
"""Whose memory is measured."""

PACE = "1000000/minute"
"""Requests that our server lets the person make: by default it lets one make 600."""

LENGTH = 100
"""Characters of an item."""

IN_ONE_TRANSACTION = 1_000
"""Items that are filled in at once."""

REWRITTEN_EVERY = 10
"""Of that many versions one has a whole new summary, the others a small change."""

COMMON = "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里"
"""The characters that Chinese uses most."""

Text = Callable[[random.Random, int], str]
"""Makes a text of about so many characters."""


def english(random_: random.Random, length: int) -> str:
    """Return sentences: some five characters to the token."""
    return " ".join(sentence(random_) for _ in range(length // 75 + 1))[:length]


def chinese(random_: random.Random, length: int) -> str:
    """Return common characters of Chinese: about a token each."""
    return "".join(random_.choice(COMMON) for _ in range(length))


def ideographs(random_: random.Random, length: int) -> str:
    """Return ideographs from all over their block, most of them rare: more than two tokens each."""
    return "".join(chr(random_.randrange(0x4E00, 0x9FA5)) for _ in range(length))


def letters(random_: random.Random, length: int) -> str:
    """Return what looks like a key or a hash: about one and a half characters to the token."""
    return base64.b64encode(random_.randbytes(length)).decode()[:length]


TEXTS: dict[str, Text] = {
    "English": english,
    "Chinese": chinese,
    "random letters": letters,
    "rare ideographs": ideographs,
}
"""What a memory may be written in; tokens for each byte differ."""


def key_of(number: int) -> str:
    """Return the key of an item."""
    return f"item-{number:06}"


def items_of(size: int, text: Text = english, length: int = LENGTH) -> Iterator[tuple[str, str]]:
    """Return keys and values, the same every time."""
    random_ = random.Random(7)
    return ((key_of(number), text(random_, length)) for number in range(size))


class Contender(ABC):
    """One kind of server with one store. Starting it twice starts two processes on the same store."""

    name: ClassVar[str]

    @property
    @abstractmethod
    def parameters(self) -> StdioServerParameters:
        """How a process is started."""

    @abstractmethod
    def write(self, key: str, text: str) -> Ask:
        """Return the call that keeps a new text."""

    @abstractmethod
    def read(self, key: str) -> Ask:
        """Return the call that reads one text by its exact key."""

    def took(self, said: str) -> bool:
        """Whether an answer without an error says that a text was kept."""
        return True

    @abstractmethod
    def fill(self, size: int) -> None:
        """Keep so many items, without the server."""

    def reads(self) -> dict[str, dict[str, Any]]:
        """Return arguments for the read tools that demand some."""
        return {}


@dataclass
class Ours(Contender):
    """`usermemory mcp` for one person."""

    url: str
    person: str = PERSON
    name: ClassVar[str] = "usermemory"

    @property
    def parameters(self) -> StdioServerParameters:
        """The command of this environment, at a pace that no person has."""
        whose = ["--user", self.person, "--database", self.url, "--pace", PACE]
        return StdioServerParameters(command=str(Path(sys.executable).with_name("usermemory")), args=["mcp", *whose])

    def write(self, key: str, text: str) -> Ask:
        """Set an item, which may be there."""
        return "set_memory_item", {"key": key, "value": text}

    def read(self, key: str) -> Ask:
        """Get an item."""
        return "get_memory_item", {"key": key}

    def fill(self, size: int) -> None:
        """Keep items in the default namespace."""
        with self._open() as memory:
            fill_items(memory, self.person, items_of(size))

    def fill_all(self, text: Text, *, items: int, document: int, versions: int) -> None:
        """Keep items, a document of so many bytes with so many versions, and one item as large as may be."""
        random_, start = random.Random(9), document_of(document)
        with self._open() as memory:
            fill_items(memory, self.person, items_of(items, text))
            largest = text(random_, 10_000).encode()[:10_000].decode(errors="ignore")
            fill_items(memory, self.person, [("largest", largest)])
            person = memory.of(user=self.person)
            person.document.append(written_anew(start, random_, text))
            for number in range(1, versions):
                if number % REWRITTEN_EVERY:
                    path, value = f"/parts/part_{1 + number % 5}/goals", [{"goal": text(random_, 60)}]
                    person.document.append([{"op": "replace", "path": path, "value": value}])
                else:
                    summary = text(random_, len(start["summary"]))
                    person.document.append([{"op": "replace", "path": "/summary", "value": summary}])

    def reads(self) -> dict[str, dict[str, Any]]:
        """Ask for the largest item."""
        return {"get_memory_item": {"key": "largest"}}

    def _open(self) -> Memory:
        return Memory.open(self.url, settings=DatabaseSettings(synchronous="OFF"))


class BareSDK(Contender):
    """A server of the SDK that ours is built with, whose one tool does nothing: the floor on which ours stands."""

    name: ClassVar[str] = "bare SDK"

    @property
    def parameters(self) -> StdioServerParameters:
        """A module beside this one; as a script it would take `mcp.py` here for the SDK."""
        root = Path(__file__).parent.parent
        return StdioServerParameters(command=sys.executable, args=["-m", "benchmarks.over_mcp.nothing"], cwd=root)

    def write(self, key: str, text: str) -> Ask:
        """Write nothing."""
        return "nothing", {"key": key, "value": text}

    def read(self, key: str) -> Ask:
        """Read nothing."""
        return "nothing", {"key": key}

    def fill(self, size: int) -> None:
        """Keep nothing."""


def fill_items(memory: Memory, person: str, items: Iterable[tuple[str, str]]) -> None:
    """Keep items, many in each transaction."""
    whose, left = memory.of(user=person), iter(items)
    while some := list(islice(left, IN_ONE_TRANSACTION)):
        with whose.begin() as stores:
            for key, value in some:
                stores.items.set(DEFAULT_NAMESPACE, key, value)


def written_anew(value: Any, random_: random.Random, text: Text) -> Any:
    """Return a value whose sentences are written in another kind of text, each with as many bytes."""
    if isinstance(value, dict):
        return {key: written_anew(each, random_, text) for key, each in value.items()}
    if isinstance(value, list):
        return [written_anew(each, random_, text) for each in value]
    if isinstance(value, str) and value.endswith("."):
        return text(random_, len(value)).encode()[: len(value)].decode(errors="ignore")
    return value


@dataclass
class Reference(Contender):
    """The memory server of the protocol's authors: a graph in one file of JSON lines."""

    folder: Path
    name: ClassVar[str] = "reference"

    @property
    def file(self) -> Path:
        """Where it keeps all."""
        return self.folder / "memory.jsonl"

    @property
    def parameters(self) -> StdioServerParameters:
        """The installed package by node itself, without what npx would cost."""
        script = npm_packages() / REFERENCE / "dist" / "index.js"
        return StdioServerParameters(command="node", args=[str(script)], env={"MEMORY_FILE_PATH": str(self.file)})

    def write(self, key: str, text: str) -> Ask:
        """Create an entity with one observation."""
        return "create_entities", {"entities": [{"name": key, "entityType": "fact", "observations": [text]}]}

    def read(self, key: str) -> Ask:
        """Open a node."""
        return "open_nodes", {"names": [key]}

    def fill(self, size: int) -> None:
        """Write its file."""
        with self.file.open("w", encoding="utf-8") as file:
            lines = (
                json.dumps({"type": "entity", "name": key, "entityType": "fact", "observations": [text]})
                for key, text in items_of(size)
            )
            file.write("\n".join(lines))

    def reads(self) -> dict[str, dict[str, Any]]:
        """Search for what is in many, open one."""
        return {"search_nodes": {"query": "garden"}, "open_nodes": {"names": [key_of(1)]}}


@dataclass
class BasicMemory(Contender):
    """Notes as Markdown files with an index in SQLite."""

    folder: Path
    name: ClassVar[str] = "basic-memory"

    @property
    def parameters(self) -> StdioServerParameters:
        """Its home, notes and configuration are all in the folder."""
        homes = {"HOME": "", "BASIC_MEMORY_HOME": "notes", "BASIC_MEMORY_CONFIG_DIR": "config"}
        environment = {name: str(self.folder / where) for name, where in homes.items()}
        return StdioServerParameters(command=str(basic_memory()), args=["mcp"], env=environment, cwd=self.folder)

    def write(self, key: str, text: str) -> Ask:
        """Write a note."""
        return "write_note", {"title": key, "content": text, "directory": "bench"}

    def read(self, key: str) -> Ask:
        """Read a note by its path."""
        return "read_note", {"identifier": f"bench/{key}"}

    def took(self, said: str) -> bool:
        """It answers with an error in a text that looks like success."""
        return said.startswith(("# Created note", "# Updated note"))

    def fill(self, size: int) -> None:
        """Write its notes, which it finds when it starts."""
        notes = self.folder / "notes" / "bench"
        notes.mkdir(parents=True, exist_ok=True)
        for key, text in items_of(size):
            front = f"---\ntitle: {key}\ntype: note\npermalink: bench/{key}\n---\n\n"
            (notes / f"{key}.md").write_text(front + text + "\n", encoding="utf-8")

    def reads(self) -> dict[str, dict[str, Any]]:
        """Search for what is in many; read one."""
        return {
            "search_notes": {"query": "garden"},
            "search": {"query": "garden"},
            "read_note": {"identifier": f"bench/{key_of(1)}"},
            "view_note": {"identifier": f"bench/{key_of(1)}"},
            "read_content": {"path": f"bench/{key_of(1)}.md"},
            "fetch": {"id": f"bench/{key_of(1)}"},
            "build_context": {"url": f"memory://bench/{key_of(1)}"},
        }
