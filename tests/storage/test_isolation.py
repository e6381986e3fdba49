"""What a store of one person does with the ids, names and keys of another: the same as with names that nobody has."""

import inspect
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, get_type_hints
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from storage.conversations import NewMessage
from storage.cursors import MESSAGES
from storage.database import Database
from storage.directory import resolve
from storage.edits import NewValue
from storage.errors import UserMemoryError
from storage.identity import Identity
from storage.provenance import by_operator
from storage.stores import Stores
from storage.tables import items
from storage.transaction import NeedsTransaction
from storage.work.job_store import Lease
from tests.clock import Clock
from tests.contents import rows_of
from tests.people import VERSIONS, Names, furnish
from tests.statement_guard import UnpinnedStatement

SECRET = "canary"
"""Stands in everything that Ada's memory holds; a stranger knows her names, never this."""

Call = Callable[[Stores, Names], Any]

CALLS: dict[str, Call] = {
    "items.get": lambda stores, hers: stores.items.get(hers.namespace, hers.key),
    "items.set": lambda stores, hers: stores.items.set(hers.namespace, hers.key, "mine"),
    "items.push": lambda stores, hers: stores.items.push(hers.namespace, hers.key, "mine"),
    "items.delete": lambda stores, hers: stores.items.delete(hers.namespace, hers.key),
    "items.clear": lambda stores, hers: stores.items.clear(hers.namespace),
    "items.in_namespace": lambda stores, hers: stores.items.in_namespace(hers.namespace),
    "items.all": lambda stores, hers: stores.items.all(after=(hers.namespace[:-1], hers.key)),
    "items.namespaces": lambda stores, hers: stores.items.namespaces(hers.namespace[:1]),
    "items.keys": lambda stores, hers: stores.items.keys(hers.namespace),
    "snapshots.current": lambda stores, _: stores.snapshots.current(),
    "snapshots.as_of": lambda stores, hers: stores.snapshots.as_of(hers.version),
    "snapshots.history": lambda stores, hers: stores.snapshots.history(before=hers.version + 1),
    "snapshots.difference": lambda stores, hers: stores.snapshots.difference(0, hers.version),
    "snapshots.changes_since": lambda stores, hers: stores.snapshots.changes_since(hers.version),
    "snapshots.append": lambda stores, hers: stores.snapshots.append(
        {"summary": "mine"}, provenance=by_operator, idempotency_key=hers.idempotency_key
    ),
    "snapshots.edit": lambda stores, hers: stores.snapshots.edit(
        [NewValue("/summary", "mine")], provenance=by_operator, idempotency_key=hers.idempotency_key
    ),
    "snapshots.revert": lambda stores, hers: stores.snapshots.revert(hers.version, provenance=by_operator),
    "snapshots.accept": lambda stores, hers: stores.snapshots.accept(hers.pending_id, provenance=by_operator),
    "pending.get": lambda stores, hers: stores.pending.get(hers.pending_id),
    "pending.reject": lambda stores, hers: stores.pending.reject(hers.pending_id),
    "pending.hold": lambda stores, hers: stores.pending.hold(hers.version, [], [], by_operator),
    "pending.waiting": lambda stores, hers: stores.pending.waiting(),
    "profile.get": lambda stores, _: stores.profile.get(),
    "profile.set": lambda stores, _: stores.profile.set("mine"),
    "profile.delete": lambda stores, _: stores.profile.delete(),
    "conversations.append": lambda stores, hers: stores.conversations.append(
        hers.conversation, [NewMessage("user", "mine", external_id=hers.external_id)]
    ),
    "conversations.lock": lambda stores, _: stores.conversations.lock(),
    "conversations.messages": lambda stores, hers: stores.conversations.messages(hers.conversation),
    "conversations.since": lambda stores, _: stores.conversations.since(0),
    "conversations.latest": lambda stores, _: stores.conversations.latest(),
    "conversations.all": lambda stores, _: stores.conversations.all(),
    "conversations.totals": lambda stores, _: stores.conversations.totals(),
    "conversations.by_id": lambda stores, hers: stores.conversations.by_id(hers.conversation_id),
    "conversations.by_name": lambda stores, hers: stores.conversations.by_name(hers.conversation),
    "conversation_memories.get": lambda stores, hers: stores.conversation_memories.get(hers.conversation),
    "conversation_memories.set": lambda stores, hers: stores.conversation_memories.set(
        hers.conversation, {"summary": "mine"}, provenance=by_operator
    ),
    "conversation_memories.all": lambda stores, _: stores.conversation_memories.all(),
    "jobs.finish": lambda stores, hers: stores.jobs.finish(
        Lease("conversation", hers.conversation_id, hers.conversation_id, "default", uuid4(), 0), "updated"
    ),
    "jobs.go_on": lambda stores, hers: stores.jobs.go_on(
        Lease("conversation", hers.conversation_id, hers.conversation_id, "default", uuid4(), 0)
    ),
    "activity.note": lambda stores, _: stores.activity.note(),
    "cursors.seen": lambda stores, hers: stores.cursors.seen(hers.purpose),
    "cursors.all_seen": lambda stores, hers: stores.cursors.all_seen([hers.purpose, MESSAGES], held=True),
    "cursors.advance": lambda stores, hers: stores.cursors.advance(hers.purpose, hers.version + 1),
    "cursors.leave_behind": lambda stores, hers: stores.cursors.leave_behind(MESSAGES, hers.version + 1),
    "cursors.go_back": lambda stores, _: (stores.cursors.leave_behind(MESSAGES, 1), stores.cursors.go_back()),
}
"""Every public method of every store, called with everything that a stranger may know of Ada."""

UNKNOWN = Names(
    namespace="no-namespace",
    key="no-key",
    conversation="no-conversation",
    conversation_id=uuid4(),
    external_id="no-message",
    purpose="no-purpose",
    idempotency_key="no-request",
    pending_id=str(uuid4()),
    version=VERSIONS + 1_000,
)


def public_methods() -> Iterator[str]:
    """Yield `store.method` for every public method of every store."""
    for name, member in vars(Stores).items():
        if isinstance(member, property):
            store = get_type_hints(member.fget)["return"]
            for method, _ in inspect.getmembers(store, inspect.isfunction):
                if not method.startswith("_"):
                    yield f"{name}.{method}"


def test_every_public_method_of_every_store_has_its_case() -> None:
    assert sorted(CALLS) == sorted(public_methods())
    assert len(CALLS) > 20


@dataclass(frozen=True)
class Scene:
    """Ada with something in every table, and the names it has there."""

    database: Database
    administrator: sa.Engine
    ada: UUID
    hers: Names

    def new_person(self) -> UUID:
        return resolve(self.database, Identity.of(user=f"stranger {uuid4()}")).owner

    def betrayals(self, call: Call, opened_for: Callable[[UUID], UUID]) -> list[str]:
        """Return what a call with Ada's names tells or changes, by a person whose transactions `opened_for` binds."""
        before = rows_of(self.administrator, self.ada)
        with_hers = answers(self.database, opened_for(self.new_person()), call, self.hers)
        with_unknown = answers(self.database, self.new_person(), call, UNKNOWN)
        found = [answer for answer in with_hers if SECRET in answer]
        found += [
            f"{one} instead of {other}" for one, other in zip(with_hers, with_unknown, strict=True) if one != other
        ]
        return found + (["something of Ada's was changed"] if rows_of(self.administrator, self.ada) != before else [])


def answers(database: Database, owner: UUID, call: Call, names: Names) -> list[str]:
    """Return what a call answers in each kind of transaction, with a word in place of each name and id."""
    return [answer(opened(owner), call, names) for opened in (database.single, database.read, database.begin)]


def answer(opened: AbstractContextManager[Stores], call: Call, names: Names) -> str:
    try:
        with opened as stores:
            said = repr(call(stores, names))
    except (UserMemoryError, NeedsTransaction) as error:
        said = f"{type(error).__name__}: {error} {getattr(error, 'details', None)}"
    for field in ("namespace", "key", "conversation", "external_id", "purpose", "idempotency_key", "pending_id"):
        said = said.replace(getattr(names, field), f"<{field}>")
    said = re.sub(rf"\b({names.version}|{names.version + 1})\b", "<version>", said)
    return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<id>", said)


@pytest.fixture
def scene(clocked: Database, administrator: sa.Engine, clock: Clock) -> Scene:
    ada = resolve(clocked, Identity.of(user="ada")).owner
    hers = furnish(clocked, ada, "ada", SECRET)
    clock.move(60)
    return Scene(clocked, administrator, ada, hers)


@pytest.mark.parametrize("method", CALLS)
def test_a_stranger_is_answered_as_if_there_were_nothing(scene: Scene, method: str) -> None:
    assert scene.betrayals(CALLS[method], opened_for=lambda stranger: stranger) == []


SILENT = ("jobs.finish", "jobs.go_on")
"""Methods that nobody may ask who has no lease of a job: of the wrong person they give nothing away."""


@pytest.mark.parametrize("method", [method for method in CALLS if method not in SILENT])
def test_a_transaction_of_the_wrong_person_is_found(scene: Scene, method: str) -> None:
    assert scene.betrayals(CALLS[method], opened_for=lambda stranger: scene.ada)


def forgetful(stores: Stores, names: Names) -> list[str]:
    """Do what a store does that forgets the owner."""
    return list(stores.items._work.execute(sa.select(items.c.value).where(items.c.key == names.key)).scalars())


def test_a_store_that_forgets_the_owner_leaks_on_sqlite_and_is_held_by_row_security(
    scene: Scene, database_url: str
) -> None:
    with Database.open(database_url, clock=scene.database.clock) as unwatched:
        found = replace(scene, database=unwatched).betrayals(forgetful, opened_for=lambda stranger: stranger)
    assert bool(found) is not scene.database.on_postgresql


def test_a_store_that_forgets_the_owner_is_stopped_by_the_statement_guard(scene: Scene) -> None:
    with pytest.raises(UnpinnedStatement):
        scene.betrayals(forgetful, opened_for=lambda stranger: stranger)
