"""Many at once: nobody's write is lost, nothing is done twice, and there is one person behind one name."""

import threading
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import pytest
import sqlalchemy as sa
from uuid_utils.compat import uuid7

from memory_tools.memory import Memory
from storage.conversations import NewMessage
from storage.database import Database
from storage.directory import find, require_one_person, resolve
from storage.errors import IdempotencyKeyReused, NotFound, UserMemoryError, VersionConflict
from storage.identity import Identity
from storage.outcome import Held, Saved
from storage.provenance import by_agent, by_operator, by_user
from tests.conftest import waits_for_a_lock
from tests.contents import Contents, administrators_engine, proven_versions
from tests.memory_tools.events import PATIENCE, eventually
from tests.writers import Writers

MANY = 20
PHONE = "+16502530000"

Answer = TypeVar("Answer")


def at_once(act: Callable[[int], Answer], times: int = MANY) -> list[Answer | UserMemoryError]:
    """Return what `act` returned, or which of our errors it raised, in as many threads that begin together."""
    together = threading.Barrier(times)
    answers: dict[int, Answer | UserMemoryError] = {}

    def run(number: int) -> None:
        together.wait()
        try:
            answers[number] = act(number)
        except UserMemoryError as error:
            answers[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [answers[number] for number in range(times)]


@pytest.mark.parametrize(
    ("names", "identities"),
    [
        ({"user": "ada"}, 1),
        ({"phone": PHONE}, 1),
        ({"user": "ada", "phone": PHONE}, 1),
        ({"user": "ada", "phone": PHONE, "phone_verified": True}, 2),
    ],
    ids=["user", "phone", "both", "verified"],
)
def test_twenty_racing_first_contacts_make_one_owner(
    database: Database, contents: Callable[[], Contents], names: dict[str, Any], identities: int
) -> None:
    for organization in ("one", "two", "three"):
        identity = Identity.of(organization=organization, **names)
        assert len(set(at_once(lambda _, identity=identity: resolve(database, identity)))) == 1  # type: ignore[misc]
    left = contents()
    assert (len(left["owners"]), len(left["identities"])) == (3, 3 * identities)


def test_racing_first_contacts_under_a_user_and_a_number_make_no_stray_owner(
    database: Database, contents: Callable[[], Contents]
) -> None:
    identities = [
        Identity.of(user="ada", phone=PHONE, phone_verified=True),
        Identity.of(user="ada"),
        Identity.of(phone=PHONE),
    ]
    at_once(lambda number: resolve(database, identities[number % 3]))
    left = contents()
    named = {row[3] for row in left["identities"]}
    assert {row[0] for row in left["owners"]} == named
    assert len(left["identities"]) == 2


def test_two_new_users_with_one_verified_number_do_not_share_a_memory(
    database: Database, contents: Callable[[], Contents]
) -> None:
    """Both verified the number of a caller who has no user yet: the first one is that caller, the others are not."""
    caller = require_one_person(resolve(database, Identity.of(phone=PHONE)))
    users = [Identity.of(user=f"user-{number}", phone=PHONE, phone_verified=True) for number in range(MANY)]
    found: list[Any] = at_once(lambda number: resolve(database, users[number]))
    assert [each.owner for each in found].count(caller) == 1
    assert {each.other for each in found} == {caller, None}
    assert len(contents()["owners"]) == MANY


@pytest.mark.parametrize("backend", ["postgresql"])  # SQLite has one writer at a time
def test_a_second_new_user_waits_for_the_first_to_take_the_number(database: Database, administrator: sa.Engine) -> None:
    caller = require_one_person(resolve(database, Identity.of(phone=PHONE)))
    joining = sa.text("SELECT owner FROM usermemory.resolve('default', :user, :phone, true, :candidate)")
    found: list[Any] = []
    with database.engine.connect() as first:
        first.exec_driver_sql("BEGIN")
        asked = {"user": "first", "phone": PHONE, "candidate": uuid7()}
        assert first.execute(joining, asked).scalar() == caller
        second = threading.Thread(
            target=lambda: found.append(
                resolve(database, Identity.of(user="second", phone=PHONE, phone_verified=True))
            ),
            daemon=True,
        )
        second.start()
        eventually(lambda: waits_for_a_lock(administrator) or not second.is_alive())
        assert found == []
        first.commit()
    second.join(PATIENCE)
    (other,) = found
    assert other.owner != caller
    assert other.other == caller


def test_twenty_patches_are_twenty_facts_and_twenty_versions(database: Database, administrator: sa.Engine) -> None:
    person = Memory(database).of(user="ada")
    person.document.append({"facts": []})
    add = [[{"op": "add", "path": "/facts/-", "value": f"fact {number}"}] for number in range(MANY)]
    outcomes = at_once(lambda number: Memory(database).of(user="ada").document.append(add[number]))
    check_twenty_facts(database, administrator, outcomes)


def test_twenty_documents_made_from_one_version_are_merged(database: Database, administrator: sa.Engine) -> None:
    Memory(database).of(user="ada").document.append({"facts": []})
    outcomes = at_once(
        lambda number: (
            Memory(database).of(user="ada").document.append({"facts": [f"fact {number}"]}, expected_version=1)
        )
    )
    check_twenty_facts(database, administrator, outcomes)


def test_twenty_threads_may_share_one_handle(database: Database, administrator: sa.Engine) -> None:
    person = Memory(database).of(user="ada")
    person.document.append({"facts": []})
    add = [[{"op": "add", "path": "/facts/-", "value": f"fact {number}"}] for number in range(MANY)]
    check_twenty_facts(database, administrator, at_once(lambda number: person.document.append(add[number])))


def check_twenty_facts(database: Database, administrator: sa.Engine, outcomes: list[Any]) -> None:
    assert sorted(outcome.version for outcome in outcomes) == list(range(2, MANY + 2))
    person = Memory(database).of(user="ada")
    facts = person.document.current().document["facts"]
    assert sorted(facts) == sorted(f"fact {number}" for number in range(MANY))
    for number, outcome in enumerate(outcomes):  # and each version brought what its writer was told
        before, after = (set(person.document.as_of(outcome.version - back).document["facts"]) for back in (1, 0))
        assert after - before == {f"fact {number}"}
    assert len(proven_versions(administrator, owner_of(database, "ada"))) == MANY + 1


def owner_of(database: Database, user: str) -> UUID:
    found = find(database, Identity.of(user=user))
    assert found is not None
    return found.owner


def test_twenty_first_versions_are_twenty_versions(database: Database, administrator: sa.Engine) -> None:
    outcomes = at_once(
        lambda number: (
            Memory(database).of(user="ada").document.append([{"op": "add", "path": f"/{number}", "value": 1}])
        )
    )
    assert sorted(outcome.version for outcome in outcomes) == list(range(1, MANY + 1))  # type: ignore[union-attr]
    assert proven_versions(administrator, owner_of(database, "ada"))[-1].count(":1") == MANY


def test_of_twenty_changes_to_one_place_one_is_kept_and_the_others_are_told(
    database: Database, administrator: sa.Engine
) -> None:
    Memory(database).of(user="ada").document.append({"mood": "calm"})
    outcomes = at_once(
        lambda number: Memory(database).of(user="ada").document.append({"mood": f"mood {number}"}, expected_version=1)
    )
    saved = [outcome for outcome in outcomes if isinstance(outcome, Saved)]
    refused = [outcome for outcome in outcomes if isinstance(outcome, VersionConflict)]
    assert (len(saved), len(refused)) == (1, MANY - 1)
    (kept,) = (operation["value"] for operation in saved[0].patch)
    assert {conflict["theirs"] for error in refused for conflict in error.conflicts} == {kept}
    assert len(proven_versions(administrator, owner_of(database, "ada"))) == 2


def test_twenty_requests_under_one_key_are_one_version(database: Database, administrator: sa.Engine) -> None:
    Memory(database).of(user="ada").document.append({"facts": []})
    add = [{"op": "add", "path": "/facts/-", "value": "once"}]
    outcomes = at_once(lambda _: Memory(database).of(user="ada").document.append(add, idempotency_key="one"))
    assert outcomes == [Saved(2, outcomes[0].patch)] * MANY  # type: ignore[union-attr]
    assert len(proven_versions(administrator, owner_of(database, "ada"))) == 2


def test_of_different_requests_under_one_key_one_is_done(database: Database, administrator: sa.Engine) -> None:
    Memory(database).of(user="ada").document.append({"facts": []})
    add = [[{"op": "add", "path": "/facts/-", "value": number}] for number in range(MANY)]
    outcomes = at_once(
        lambda number: Memory(database).of(user="ada").document.append(add[number], idempotency_key="one")
    )
    kinds = Counter(type(outcome) for outcome in outcomes)
    assert kinds == {Saved: 1, IdempotencyKeyReused: MANY - 1}
    assert len(proven_versions(administrator, owner_of(database, "ada"))) == 2


def test_a_key_whose_first_request_failed_is_free_for_those_who_waited(database: Database, ada: UUID) -> None:
    with database.begin(ada) as stores:
        stores.snapshots.append({"facts": []}, provenance=by_user)
    replace = [{"op": "replace", "path": "/later", "value": 1}]

    def act(number: int) -> Any:
        if number == 0:
            with database.begin(ada) as stores:
                stores.snapshots.append([{"op": "add", "path": "/later", "value": 0}], provenance=by_user)
        with database.begin(ada) as stores:
            return stores.snapshots.append(replace, provenance=by_user, idempotency_key="one")

    outcomes = at_once(act)
    saved = {outcome.version for outcome in outcomes if isinstance(outcome, Saved)}
    assert len(saved) == 1
    assert isinstance(outcomes[0], Saved)


def test_twenty_pushes_are_twenty_entries(database: Database) -> None:
    at_once(lambda number: Memory(database).of(user="ada").items.push("said", "jokes", number, keep=100))
    item = Memory(database).of(user="ada").items.get("said", "jokes")
    assert sorted(item.value) == list(range(MANY))
    assert item.version == MANY


@pytest.mark.parametrize("expected", [0, 1])
def test_of_twenty_who_expect_one_version_one_sets_the_item(database: Database, expected: int) -> None:
    person = Memory(database).of(user="ada")
    for _ in range(expected):
        person.items.set("prefs", "tone", "first")
    outcomes = at_once(
        lambda number: Memory(database).of(user="ada").items.set("prefs", "tone", number, expected_version=expected)
    )
    winners = [outcome for outcome in outcomes if not isinstance(outcome, VersionConflict)]
    assert [item.version for item in winners] == [expected + 1]  # type: ignore[union-attr]
    assert person.items.get("prefs", "tone") == winners[0]


def test_twenty_sets_are_all_counted(database: Database) -> None:
    outcomes = at_once(lambda number: Memory(database).of(user="ada").items.set("prefs", "tone", number))
    assert sorted(item.version for item in outcomes) == list(range(1, MANY + 1))  # type: ignore[union-attr]
    newest = max(outcomes, key=lambda item: item.version)  # type: ignore[union-attr]
    assert Memory(database).of(user="ada").items.get("prefs", "tone").value == newest.value  # type: ignore[union-attr]


def test_messages_are_numbered_without_a_gap(database: Database) -> None:
    def talk(number: int) -> list[int]:
        conversations = Memory(database).of(user="ada").conversations
        kept = conversations.append(f"call-{number % 3}", [NewMessage("user", f"{number}-{turn}") for turn in range(3)])
        conversations.append("call-0", [NewMessage("user", "once", external_id="once")])
        return [message.number for message in kept]

    numbers: list[Any] = at_once(talk)
    assert all(b - a == 1 for batch in numbers for a, b in pairwise(batch))
    with Memory(database).of(user="ada").read() as stores:
        kept = stores.conversations.since(0).entries
        counted = sum(each.message_count for each in stores.conversations.all().entries)
    assert [message.number for message in kept] == list(range(1, 3 * MANY + 2))
    assert [message.content for message in kept].count("once") == 1
    assert counted == len(kept)


def test_a_cursor_stands_at_the_highest_of_all_who_moved_it(database: Database, ada: UUID) -> None:
    def advance(number: int) -> None:
        with database.begin(ada) as stores:
            stores.cursors.advance("update", number * 7 % MANY)

    at_once(advance)
    with database.read(ada) as stores:
        assert stores.cursors.seen("update") == MANY - 1


def test_a_held_change_that_twenty_accept_is_one_version(database: Database, administrator: sa.Engine) -> None:
    person = Memory(database).of(user="ada")
    person.document.append({"safety_notes": "Never mention the flood."})
    held = person.document.append({"safety_notes": ""}, provenance=by_agent("loop"))
    assert isinstance(held, Held)
    outcomes = at_once(lambda _: Memory(database).of(user="ada").pending.accept(held.pending_id))
    assert Counter(type(outcome) for outcome in outcomes) == {Saved: 1, NotFound: MANY - 1}
    assert len(proven_versions(administrator, owner_of(database, "ada"))) == 2


def test_one_text_is_left_of_twenty(database: Database) -> None:
    outcomes = at_once(lambda number: Memory(database).of(user="ada").profile.set(f"text {number}"))
    assert {outcome.text for outcome in outcomes} >= {  # type: ignore[union-attr]
        Memory(database).of(user="ada").profile.get().text
    }


def test_writers_of_different_people_do_not_touch_each_other(database: Database, administrator: sa.Engine) -> None:
    def write(number: int) -> None:
        person = Memory(database).of(user=f"user-{number}")
        for turn in range(3):
            person.document.append([{"op": "add", "path": f"/{turn}", "value": number}])

    at_once(write)
    for number in range(MANY):
        texts = proven_versions(administrator, owner_of(database, f"user-{number}"))
        assert texts[-1] == f'{{"0":{number},"1":{number},"2":{number}}}'


def test_readers_see_whole_versions_while_somebody_writes(database: Database, ada: UUID) -> None:
    done = threading.Event()
    torn: list[Any] = []

    def read() -> None:
        while not done.is_set():
            for visit in (database.single, database.read):
                with visit(ada) as stores:
                    document = stores.snapshots.current().document
                if document and document["left"] != document["right"]:
                    torn.append(document)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(60):
        with database.begin(ada) as stores:
            stores.snapshots.append({"left": number, "right": number}, provenance=by_operator)
    done.set()
    for reader in readers:
        reader.join()
    assert torn == []


def test_twenty_processes_make_one_owner_and_lose_nothing(
    database: Database, database_url: str, administrator: sa.Engine, contents: Callable[[], Contents]
) -> None:
    names = [f"writer-{number}" for number in range(MANY)]
    answers = Writers(database_url, "contribute", [{"name": name} for name in names]).end()
    left = contents()
    assert (len(left["owners"]), len(left["identities"])) == (1, 2)
    versions = sorted(answer["version"] for answer in answers)
    (shared,) = {answer["shared"] for answer in answers}
    assert sorted([*versions, shared]) == list(range(1, MANY + 2))
    texts = proven_versions(administrator, owner_of(database, "racer"))
    assert len(texts) == MANY + 1
    person = Memory(database).of(phone=PHONE)
    document = person.document.current().document
    assert {name: document[name] for name in names} == {name: name for name in names}
    assert document["shared"] is True
    assert sorted(person.items.get("said", "names").value) == sorted(names)
    assert [answer["won"] for answer in answers if "won" in answer] == [person.items.get("won", "by").value]
    with person.read() as stores:
        messages = stores.conversations.since(0).entries
    assert [message.number for message in messages] == list(range(1, MANY + 2))
    assert sorted(message.content for message in messages) == sorted([*names, "once"])


def test_eight_processes_on_one_new_file_never_find_it_locked(tmp_path: Path) -> None:
    rounds, names = 12, [f"writer-{number}" for number in range(8)]
    url = f"sqlite:///{tmp_path / 'new.db'}"
    orders = [{"name": name, "rounds": rounds} for name in names]
    assert Writers(url, "mix", orders, race_to_open=True).end() == [{}] * 8
    facts = sorted(f"{name}-{number}" for name in names for number in range(rounds))
    administrator = administrators_engine(url)
    with Database.open(url) as database:
        assert len(proven_versions(administrator, owner_of(database, "shared"))) == len(facts)
        person = Memory(database).of(user="shared")
        assert sorted(person.items.get("said", "facts").value) == facts
        with person.read() as stores:
            assert stores.conversations.since(0, limit=100).entries[-1].number == min(100, len(facts))


def test_waiting_for_another_writer_is_not_waiting_for_ever(database: Database, ada: UUID) -> None:
    """The second writer of one head waits for the first, then builds on what it saved."""
    inside, go_on = threading.Event(), threading.Event()

    def first() -> None:
        with database.begin(ada) as stores:
            stores.snapshots.append({"facts": ["first"]}, provenance=by_user)
            inside.set()
            go_on.wait(10)

    writer = threading.Thread(target=first)
    writer.start()
    inside.wait(10)
    release = threading.Timer(0.1, go_on.set)
    release.start()
    with database.begin(ada) as stores:
        second = stores.snapshots.append({"facts": ["second"]}, provenance=by_user, expected_version=0)
        assert stores.snapshots.current().document["facts"] == ["first", "second"]
    writer.join()
    assert second.version == 2
