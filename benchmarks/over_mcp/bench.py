"""A bench for MCP servers: who takes part, room for their stores, how much is done, and where the figures go."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.over_mcp.servers import BareSDK, BasicMemory, Contender, Ours, Reference
from benchmarks.over_mcp.table import Table
from storage.migrate import migrate
from tests.postgres import Cluster

POSTGRESQL = "on PostgreSQL"
"""The name of our server on that database."""


@dataclass
class Sizes:
    """How much of each is done; what is `slow` is for the Python peer, which takes a third of a second for a call."""

    processes: int = 4
    writes: int = 500
    slow_writes: int = 10
    starts: int = 7
    slow_starts: int = 3
    rounds: int = 25
    calls: int = 20
    items: Sequence[int] = (100, 1_000, 10_000, 100_000)
    slow_items: int = 100
    memories: int = 10_000
    slow_memories: int = 1_000
    document: int = 200_000
    versions: int = 1_000


QUICK = Sizes(
    processes=2,
    writes=50,
    slow_writes=3,
    starts=2,
    slow_starts=1,
    rounds=3,
    calls=10,
    items=(100, 1_000),
    slow_items=0,
    memories=1_000,
    slow_memories=10,
    document=50_000,
    versions=50,
)
"""A run that shows that everything works."""


@dataclass
class Bench:
    """Everything that a section needs."""

    folder: Path
    table: Table
    sizes: Sizes
    peers: Sequence[type[Reference] | type[BasicMemory]]
    cluster: Cluster | None
    stores: int = field(default=0, init=False)

    @property
    def log(self) -> Path:
        """What the servers write to stderr."""
        return self.folder / "stderr.log"

    def place(self) -> Path:
        """Return a new folder."""
        self.stores += 1
        place = self.folder / f"store-{self.stores}"
        place.mkdir()
        return place

    def contenders(self) -> dict[str, Contender]:
        """Return every server on a new store, ours once for each database."""
        return self.ours_on_all() | {peer.name: peer(self.place()) for peer in self.peers}

    def with_the_floor(self) -> dict[str, Contender]:
        """Return every server, and the SDK by itself."""
        return self.contenders() | {BareSDK.name: BareSDK()}

    def ours_on_all(self) -> dict[str, Contender]:
        """Return our server on a new store of each database."""
        made: dict[str, Contender] = {Ours.name: self.ours()}
        if self.cluster:
            made[POSTGRESQL] = Ours(migrate(self.cluster.new_database()))
        return made

    def ours(self) -> Ours:
        """Return our server on a new SQLite file."""
        return Ours(f"sqlite:///{self.place() / 'memory.db'}")

    def add(self, section: str, figure: str, server: str, value: float | str, at_most: float | None = None) -> None:
        """Note a figure; the bound is ours to hold."""
        self.table.add(section, figure, server, value, at_most if server in (Ours.name, POSTGRESQL) else None)
