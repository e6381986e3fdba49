from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from threading import Barrier
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from storage.conversations import TOKEN_LIMIT, Message, NewMessage, Totals
from storage.database import Database
from storage.errors import InvalidInput, InvalidJson, InvalidName, NotFound, TooLarge
from storage.limits import MESSAGE_LIMIT
from storage.stores import Stores
from storage.tables import owners
from tests.clock import Clock
from tests.contents import Contents


def said(*texts: str) -> list[NewMessage]:
    return [NewMessage("user", text) for text in texts]


def test_messages_come_back_in_order(clocked: Database, ada: UUID, clock: Clock) -> None:
    spoken = datetime(2026, 11, 19, 23, 30, tzinfo=timezone(timedelta(hours=-5)))
    with clocked.begin(ada) as stores:
        kept = stores.conversations.append(
            "call-1",
            [
                NewMessage("user", "My name is Ada.", said_at=spoken, external_id="m1", metadata={"ms": 420}),
                NewMessage("assistant", [{"type": "text", "text": "Hello Ada."}]),
            ],
        )
    with clocked.read(ada) as stores:
        assert stores.conversations.messages("call-1").entries == kept
    assert kept == (
        Message(1, "call-1", "user", "My name is Ada.", spoken, "m1", {"ms": 420}),
        Message(2, "call-1", "assistant", [{"type": "text", "text": "Hello Ada."}], clock.now, None, {}),
    )


def test_numbers_run_over_all_conversations_of_a_person(database: Database, ada: UUID, bob: UUID) -> None:
    with database.begin(ada) as stores:
        stores.conversations.append("call-1", said("one"))
        stores.conversations.append("call-2", said("two", "three"))
    with database.begin(bob) as stores:
        assert [message.number for message in stores.conversations.append("call-1", said("hello"))] == [1]
    with database.begin(ada) as stores:
        stores.conversations.append("call-1", said("four"))
        assert numbered(stores, "call-1") == [(1, "one"), (4, "four")]
        assert numbered(stores, "call-2") == [(2, "two"), (3, "three")]
        everywhere = stores.conversations.since(0).entries
    assert [(message.number, message.conversation) for message in everywhere] == [
        (1, "call-1"),
        (2, "call-2"),
        (3, "call-2"),
        (4, "call-1"),
    ]


def numbered(stores: Stores, conversation: str) -> list[tuple[int, Any]]:
    return [(message.number, message.content) for message in stores.conversations.messages(conversation).entries]


def test_an_external_id_is_kept_once_in_its_conversation(database: Database, ada: UUID) -> None:
    first = [NewMessage("user", "one", external_id="a"), NewMessage("user", "two", external_id="b")]
    with database.begin(ada) as stores:
        assert len(stores.conversations.append("call-1", first)) == 2
        assert stores.conversations.append("call-1", first) == ()
        again = [*first, NewMessage("user", "three", external_id="c"), NewMessage("user", "three!", external_id="c")]
        assert [message.content for message in stores.conversations.append("call-1", again)] == ["three"]
        assert len(stores.conversations.append("call-2", first)) == 2
        assert numbered(stores, "call-1") == [(1, "one"), (2, "two"), (3, "three")]


def test_messages_without_an_id_are_all_kept(database: Database, ada: UUID) -> None:
    with database.begin(ada) as stores:
        for _ in range(2):
            stores.conversations.append("call-1", said("yes", "yes"))
        assert numbered(stores, "call-1") == [(1, "yes"), (2, "yes"), (3, "yes"), (4, "yes")]


def test_nothing_said_leaves_nothing(database: Database, ada: UUID, contents: Callable[[], Contents]) -> None:
    before = contents()
    with database.begin(ada) as stores:
        assert stores.conversations.append("call-1", []) == ()
    assert contents() == before


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (NewMessage("narrator", "x"), InvalidInput),
        (NewMessage("user", float("nan")), InvalidJson),
        (NewMessage("user", "\ud800"), InvalidJson),
        (NewMessage("user", "x" * MESSAGE_LIMIT), TooLarge),
        (NewMessage("user", "x", said_at=datetime(2026, 11, 20)), InvalidInput),
        (NewMessage("user", "x", external_id=""), InvalidName),
        (NewMessage("user", "x", external_id="\0"), InvalidName),
        (NewMessage("user", "x", metadata={"a": b"x"}), InvalidJson),
        (NewMessage("user", "x", tokens=-1), InvalidInput),
        (NewMessage("user", "x", tokens=True), InvalidInput),
        (NewMessage("user", "x", tokens=1.0), InvalidInput),  # type: ignore[arg-type]
        (NewMessage("user", "x", tokens="7"), InvalidInput),  # type: ignore[arg-type]
        (NewMessage("user", "x", tokens=TOKEN_LIMIT + 1), InvalidInput),
    ],
)
def test_one_bad_message_keeps_all_of_them_out(
    database: Database, ada: UUID, contents: Callable[[], Contents], message: NewMessage, error: type[Exception]
) -> None:
    before = contents()
    with database.begin(ada) as stores, pytest.raises(error):
        stores.conversations.append("call-1", [*said("good"), message])
    assert contents() == before


@pytest.mark.parametrize(
    "members",
    [
        {"role": "user"},
        {"content": "x"},
        {"role": "user", "content": "x", "text": "y"},
        {"role": "user", "content": "x", "user_id": "bob"},
    ],
)
def test_a_mapping_that_is_no_message_is_refused(members: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        NewMessage.of(members)


@pytest.mark.parametrize(
    "members",
    [
        {"role": "user", "content": "x", "said_at": "2026-11-20T09:00:00Z"},
        {"role": "user", "content": "x", "metadata": ["a"]},
        {"role": "user", "content": "x", "metadata": "a"},
        {"role": ["user"], "content": "x"},
        {"role": "user", "content": "x", "external_id": 7},
    ],
)
def test_a_member_of_the_wrong_kind_is_refused(database: Database, ada: UUID, members: dict[str, Any]) -> None:
    with database.begin(ada) as stores, pytest.raises(InvalidInput):
        stores.conversations.append("call-1", [NewMessage.of(members)])


@pytest.mark.parametrize("name", ["", "\0", "\ud800", "a\nb", "x" * 257])
def test_a_bad_name_is_no_conversation(database: Database, ada: UUID, name: str) -> None:
    with database.begin(ada) as stores:
        with pytest.raises(InvalidName):
            stores.conversations.append(name, said("x"))
        with pytest.raises(InvalidName):
            stores.conversations.messages(name)


def test_a_conversation_that_never_was_is_not_found(database: Database, ada: UUID) -> None:
    with database.read(ada) as stores, pytest.raises(NotFound, match="'call-9'"):
        stores.conversations.messages("call-9")


def test_pages_show_every_message_once(database: Database, ada: UUID) -> None:
    with database.begin(ada) as stores:
        stores.conversations.append("call-1", said(*map(str, range(7))))
        stores.conversations.append("call-2", said("other"))
        seen: list[Any] = []
        after: int | None = 0
        while after is not None:
            page = stores.conversations.messages("call-1", limit=3, after=after)
            seen += [message.content for message in page.entries]
            after = page.next
        assert seen == list(map(str, range(7)))
        assert stores.conversations.since(0, limit=8).next is None
        assert stores.conversations.since(0, limit=7).next == 7
        assert [message.number for message in stores.conversations.since(6).entries] == [7, 8]
        for beyond in (8, 2**63, 2**200):
            assert stores.conversations.since(beyond).entries == ()
            assert stores.conversations.messages("call-1", after=beyond).entries == ()


def test_conversations_are_listed_by_their_newest_message(clocked: Database, ada: UUID, clock: Clock) -> None:
    for name in ("call-1", "call-2", "call-3", "call-1"):
        with clocked.begin(ada) as stores:
            stores.conversations.append(name, said("x", "y"))
        clock.move(1)
    with clocked.read(ada) as stores:
        page = stores.conversations.all(limit=2)
        assert [(each.name, each.message_count) for each in page.entries] == [("call-1", 4), ("call-3", 2)]
        assert page.next is not None
        rest = stores.conversations.all(limit=2, after=page.next)
        assert [each.name for each in rest.entries] == ["call-2"]
        assert rest.next is None


def test_a_message_seen_before_does_not_move_its_conversation(clocked: Database, ada: UUID, clock: Clock) -> None:
    known = [NewMessage("user", "x", external_id="a")]
    with clocked.begin(ada) as stores:
        stores.conversations.append("call-1", known)
    clock.move(1)
    with clocked.begin(ada) as stores:
        stores.conversations.append("call-1", known)
        assert stores.conversations.all().entries[0].updated_at == datetime(2026, 11, 20, 9, tzinfo=UTC)


NOTHING = Totals(0, 0, 0, None)


def totals(database: Database, owner: UUID) -> Totals:
    with database.read(owner) as stores:
        return stores.conversations.totals()


def token_counts(database: Database, owner: UUID) -> dict[str, int]:
    with database.read(owner) as stores:
        return {each.name: each.token_count for each in stores.conversations.all().entries}


def test_what_messages_cost_is_counted_for_the_conversation_and_the_person(
    clocked: Database, ada: UUID, bob: UUID, clock: Clock
) -> None:
    with clocked.begin(ada) as stores:
        stores.conversations.append("call-1", [NewMessage("user", "one", tokens=5), NewMessage("user", "free")])
        stores.conversations.append("call-2", [NewMessage("user", "two", tokens=7)])
    later = clock.move(60)
    with clocked.begin(ada) as stores:
        stores.conversations.append("call-1", [NewMessage.of({"role": "user", "content": "three", "tokens": 11})])
        assert stores.conversations.totals() == Totals(2, 4, 23, later)
    assert totals(clocked, ada) == Totals(2, 4, 23, later)
    assert token_counts(clocked, ada) == {"call-1": 16, "call-2": 7}
    assert totals(clocked, bob) == NOTHING


def test_a_message_seen_before_is_not_counted_again(clocked: Database, ada: UUID, clock: Clock) -> None:
    known = [NewMessage("user", "x", external_id="a", tokens=5)]
    with clocked.begin(ada) as stores:
        stores.conversations.append("call-1", [*known, *known])
    once = Totals(1, 1, 5, clock.now)
    assert totals(clocked, ada) == once
    later = clock.move(1)
    with clocked.begin(ada) as stores:
        stores.conversations.append("call-1", known)
    assert totals(clocked, ada) == once
    assert token_counts(clocked, ada) == {"call-1": 5}
    with clocked.begin(ada) as stores:
        stores.conversations.append("call-1", [*known, NewMessage("user", "y", external_id="b", tokens=6)])
    assert totals(clocked, ada) == Totals(1, 2, 11, later)
    assert token_counts(clocked, ada) == {"call-1": 11}


def test_what_is_not_kept_is_not_counted(database: Database, ada: UUID) -> None:
    with database.begin(ada) as stores, pytest.raises(InvalidInput):
        stores.conversations.append("call-1", [NewMessage("user", "x", tokens=5), NewMessage("nobody", "y", tokens=5)])
    with pytest.raises(NotFound):
        keep_and_fail(database, ada)
    assert totals(database, ada) == NOTHING


def keep_and_fail(database: Database, owner: UUID) -> None:
    with database.begin(owner) as stores:
        stores.conversations.append("call-1", [NewMessage("user", "x", tokens=5)])
        stores.conversations.messages("call-9")


def test_totals_hold_the_branches_merged_into_a_person(
    clocked: Database, ada: UUID, bob: UUID, clock: Clock, administrator: sa.Engine
) -> None:
    for owner in (ada, bob):
        with clocked.begin(owner) as stores:
            stores.conversations.append("call-1", [NewMessage("user", "x", tokens=5)])
        clock.move(1)
    with clocked.begin(ada) as stores:
        stores.conversations.append("call-2", [NewMessage("user", "y", tokens=1)])
    latest = clock.now
    with administrator.begin() as connection:
        connection.execute(sa.update(owners).where(owners.c.id == bob).values(survivor_id=ada, merged_into=ada))
    assert totals(clocked, ada) == totals(clocked, bob) == Totals(3, 3, 11, latest)


def test_nobody_has_said_anything(database: Database, ada: UUID) -> None:
    with database.begin(ada) as stores:
        stores.conversations.append("call-1", said("x"))
    with database.nobody() as stores:
        assert stores.conversations.totals() == NOTHING


def test_no_sum_of_tokens_overflows(database: Database, ada: UUID) -> None:
    with database.begin(ada) as stores:
        stores.conversations.append("call-1", [NewMessage("user", "x", tokens=TOKEN_LIMIT)] * 3)
    assert totals(database, ada).tokens == 3 * TOKEN_LIMIT


def test_a_time_without_zone_names_no_moment(database: Database, ada: UUID) -> None:
    with database.read(ada) as stores, pytest.raises(InvalidInput, match="zone"):
        stores.conversations.all(after="2026-11-20")


def test_nothing_has_been_seen_at_first(database: Database, ada: UUID) -> None:
    with database.read(ada) as stores:
        assert stores.cursors.seen("update") == 0


def test_a_cursor_goes_on_and_never_back(database: Database, ada: UUID) -> None:
    with database.begin(ada) as stores:
        for number, standing in [(3, 3), (5, 5), (4, 5), (5, 5), (0, 5)]:
            stores.cursors.advance("update", number)
            assert stores.cursors.seen("update") == standing


def test_each_purpose_has_its_own_cursor(database: Database, ada: UUID, bob: UUID) -> None:
    with database.begin(ada) as stores:
        stores.cursors.advance("update", 3)
        stores.cursors.advance("chunks", 1)
        assert (stores.cursors.seen("update"), stores.cursors.seen("chunks")) == (3, 1)
    with database.read(bob) as stores:
        assert stores.cursors.seen("update") == 0


@pytest.mark.parametrize("purpose", ["", "\0", "\ud800", "x" * 257])
def test_a_purpose_is_a_name(database: Database, ada: UUID, purpose: str) -> None:
    with database.begin(ada) as stores:
        with pytest.raises(InvalidName):
            stores.cursors.advance(purpose, 1)
        with pytest.raises(InvalidName):
            stores.cursors.seen(purpose)


def test_a_cursor_stands_where_a_message_can_be(database: Database, ada: UUID) -> None:
    with database.begin(ada) as stores:
        for number in (-1, 2**63):
            with pytest.raises(InvalidInput):
                stores.cursors.advance("update", number)


def test_what_is_new_is_found_exactly_once_whatever_the_outcome(database: Database, ada: UUID) -> None:
    found: list[int] = []
    for turn in range(6):
        with database.begin(ada) as stores:
            stores.conversations.append(f"call-{turn % 2}", said("one", "two"))
        if turn in (1, 4):  # the update fails before its outcome is recorded: the cursor stays with it
            with pytest.raises(InvalidInput):
                update_that_fails(database, ada)
            continue
        with database.begin(ada) as stores:
            new = gather(stores)
            stores.cursors.advance("update", new[-1])
        found += new
    assert found == list(range(1, 13))


def update_that_fails(database: Database, owner: UUID) -> None:
    with database.begin(owner) as stores:
        stores.cursors.advance("update", gather(stores)[-1])
        stores.conversations.append("call-1", [NewMessage("nobody", "x")])


def gather(stores: Stores) -> list[int]:
    page = stores.conversations.since(stores.cursors.seen("update"))
    return [message.number for message in page.entries]


def test_the_latest_are_the_newest_in_order_of_some_roles_and_other_conversations(
    database: Database, ada: UUID, bob: UUID
) -> None:
    with database.begin(ada) as stores:
        for number in range(6):
            role = "tool" if number == 4 else "user"
            stores.conversations.append(f"call-{number % 2}", [NewMessage(role, f"m{number}")])
    with database.begin(bob) as stores:
        stores.conversations.append("call-0", [NewMessage("user", "bob's")])
    with database.read(ada) as stores:
        latest = stores.conversations.latest

        def said(**which: Any) -> list[Any]:
            return [message.content for message in latest(**which)]

        assert said(limit=3) == ["m3", "m4", "m5"]
        assert said(limit=3, roles=("user",)) == ["m2", "m3", "m5"]
        assert said(limit=9, besides="call-1") == ["m0", "m2", "m4"]
        assert said(after=4) == ["m4", "m5"]
        assert said(after=6) == []
        with pytest.raises(InvalidInput):
            latest(limit=0)


def test_who_locks_the_numbers_is_told_the_last_one_and_lets_nobody_else_add(database: Database, ada: UUID) -> None:
    together = Barrier(4)

    def add_if_nobody_did(_: int) -> int:
        together.wait()
        with database.begin(ada) as stores:
            last = stores.conversations.lock()
            assert last == stores.conversations.totals().messages
            return len(stores.conversations.append("call-1", said("x", "y") if last == 0 else ()))

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(add_if_nobody_did, range(4))) == [0, 0, 0, 2]


def test_of_nobody_no_numbers_can_be_locked(database: Database) -> None:
    with database.nobody() as stores:
        with pytest.raises(NotFound):
            stores.conversations.lock()
        with pytest.raises(NotFound):
            stores.conversations.append("call-1", said("x"))


def test_stores_say_what_time_it_is(clocked: Database, ada: UUID, clock: Clock) -> None:
    with clocked.read(ada) as stores:
        assert stores.now == clock.now
        clock.move(60)
        assert stores.now == clock.now
