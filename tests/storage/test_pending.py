from collections.abc import Callable
from uuid import UUID

import pytest
import sqlalchemy as sa
from uuid_utils.compat import uuid7

from storage.database import Database
from storage.errors import InvalidInput, NotFound, VersionConflict
from storage.json_types import Document
from storage.outcome import Held, Saved, Unchanged
from storage.pending import PendingVersion
from storage.provenance import Actor, Provenance, Trust, by_agent, by_operator, by_user
from tests.clock import Clock
from tests.contents import Contents, canonically, proven_versions

BY_MODEL = Provenance(Actor.AGENT, "loop", messages=[7], model="scripted", why="It was said.")
NOTES = {"summary": "Ada.", "safety_notes": "Never mention the flood."}
REWRITTEN = {"summary": "Ada.", "safety_notes": "The flood is fine."}


def hold(database: Database, owner: UUID, document: Document = REWRITTEN) -> Held:
    with database.begin(owner) as stores:
        held = stores.snapshots.append(document, provenance=BY_MODEL)
    assert isinstance(held, Held)
    return held


@pytest.fixture
def noted(database: Database, ada: UUID) -> UUID:
    """A person whose safety notes stand at version 1."""
    with database.begin(ada) as stores:
        assert stores.snapshots.append(NOTES, provenance=by_user).version == 1
    return ada


def test_a_held_change_waits_and_the_version_in_force_is_untouched(
    clocked: Database, noted: UUID, clock: Clock
) -> None:
    held = hold(clocked, noted)
    assert (held.version, [objection.rule for objection in held.objections]) == (1, ["protected", "text_replaced"][:1])
    with clocked.read(noted) as stores:
        assert stores.snapshots.current().document["safety_notes"] == "Never mention the flood."
        (waiting,) = stores.pending.waiting().entries
        assert stores.pending.get(held.pending_id) == waiting
    assert waiting == PendingVersion(held.pending_id, 1, held.patch, held.objections, BY_MODEL, clock.now)
    assert waiting.reason == held.objections[0].message


def test_an_accepted_change_is_the_next_version(database: Database, noted: UUID, administrator: sa.Engine) -> None:
    held = hold(database, noted)
    with database.begin(noted) as stores:
        accepted = stores.snapshots.accept(held.pending_id, provenance=by_operator)
    assert accepted == Saved(2, held.patch)
    assert proven_versions(administrator, noted)[-1] == canonically(REWRITTEN)
    with database.read(noted) as stores:
        assert stores.pending.waiting().entries == ()
        by = stores.snapshots.history(limit=1).entries[0].provenance
    assert (by.actor, by.trust) == (Actor.OPERATOR, Trust.OPERATOR)
    assert (by.messages, by.model, by.why) == ((7,), "scripted", "It was said.")


def test_an_accepted_change_joins_what_was_saved_since(database: Database, noted: UUID) -> None:
    held = hold(database, noted)
    with database.begin(noted) as stores:
        stores.snapshots.append(NOTES | {"mood": "calm"}, provenance=by_user)
    with database.begin(noted) as stores:
        accepted = stores.snapshots.accept(held.pending_id, provenance=by_operator)
        assert isinstance(accepted, Saved)
        assert (accepted.version, accepted.merged) == (3, True)
        document = stores.snapshots.current().document
    assert (document["mood"], document["safety_notes"]) == ("calm", "The flood is fine.")


def test_a_change_that_no_longer_fits_stays_pending(
    database: Database, noted: UUID, contents: Callable[[], Contents]
) -> None:
    held = hold(database, noted)
    with database.begin(noted) as stores:
        stores.snapshots.append(NOTES | {"safety_notes": "Ask Ines."}, provenance=by_operator)
    before = contents()
    with pytest.raises(VersionConflict) as refused, database.begin(noted) as stores:
        stores.snapshots.accept(held.pending_id, provenance=by_operator)
    assert refused.value.conflicts[0]["pointer"] == "/safety_notes"
    assert contents() == before


def test_a_change_that_was_made_meanwhile_waits_no_longer(database: Database, noted: UUID) -> None:
    held = hold(database, noted)
    with database.begin(noted) as stores:
        stores.snapshots.append(REWRITTEN, provenance=by_operator)
        assert stores.snapshots.accept(held.pending_id, provenance=by_operator) == Unchanged(2)
        assert stores.pending.waiting().entries == ()


def test_a_rejected_change_is_dropped(database: Database, noted: UUID, administrator: sa.Engine) -> None:
    held = hold(database, noted)
    with database.begin(noted) as stores:
        stores.pending.reject(held.pending_id)
    assert len(proven_versions(administrator, noted)) == 1
    with database.begin(noted) as stores:
        for gone in (
            lambda: stores.pending.get(held.pending_id),
            lambda: stores.pending.reject(held.pending_id),
            lambda: stores.snapshots.accept(held.pending_id, provenance=by_operator),
        ):
            with pytest.raises(NotFound):
                gone()


def test_a_change_is_decided_on_once(database: Database, noted: UUID) -> None:
    held = hold(database, noted)
    with database.begin(noted) as stores:
        stores.snapshots.accept(held.pending_id, provenance=by_operator)
    for _ in range(2):
        with database.begin(noted) as stores, pytest.raises(NotFound):
            stores.snapshots.accept(held.pending_id, provenance=by_operator)
    with database.read(noted) as stores:
        assert stores.snapshots.current().version == 2


@pytest.mark.parametrize("by", [by_user, by_agent("loop")], ids=["user", "agent"])
def test_nobody_but_an_operator_brings_a_held_change_into_force(
    database: Database, noted: UUID, by: Provenance
) -> None:
    held = hold(database, noted)
    with database.begin(noted) as stores:
        assert isinstance(stores.snapshots.accept(held.pending_id, provenance=by), Held)
        assert stores.snapshots.current().version == 1
        assert len(stores.pending.waiting().entries) == 1


@pytest.mark.parametrize("unknown", [str(uuid7()), "", "1", "x" * 36, "\0", "../../etc"])
def test_an_unknown_id_is_not_found(database: Database, noted: UUID, unknown: str) -> None:
    hold(database, noted)
    with database.begin(noted) as stores:
        with pytest.raises(NotFound):
            stores.pending.get(unknown)
        with pytest.raises(NotFound):
            stores.pending.reject(unknown)
        with pytest.raises(NotFound):
            stores.snapshots.accept(unknown, provenance=by_operator)
        assert len(stores.pending.waiting().entries) == 1


def test_what_waits_is_listed_oldest_first_in_pages(database: Database, noted: UUID) -> None:
    held = [hold(database, noted, REWRITTEN | {"n": number}).pending_id for number in range(5)]
    seen: list[str] = []
    after: str | None = None
    with database.read(noted) as stores:
        for size in (2, 2, 1):
            page = stores.pending.waiting(limit=2, after=after)
            assert len(page.entries) == size
            seen += [pending.id for pending in page.entries]
            after = page.next
        with pytest.raises(InvalidInput):
            stores.pending.waiting(limit=0)
    assert (seen, after) == (held, None)


def test_a_first_version_can_be_held_and_accepted(database: Database, ada: UUID) -> None:
    untrusted = Provenance(Actor.TOOL, "mcp")
    with database.begin(ada) as stores:
        held = stores.snapshots.append({"summary": "From a web page."}, provenance=untrusted)
        assert isinstance(held, Held)
        assert stores.snapshots.current().version == 0
        assert stores.snapshots.accept(held.pending_id, provenance=by_operator).version == 1
