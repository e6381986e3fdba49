from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from storage.conversations import NewMessage
from storage.database import Database
from storage.directory import resolve
from storage.erase import erase
from storage.errors import UnsafeRole
from storage.identity import Identity
from storage.provenance import by_user
from storage.tables import owners
from storage.work.eligible import (
    LEFT_ALONE,
    ON_ITS_WAY,
    SEEN_LATE,
    Subject,
    active_people,
    ended_conversations,
    whose_conversation,
)
from storage.work.job_store import Lease
from storage.work.jobs import fail, retry
from storage.work.leases import NotEligible, extend, lease
from storage.work.opening import open_batch
from tests.clock import Clock

TWO_HOURS = timedelta(hours=2)


def talk(database: Database, owner: UUID, name: str = "call-1") -> UUID:
    """Say something now, and return the id of the conversation."""
    with database.begin(owner) as stores:
        stores.conversations.append(name, [NewMessage("user", "x")])
        return next(each.id for each in stores.conversations.all().entries if each.name == name)


def ended(database: Database, organization: str | None = None) -> list[UUID]:
    found = ended_conversations(database, inactive_for=TWO_HOURS, organization=organization)
    return [each.id for each in found]


def ids(found: Iterable[Subject]) -> set[UUID]:
    return {each.id for each in found}


def merge(administrator: sa.Engine, loser: UUID, survivor: UUID) -> None:
    with administrator.begin() as connection:
        closed = {"survivor_id": survivor, "merged_into": survivor}
        connection.execute(sa.update(owners).where(owners.c.id == loser).values(closed))


def test_a_conversation_is_eligible_once_nothing_was_said_for_so_long(
    clocked_worker: Database, ada: UUID, clock: Clock
) -> None:
    conversation = talk(clocked_worker, ada)
    clock.move(7_199)
    assert ended(clocked_worker) == []
    clock.move(1)
    assert ended(clocked_worker) == [conversation]
    assert ended_conversations(clocked_worker, inactive_for=TWO_HOURS) == [Subject(conversation, ada, "default")]
    talk(clocked_worker, ada)
    assert ended(clocked_worker) == []


def test_it_is_not_eligible_once_it_is_remembered_until_more_was_said(
    clocked_worker: Database, ada: UUID, clock: Clock
) -> None:
    conversation = talk(clocked_worker, ada)
    clock.move(7_200)
    with clocked_worker.begin(ada) as stores:
        stores.conversation_memories.set("call-1", {}, provenance=by_user)
    assert ended(clocked_worker) == []
    talk(clocked_worker, ada)
    clock.move(7_200)
    assert ended(clocked_worker) == [conversation]


def test_old_messages_that_are_imported_have_ended_already(clocked_worker: Database, ada: UUID, clock: Clock) -> None:
    with clocked_worker.begin(ada) as stores:
        old = NewMessage("user", "x", clock.now - timedelta(days=30))
        stores.conversations.append("call-1", [old])
    assert len(ended(clocked_worker)) == 1


def test_the_oldest_come_first_of_one_organization_or_of_all(
    clocked_worker: Database, ada: UUID, bob: UUID, clock: Clock
) -> None:
    eve = resolve(clocked_worker, Identity.of(organization="other", user="eve")).owner
    wanted = []
    for owner, name in ((bob, "call-1"), (ada, "call-1"), (eve, "call-1"), (bob, "call-2")):
        wanted.append(talk(clocked_worker, owner, name))
        clock.move(1)
    clock.move(7_200)
    assert ended(clocked_worker) == wanted
    assert ended(clocked_worker, "other") == wanted[2:3]
    assert ended(clocked_worker, "default") == [wanted[0], wanted[1], wanted[3]]
    assert ended(clocked_worker, "nobody's") == []


def test_what_somebody_is_about_to_do_is_left_out(clocked_worker: Database, ada: UUID, clock: Clock) -> None:
    conversation = talk(clocked_worker, ada)
    clock.move(7_200)
    open_batch(clocked_worker, "conversations", ended_conversations(clocked_worker, inactive_for=TWO_HOURS))
    assert ended(clocked_worker) == []
    clock.move(ON_ITS_WAY.total_seconds() - 1)
    assert ended(clocked_worker) == []
    held = lease(clocked_worker, "conversation", conversation, seconds=60)
    assert isinstance(held, Lease)
    clock.move(59)
    assert ended(clocked_worker) == []
    clock.move(1)
    assert ended(clocked_worker) == [conversation]  # its worker is gone
    held = lease(clocked_worker, "conversation", conversation, seconds=60)
    assert isinstance(held, Lease)
    failed = fail(clocked_worker, held, "summarizer_failed")
    assert failed is not None
    assert failed.next_attempt_at is not None
    assert ended(clocked_worker) == []
    clock.now = failed.next_attempt_at
    assert ended(clocked_worker) == [conversation]


def test_a_message_that_was_lost_is_looked_for_again(clocked_worker: Database, ada: UUID, clock: Clock) -> None:
    conversation = talk(clocked_worker, ada)
    clock.move(7_200)
    open_batch(clocked_worker, "conversations", ended_conversations(clocked_worker, inactive_for=TWO_HOURS))
    clock.move(ON_ITS_WAY.total_seconds())
    assert ended(clocked_worker) == [conversation]


def test_the_dead_stay_dead_until_something_new_is_said_or_an_operator_says_so(
    clocked_worker: Database, ada: UUID, clock: Clock
) -> None:
    conversation = talk(clocked_worker, ada)
    clock.move(7_200)

    def die() -> None:
        held = lease(clocked_worker, "conversation", conversation, seconds=60)
        assert isinstance(held, Lease)
        fail(clocked_worker, held, "summarizer_failed", attempts=1)

    die()
    clock.move(1_000_000)
    assert ended(clocked_worker) == []
    talk(clocked_worker, ada)
    assert ended(clocked_worker) == []
    clock.move(7_200)
    assert ended(clocked_worker) == [conversation]
    die()
    clock.move(1)
    assert ended(clocked_worker) == []
    retry(clocked_worker, "conversation", conversation)
    assert ended(clocked_worker) == [conversation]


def test_a_lease_that_was_given_back_is_free(clocked_worker: Database, ada: UUID, clock: Clock) -> None:
    conversation = talk(clocked_worker, ada)
    clock.move(7_200)
    held = lease(clocked_worker, "conversation", conversation, seconds=60)
    assert isinstance(held, Lease)
    assert extend(clocked_worker, held, 0)
    assert ended(clocked_worker) == [conversation]


def test_what_a_worker_skipped_is_left_alone_for_a_day_or_until_something_new_is_said(
    clocked_worker: Database, ada: UUID, clock: Clock
) -> None:
    conversation = talk(clocked_worker, ada)
    clock.move(7_200)

    def skip() -> None:
        held = lease(clocked_worker, "conversation", conversation, seconds=60)
        assert isinstance(held, Lease)
        with clocked_worker.begin(ada) as stores:
            stores.jobs.finish(held, "skipped")

    skip()
    assert ended(clocked_worker) == []
    clock.move(LEFT_ALONE.total_seconds())
    assert ended(clocked_worker) == [conversation]
    skip()
    clock.move(1)
    talk(clocked_worker, ada)
    clock.move(7_200)
    assert ended(clocked_worker) == [conversation]


def test_what_went_on_when_its_turn_came_is_not_left_alone(clocked_worker: Database, ada: UUID, clock: Clock) -> None:
    conversation = talk(clocked_worker, ada)
    clock.move(7_200)
    open_batch(clocked_worker, "conversations", ended_conversations(clocked_worker, inactive_for=TWO_HOURS))
    talk(clocked_worker, ada)
    assert lease(clocked_worker, "conversation", conversation, seconds=60) == NotEligible("not_ended")
    clock.move(7_200)
    assert ended(clocked_worker) == [conversation]


def test_in_a_merged_branch_nothing_is_eligible(
    clocked_worker: Database, ada: UUID, bob: UUID, clock: Clock, administrator: sa.Engine
) -> None:
    conversation = talk(clocked_worker, bob)
    clock.move(7_200)
    merge(administrator, bob, ada)
    assert ended(clocked_worker) == []
    assert whose_conversation(clocked_worker, conversation) == Subject(conversation, ada, "default")


def test_people_are_active_by_what_was_said_by_items_or_because_the_host_said_so(
    clocked_worker: Database, ada: UUID, bob: UUID, clock: Clock, administrator: sa.Engine
) -> None:
    since = clock.now - timedelta(hours=24)
    assert active_people(clocked_worker, since=since) == []
    talk(clocked_worker, ada)
    assert active_people(clocked_worker, since=since) == [Subject(ada, ada, "default")]
    assert active_people(clocked_worker, since=clock.now) == [Subject(ada, ada, "default")]
    with clocked_worker.begin(bob) as stores:
        stores.items.set("prefs", "tone", "warm")
    assert ids(active_people(clocked_worker, since=since)) == {ada, bob}
    eve = resolve(clocked_worker, Identity.of(organization="other", user="eve")).owner
    with administrator.begin() as connection:
        said_so = sa.update(owners).where(owners.c.id == eve).values(last_active_at=clock.now)
        connection.execute(said_so)
    assert ids(active_people(clocked_worker, since=since)) == {ada, bob, eve}
    assert active_people(clocked_worker, since=since, organization="other") == [Subject(eve, eve, "other")]


def test_a_message_that_could_not_be_seen_at_once_falls_between_no_two_looks(
    clocked_worker: Database, ada: UUID, clock: Clock
) -> None:
    talk(clocked_worker, ada)
    assert active_people(clocked_worker, since=clock.now + SEEN_LATE) == [Subject(ada, ada, "default")]
    assert active_people(clocked_worker, since=clock.now + SEEN_LATE + timedelta(seconds=1)) == []


def test_a_merged_person_is_active_as_the_other(
    clocked_worker: Database, ada: UUID, bob: UUID, clock: Clock, administrator: sa.Engine
) -> None:
    for owner in (ada, bob):
        talk(clocked_worker, owner)
    merge(administrator, bob, ada)
    assert active_people(clocked_worker, since=clock.now) == [Subject(ada, ada, "default")]


def test_whoever_is_erased_is_found_no_more(clocked_worker: Database, ada: UUID, clock: Clock) -> None:
    conversation = talk(clocked_worker, ada)
    clock.move(7_200)
    erase(clocked_worker, ada)
    assert ended(clocked_worker) == []
    assert active_people(clocked_worker, since=clock.now - timedelta(hours=24)) == []
    assert whose_conversation(clocked_worker, conversation) is None
    assert whose_conversation(clocked_worker, uuid4()) is None


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)  # on SQLite there is one role
def test_the_application_finds_nobodys_conversations(clocked: Database, ada: UUID) -> None:
    with pytest.raises(UnsafeRole):
        ended_conversations(clocked, inactive_for=TWO_HOURS)
