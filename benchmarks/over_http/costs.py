"""Costs: the CPU of one request, of the same call of the storage in Python, and of a request that does nothing.

They take turns, block by block, in one run; the medians of the blocks are compared. CPU is that of the server's
process and of PostgreSQL's, where there is one, with fsync off on both sides; what the client takes is nobody's figure.
"""

import random
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Final

from benchmarks.measuring import Report
from benchmarks.over_http.places import ITEMS, LISTED, LISTED_ITEMS, NAMESPACE, PERSON, Place, value_of
from benchmarks.over_http.serving import NOTHING, OURS, Ask, Client, Served, served
from memory_tools.memory import Memory, UserMemory
from storage.settings import DatabaseSettings

AT_MOST: Final = 3.0
"""How many times what an empty route and the bare call cost together a request may cost."""

SEED: Final = f"/api/user/{PERSON}/memory"

WITHOUT_FSYNC: Final = DatabaseSettings(synchronous="OFF")

WARM: Final = 30
"""Calls of each kind before anything is measured."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What is asked for, over HTTP and in Python."""

    name: str
    empty: str
    """The method of the request that does nothing and is otherwise the same."""

    ask: Callable[[str | None, int], Ask]
    bare: Callable[[UserMemory, int], object]


KINDS: Final = (
    Kind(
        "read /v1/items",
        "GET",
        lambda token, number: Ask("GET", f"/v1/items/{NAMESPACE}/key-{number % ITEMS}", token=token),
        lambda person, number: person.items.get(NAMESPACE, f"key-{number % ITEMS}"),
    ),
    Kind(
        "write /v1/items",
        "PUT",
        lambda token, number: Ask(
            "PUT", f"/v1/items/{NAMESPACE}/key-{number % ITEMS}", {"value": value_of(number)}, token
        ),
        lambda person, number: person.items.set(NAMESPACE, f"key-{number % ITEMS}", value_of(number)),
    ),
    Kind(
        f"list {LISTED_ITEMS} /api/user/{{id}}/memory",
        "GET",
        lambda token, number: Ask("GET", f"{SEED}?namespace={LISTED}", token=token),
        lambda person, number: person.items.in_namespace(LISTED),
    ),
    Kind(
        "write /api/user/{id}/memory",
        "PUT",
        lambda token, number: Ask(
            "POST",
            SEED,
            {"namespace": LISTED, "key": f"key-{number % LISTED_ITEMS}", "value": value_of(number)},
            token,
        ),
        lambda person, number: person.items.set(LISTED, f"key-{number % LISTED_ITEMS}", value_of(number)),
    ),
)


@dataclass
class Turns:
    """Blocks of calls of one contender."""

    act: Callable[[int], object]
    cpu: Callable[[], float]
    renew: Callable[[], None] = lambda: None
    made: int = 0
    costs: list[float] = field(default_factory=list)

    def turn(self, calls: int) -> None:
        """Do a block and note what one call took, in microseconds."""
        self.renew()
        before = self.cpu()
        for _ in range(calls):
            self.made += 1
            self.act(self.made)
        self.costs.append(1e6 * (self.cpu() - before) / calls)

    @property
    def cost(self) -> float:
        """The median, in microseconds."""
        return median(self.costs)


def measure_costs(places: Sequence[Place], report: Report, *, rounds: int, calls: int) -> None:
    """Compare a request by key, and one to the app of one person, with an empty one and the bare call."""
    turns: dict[tuple[str, ...], Turns] = {}
    folder = places[0].folder
    with ExitStack() as stack:
        nothing = stack.enter_context(served(NOTHING, folder / "nothing.log"))
        for kind in KINDS:
            turns["empty", kind.name] = _requests(nothing, partial(_empty, kind))
        for place in places:
            memory = stack.enter_context(Memory.open(place.filled().url, settings=WITHOUT_FSYNC))
            keyed, alone = place.filled(), place.filled()
            by_key = stack.enter_context(served((*OURS, keyed.url), folder / f"{place.name} by key.log"))
            by_user = stack.enter_context(served((*OURS, alone.url, PERSON), folder / f"{place.name} alone.log"))
            person = memory.of(user=PERSON)
            for kind in KINDS:
                turns[place.name, "bare", kind.name] = _calls(partial(kind.bare, person), place)
                turns[place.name, "by key", kind.name] = _requests(by_key, partial(kind.ask, keyed.tokens[0]), place)
                turns[place.name, "--user", kind.name] = _requests(by_user, partial(kind.ask, None), place)
        for each in turns.values():
            each.turn(WARM)
            each.costs.clear()
        for _ in range(rounds):
            for each in random.sample(list(turns.values()), len(turns)):
                each.turn(calls)
    _tell(places, report, turns)


def _calls(bare: Callable[[int], object], place: Place) -> Turns:
    return Turns(bare, lambda: time.process_time() + place.cpu())


def _requests(server: Served, ask: Callable[[int], Ask], place: Place | None = None) -> Turns:
    client = Client(server.port)

    def act(number: int) -> None:
        client.ask(ask(number))

    return Turns(act, lambda: server.cpu() + (0.0 if place is None else place.cpu()), client.renew)


def _empty(kind: Kind, number: int) -> Ask:
    """Return the request of a kind, token and body included, for the route that does nothing."""
    asked = kind.ask(f"um_{'0' * 12}_{'x' * 43}", number)
    return Ask(kind.empty, "/nothing", asked.body, asked.token)


def _tell(places: Sequence[Place], report: Report, turns: dict[tuple[str, ...], Turns]) -> None:
    for kind in KINDS:
        empty = turns["empty", kind.name].cost
        report.add(f"{kind.name}: an empty route of FastAPI, CPU", empty, unit=" us")
        for place in places:
            bare = turns[place.name, "bare", kind.name].cost
            report.add(f"{kind.name}, {place.name}: the bare call, CPU", bare, unit=" us")
            for who in ("by key", "--user"):
                ours = turns[place.name, who, kind.name].cost
                report.add(f"{kind.name}, {place.name}, {who}: CPU", ours, unit=" us")
                report.add(f"{kind.name}, {place.name}, {who}: / (empty + bare)", ours / (empty + bare), AT_MOST)
