"""Any story of a document, whatever is asked, and wherever it is cut off: the log tells the truth."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import jsonpatch
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from memory_tools.memory import Memory
from storage.database import Database
from storage.directory import require_one_person, resolve
from storage.errors import (
    DatabaseError,
    IdempotencyKeyReused,
    InvalidInput,
    NotFound,
    PatchDoesNotApply,
    UserMemoryError,
    VersionConflict,
)
from storage.guard import examine
from storage.identity import Identity
from storage.json_types import Document, Patch
from storage.merge import merge
from storage.migrate import migrate
from storage.outcome import Held, Outcome, Saved, Unchanged
from storage.policy import DocumentPolicy
from storage.provenance import Actor, Provenance, by_agent, by_operator, by_user
from storage.snapshots import SnapshotStore
from tests.clock import Clock
from tests.contents import administrators_engine, canonically, proven_versions, rows_of
from tests.postgres import Cluster

STORIES = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)

POINTS = (
    "heads INSERT",
    "heads UPDATE",
    "snapshots INSERT",  # the head was moved
    "pending_versions INSERT",
    "pending_versions DELETE",  # the accepted change was saved
    "idempotency_keys INSERT",
    "idempotency_keys UPDATE",  # all was done, and its outcome is to be kept
)
"""Where a save can be cut off: in front of each of its statements."""

SENTENCE = "the quick brown fox jumps over the lazy dog near the bank of a river in spring"
texts = st.lists(st.sampled_from(SENTENCE.split()), max_size=12).map(" ".join)
scalars = st.sampled_from([None, True, False, 0, 1, 1.0, -1, "", "x", "é😀"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("kl/~"), inner, max_size=2),
    max_leaves=5,
)
documents = st.fixed_dictionaries(
    {},
    optional={
        "summary": texts,
        "safety_notes": texts,
        "facts": st.lists(texts, max_size=4),
        "a": values,
        "b": values,
        "c": values,
    },
)
actors = st.sampled_from([by_user, by_agent("loop"), by_operator, by_operator])
ways = st.sampled_from(["alone", "alone", "elsewhere", "in a transaction"])
indexes = st.integers(0, 1_000)

BAD_CHANGES: list[tuple[Any, type[UserMemoryError]]] = [
    ({"summary": 7}, InvalidInput),
    ({"a": float("nan")}, InvalidInput),
    ({"a": "\0"}, InvalidInput),
    ([{"op": "remove", "path": "/nowhere"}], PatchDoesNotApply),
    ([{"op": "add", "path": "/new", "value": 1}, {"op": "test", "path": "/new", "value": True}], PatchDoesNotApply),
    ([{"op": "add", "path": "/new"}], InvalidInput),
    ([{"op": "replace", "path": "", "value": []}], InvalidInput),
]


class Cut(Exception):
    """Whoever wrote broke off."""


class World:
    """A database in which a save can be cut off at any point, opened twice, and a person who has no part in it."""

    def __init__(self, url: str, administrator: sa.Engine) -> None:
        self.url = url
        self.administrator = administrator
        self.clock = Clock()
        self.people = count()
        self.seen: Counter[str] = Counter()
        self.open(4)
        bystander = Memory(self.here).of(user="bystander")
        bystander.document.append({"summary": "Has no part in it.", "facts": [1]})
        self.bystander = self.owner("bystander")
        self.bystanders_rows = rows_of(administrator, self.bystander)

    def open(self, checkpoint_every: int) -> None:
        policy = DocumentPolicy(checkpoint_every=checkpoint_every)
        self.here = Database.open(self.url, policy=policy, clock=self.clock)
        self.elsewhere = Database.open(self.url, policy=policy, clock=self.clock)

    def close(self) -> None:
        self.here.close()
        self.elsewhere.close()

    def owner(self, user: str) -> UUID:
        return require_one_person(resolve(self.here, Identity.of(user=user)))

    @contextmanager
    def trap(self, point: str) -> Iterator[None]:
        """Cut off whatever comes to this point."""
        table, statement = point.split()
        if self.administrator.dialect.name == "sqlite":
            self.run(f"CREATE TRIGGER trap BEFORE {statement} ON {table} BEGIN SELECT RAISE(ABORT, 'cut off'); END")
            yield
            self.run("DROP TRIGGER trap")
            return
        spring = "FOR EACH ROW EXECUTE FUNCTION public.spring()"
        self.run(
            "CREATE FUNCTION public.spring() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'cut off'; END $$",
            f"CREATE TRIGGER trap BEFORE {statement} ON usermemory.{table} {spring}",
        )
        yield
        self.run("DROP FUNCTION public.spring() CASCADE")

    def run(self, *statements: str) -> None:
        with self.administrator.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)


@pytest.fixture
def world(backend: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[World]:
    if backend == "sqlite":
        url = administrators_url = f"sqlite:///{tmp_path / 'memory.db'}"
        Database.open(url).close()
    else:
        cluster: Cluster = request.getfixturevalue("cluster")
        administrators_url = cluster.new_database()
        url = migrate(administrators_url)
    administrator = administrators_engine(administrators_url, sa.QueuePool)
    opened = World(url, administrator)
    yield opened
    opened.close()
    administrator.dispose()


class Story(RuleBasedStateMachine):
    """One person's document, and beside it what must be true of it."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.documents: list[Document] = [{}]
        self.times = [world.clock.now - timedelta(days=1)]
        self.pending: dict[str, tuple[int, Patch]] = {}
        self.requests: dict[str, tuple[Any, Outcome]] = {}

    @initialize()
    def meet(self) -> None:
        self.user = f"person {next(self.world.people)}"
        self.owner = self.world.owner(self.user)
        self.bind()

    def bind(self) -> None:
        self.person = Memory(self.world.here).of(user=self.user)
        self.stranger = Memory(self.world.elsewhere).of(user=self.user)

    # What is asked

    @rule(document=documents, by=actors, way=ways)
    def append_a_document(self, document: Document, by: Provenance, way: str) -> None:
        self.append(document, None, by, way)

    @rule(document=documents, by=actors, way=ways)
    def append_a_patch(self, document: Document, by: Provenance, way: str) -> None:
        self.append(jsonpatch.make_patch(self.documents[-1], document).patch, None, by, way)

    @rule(document=documents, version=indexes, by=actors, way=ways)
    def append_to_an_older_version(self, document: Document, version: int, by: Provenance, way: str) -> None:
        self.append(document, version % len(self.documents), by, way)

    @rule(version=indexes, way=ways)
    def add_something_new_to_an_older_version(self, version: int, way: str) -> None:
        expected = version % len(self.documents)
        name = f"new {len(self.documents)}"
        before = self.documents[-1]
        outcome = self.append(self.documents[expected] | {name: 1}, expected, by_operator, way)
        if outcome is not None:  # what others added meanwhile is still there
            assert self.documents[-1] == before | {name: 1}

    @precondition(lambda self: len(self.documents) > 2)
    @rule(way=ways)
    def change_what_somebody_else_changed(self, way: str) -> None:
        last, head = len(self.documents) - 2, self.documents[-1]
        changed = [name for name in head if name in self.documents[last] and self.documents[last][name] != head[name]]
        for name in changed[:1]:
            ours = self.documents[last] | {name: ["another", "value"] if name == "facts" else "another value"}
            if isinstance(head[name], str):
                assert self.append(ours, last, by_operator, way) is None
                self.world.seen["conflict"] += 1

    @rule(beyond=st.integers(1, 5), way=ways)
    def expect_a_version_that_never_was(self, beyond: int, way: str) -> None:
        assert self.append({"a": "lost"}, len(self.documents) - 1 + beyond, by_operator, way) is None

    @rule(key=st.sampled_from("xyz"), document=documents, by=actors, way=ways)
    def append_under_a_key(self, key: str, document: Document, by: Provenance, way: str) -> None:
        self.append(document, None, by, way, key)

    @precondition(lambda self: self.requests)
    @rule(which=indexes, by=actors, way=ways)
    def ask_the_same_again(self, which: int, by: Provenance, way: str) -> None:
        key = sorted(self.requests)[which % len(self.requests)]
        change, expected = self.requests[key][0]
        assert self.append(change, expected, by, way, key) == self.requests[key][1]

    @rule(which=st.sampled_from(range(len(BAD_CHANGES))), way=ways, key=st.none() | st.just("bad"))
    def ask_for_what_cannot_be(self, which: int, way: str, key: str | None) -> None:
        change, error = BAD_CHANGES[which]
        with pytest.raises(error):
            self.write(way, lambda store: store.append(change, provenance=by_operator, idempotency_key=key))

    @rule(version=indexes, by=actors, way=ways)
    def revert(self, version: int, by: Provenance, way: str) -> None:
        version %= len(self.documents)
        wanted = self.foreseen(self.documents[version], None, by)
        self.settle(wanted, way, lambda store: store.revert(version, provenance=by))

    @precondition(lambda self: self.pending)
    @rule(which=indexes, way=ways)
    def accept(self, which: int, way: str) -> None:
        pending = sorted(self.pending)[which % len(self.pending)]
        base, patch = self.pending[pending]
        wanted = self.foreseen(patch, base, by_operator)
        if self.settle(wanted, way, lambda store: store.accept(pending, provenance=by_operator)) is not None:
            del self.pending[pending]
            self.world.seen["accepted"] += 1

    @precondition(lambda self: self.pending)
    @rule(which=indexes)
    def reject(self, which: int) -> None:
        pending = sorted(self.pending)[which % len(self.pending)]
        self.person.pending.reject(pending)
        del self.pending[pending]

    # What happens

    @rule(point=st.sampled_from(POINTS), way=ways)
    def a_save_is_cut_off(self, point: str, way: str) -> None:
        key = "cut" if "idempotency" in point else None
        by = Provenance(Actor.TOOL, "mcp") if point == "pending_versions INSERT" else by_operator

        def act(store: SnapshotStore) -> Outcome:
            if point == "pending_versions DELETE":
                return store.accept(min(self.pending), provenance=by_operator)
            return store.append({"never": [len(self.documents)]}, provenance=by, idempotency_key=key)

        impossible = {"heads INSERT" if len(self.documents) > 1 else "heads UPDATE"}
        if not any(self.foreseen(patch, base, by_operator)[0] is Saved for base, patch in self.first_pending()):
            impossible.add("pending_versions DELETE")
        if point not in impossible:
            with self.world.trap(point), pytest.raises(DatabaseError):
                self.write(way, act)
            self.world.seen[point] += 1

    def first_pending(self) -> list[tuple[int, Patch]]:
        return [self.pending[min(self.pending)]] if self.pending else []

    @rule(changes=st.lists(documents, min_size=1, max_size=3), key=st.none() | st.sampled_from("xyz"))
    def whoever_writes_breaks_off(self, changes: list[Document], key: str | None) -> None:
        with suppress(Cut, IdempotencyKeyReused):
            self.break_off(changes, key)

    def break_off(self, changes: list[Document], key: str | None) -> None:
        with self.person.begin() as stores:
            for change in changes:
                stores.snapshots.append(change, provenance=by_operator)
                stores.items.set("prefs", "tone", "never")
            stores.snapshots.append({"a": "never"}, provenance=by_user, idempotency_key=key)
            raise Cut

    @rule()
    def both_come_back_later(self) -> None:
        self.bind()

    @rule(seconds=st.sampled_from([0, 0.000001, 1, 3_600, -1, -3_600]))
    def time_goes_by(self, seconds: float) -> None:
        self.world.clock.move(seconds)

    @rule(checkpoint_every=st.sampled_from([1, 2, 4, 50]))
    def the_database_is_opened_again(self, checkpoint_every: int) -> None:
        self.world.close()
        self.world.open(checkpoint_every)
        self.bind()

    # What is read

    @rule(version=indexes)
    def a_version_is_read_back(self, version: int) -> None:
        version %= len(self.documents)
        assert self.shown(self.person.document.as_of(version).document) == canonically(self.documents[version])
        with pytest.raises(NotFound):
            self.person.document.as_of(len(self.documents))

    @rule(version=indexes, seconds=st.sampled_from([0, -0.000001, 0.000001, 5]))
    def a_time_is_read_back(self, version: int, seconds: float) -> None:
        moment = self.times[version % len(self.times)] + timedelta(seconds=seconds)
        in_force = max((number for number, time in enumerate(self.times) if time <= moment), default=0)
        found = self.stranger.document.as_of(moment)
        assert found.version == in_force
        assert self.shown(found.document) == canonically(self.documents[in_force])

    @rule(one=indexes, other=indexes)
    def two_versions_are_compared(self, one: int, other: int) -> None:
        one, other = one % len(self.documents), other % len(self.documents)
        patch = self.person.document.diff(one, other)
        assert canonically(jsonpatch.apply_patch(self.documents[one], patch)) == canonically(self.documents[other])
        changes = self.stranger.document.changes_since(one)
        assert changes.version == len(self.documents) - 1
        now = jsonpatch.apply_patch(self.documents[one], changes.patch)
        assert canonically(now) == canonically(self.documents[-1])

    @rule(limit=st.integers(1, 7))
    def the_history_is_read(self, limit: int) -> None:
        seen: list[int] = []
        before: int | None = None
        while True:
            page = self.person.document.history(limit=limit, before=before)
            seen += [entry.version for entry in page.entries]
            if (before := page.next) is None:
                break
        assert seen == list(range(len(self.documents) - 1, 0, -1))

    # What must be true

    @invariant()
    def the_log_tells_the_story_and_nothing_else(self) -> None:
        administrator = self.world.administrator
        assert proven_versions(administrator, self.owner) == [canonically(each) for each in self.documents[1:]]
        rows = rows_of(administrator, self.owner)
        assert {str(row[1]) for row in rows["pending_versions"]} == set(self.pending)
        assert {row[1] for row in rows["idempotency_keys"]} == set(self.requests)
        assert rows["items"] == []
        assert rows_of(administrator, self.world.bystander) == self.world.bystanders_rows

    @invariant()
    def everybody_reads_the_newest_version(self) -> None:
        for person in (self.person, self.stranger):
            snapshot = person.document.current()
            assert snapshot.version == len(self.documents) - 1
            assert self.shown(snapshot.document) == canonically(self.documents[-1])

    # How it is foreseen

    def append(
        self, change: Any, expected: int | None, by: Provenance, way: str, key: str | None = None
    ) -> Outcome | None:
        """Append, and check that it ends as foreseen; None for what is refused."""

        def act(store: SnapshotStore) -> Outcome:
            return store.append(change, provenance=by, expected_version=expected, idempotency_key=key)

        if key is None or key not in self.requests:
            outcome = self.settle(self.foreseen(change, expected, by), way, act)
            if key is not None and outcome is not None:
                self.requests[key] = ((change, expected), outcome)
            return outcome
        request, outcome = self.requests[key]
        if canonically(request) == canonically((change, expected)):
            assert self.write(way, act) == outcome
            self.world.seen["again"] += 1
            return outcome
        with pytest.raises(IdempotencyKeyReused):
            self.write(way, act)
        return None

    def foreseen(self, change: Patch | Document, expected: int | None, by: Provenance) -> tuple[type, Document]:
        """Return how a change must end, and the document it asks for."""
        head = self.documents[-1]
        if expected is not None and expected >= len(self.documents):
            return VersionConflict, head
        base = head if expected is None else self.documents[expected]
        wanted = change if isinstance(change, dict) else jsonpatch.apply_patch(base, change)
        if expected is not None and expected < len(self.documents) - 1:
            merged = merge(base, wanted, head)
            if merged.conflicts:
                return VersionConflict, head
            wanted = merged.document
        if canonically(wanted) == canonically(head):
            return Unchanged, head
        return (Held if examine(head, wanted, trust=by.trust) else Saved), wanted

    def settle(
        self, foreseen: tuple[type, Document], way: str, act: Callable[[SnapshotStore], Outcome]
    ) -> Outcome | None:
        """Act, check that it ended as foreseen, and take note of it; None for what is refused."""
        kind, wanted = foreseen
        head, now = self.documents[-1], self.world.clock.now
        if kind is VersionConflict:
            with pytest.raises(VersionConflict):
                self.write(way, act)
            return None
        outcome = self.write(way, act)
        assert type(outcome) is kind
        self.world.seen[outcome.status] += 1
        if isinstance(outcome, Held):
            self.pending[outcome.pending_id] = (len(self.documents) - 1, outcome.patch)
        if isinstance(outcome, Saved):
            assert canonically(jsonpatch.apply_patch(head, outcome.patch)) == canonically(wanted)
            self.documents.append(wanted)
            self.times.append(max(now, self.times[-1]))
        assert outcome.version == len(self.documents) - 1
        return outcome

    def write(self, way: str, act: Callable[[SnapshotStore], Outcome]) -> Outcome:
        """Act in one of the ways that there are."""
        if way == "in a transaction":
            with self.person.begin() as stores:
                return act(stores.snapshots)
        return (self.person if way == "alone" else self.stranger).do(lambda stores: act(stores.snapshots))

    @staticmethod
    def shown(document: Document) -> str:
        """Return the canonical text of what is stored of a document that was read."""
        return canonically({name: document[name] for name in document if name not in ("version", "last_updated_by")})


def test_any_story_of_a_document_is_told_by_its_log(world: World) -> None:
    run_state_machine_as_test(lambda: Story(world), settings=STORIES)  # type: ignore[arg-type]
    for chapter in ("saved", "unchanged", "held"):
        assert world.seen[chapter] > 0


def test_a_save_that_is_cut_off_at_any_point_leaves_no_trace(world: World) -> None:
    for way in ("alone", "elsewhere", "in a transaction"):
        story = Story(world)
        story.meet()
        story.a_save_is_cut_off("heads INSERT", way)
        for document, by in (({"safety_notes": "a b c"}, by_user), ({"safety_notes": "d"}, by_agent("loop"))):
            story.append(document, None, by, way)
        for point in POINTS[1:]:
            story.a_save_is_cut_off(point, way)
            story.the_log_tells_the_story_and_nothing_else()
            story.everybody_reads_the_newest_version()
        story.accept(0, way)
        story.the_log_tells_the_story_and_nothing_else()
    assert {point: world.seen[point] for point in POINTS} == dict.fromkeys(POINTS, 3)
