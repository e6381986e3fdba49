from collections.abc import Callable
from typing import Any

import pytest

from memory_tools.memory import Memory
from memory_tools.visit import allowed, require_allowed, visit
from storage.configuration import MemoryConfiguration
from storage.database import Database
from storage.errors import IdentityConflict, MemoryDisabled, NotFound
from storage.identity import Identity, parse_phone
from tests.configuring import set_configuration
from tests.contents import Contents

NUMBER = "+12025550143"
OFF = MemoryConfiguration(enabled=False)
ON = MemoryConfiguration(enabled=True)
BOTH = Identity.of(user="ada", phone=NUMBER, phone_verified=True)


@pytest.fixture
def memory(database: Database) -> Memory:
    return Memory(database)


def test_a_visit_that_writes_makes_the_person_and_one_that_reads_does_not(memory: Memory) -> None:
    ada = memory.of(user="ada")
    with visit(ada, writes=False) as seen:
        assert (seen.allowed, seen.owner, seen.stores.snapshots.current().version) == (True, None, 0)
    with visit(ada, writes=True) as seen:
        made = seen.owner
        seen.stores.items.set("prefs", "tone", "warm")
    with visit(ada, writes=False) as seen:
        assert seen.owner == made is not None
        assert seen.stores.items.get("prefs", "tone").value == "warm"


def test_a_person_made_in_a_visit_that_fails_is_not_there(memory: Memory, contents: Callable[[], Contents]) -> None:
    before = contents()
    with pytest.raises(RuntimeError), visit(memory.of(user="ada"), writes=True):
        raise RuntimeError
    assert contents() == before


def test_where_memory_is_off_nobody_is_made_and_nothing_can_be_written(
    memory: Memory, contents: Callable[[], Contents]
) -> None:
    before = contents()
    with visit(memory.of(user="ada"), writes=True, default=OFF) as seen:
        assert (seen.allowed, seen.owner) == (False, None)
        with pytest.raises(NotFound):
            seen.stores.items.set("prefs", "tone", "warm")
    assert contents() == before


def test_the_run_stands_over_the_flow_over_the_organization_over_the_host(
    memory: Memory, operators_database: Database
) -> None:
    ada = memory.of(user="ada", organization="acme")

    def enabled(run: MemoryConfiguration | None = None, flow: str | None = "sales") -> bool:
        with visit(ada, writes=False, flow=flow, default=OFF, run=run) as seen:
            return seen.configuration.enabled

    assert not enabled()
    set_configuration(operators_database, "acme", None, {"enabled": True})
    assert enabled()
    set_configuration(operators_database, "acme", "sales", {"enabled": False})
    assert not enabled()
    assert enabled(flow="support")
    assert enabled(run=ON)
    assert not enabled(run=MemoryConfiguration(auto_store=True)), "it sets another member"


@pytest.mark.parametrize(
    ("run", "narrowing", "holds"),
    [
        ({}, [{"enabled": True, "auto_store": True, "retention_days": 90}], (False, False, 30)),
        ({"enabled": True}, [{"auto_store": True, "retention_days": 31}], (True, False, 30)),
        ({"enabled": True, "auto_store": True}, [{"retention_days": 29}], (True, True, 29)),
        ({"enabled": True, "auto_store": True}, [{"enabled": False}, {"enabled": True}], (False, True, 30)),
        ({"enabled": True, "retention_days": 60}, [{"retention_days": 50}, {"retention_days": 40}], (True, False, 40)),
        ({"enabled": True}, [{}], (True, False, 30)),
    ],
)
def test_what_narrows_takes_away_and_never_gives(
    memory: Memory, operators_database: Database, run: Any, narrowing: Any, holds: Any
) -> None:
    set_configuration(operators_database, "default", None, {"enabled": False, "retentionDays": 30})
    by = [MemoryConfiguration(**each) for each in narrowing]
    with visit(memory.of(user="ada"), writes=False, run=MemoryConfiguration(**run), narrowing=by) as seen:
        found = seen.configuration
    assert (found.enabled, found.auto_store, found.retention_days) == holds
    assert seen.allowed is found.enabled


@pytest.mark.parametrize("verified", [False, True])
def test_what_narrows_puts_nobody_in_the_place_of_the_person(memory: Memory, verified: bool) -> None:
    other = memory.of(phone=NUMBER)
    other.items.set("prefs", "tone", "warm")
    ada = memory.of(user="ada", phone=NUMBER, phone_verified=verified)
    by_phone = MemoryConfiguration(use_user_id=False)
    with visit(ada, writes=True, narrowing=[by_phone]) as seen:
        assert (seen.allowed, seen.owner) == (False, None)
    with visit(ada, writes=True, run=by_phone, narrowing=[by_phone]) as seen:
        assert seen.stores.items.get("prefs", "tone").value == "warm", "the host itself said so"
    with visit(other, writes=False, narrowing=[by_phone]) as seen:
        assert seen.stores.items.get("prefs", "tone").value == "warm"
    with visit(memory.of(user="ada", phone=NUMBER), writes=True, narrowing=[ON]) as seen:
        assert seen.owner is not None
    with visit(other, writes=True, narrowing=[MemoryConfiguration(use_phone_number=False)]) as seen:
        assert not seen.allowed


def test_two_people_under_one_verified_identity_are_a_conflict_unless_one_name_is_left(memory: Memory) -> None:
    for each in (memory.of(user="ada"), memory.of(user="bob"), memory.of(phone=NUMBER)):
        with visit(each, writes=True) as seen:
            seen.stores.items.set("prefs", "tone", str(each.identity.names[0][1]))
    with visit(memory.of(user="bob", phone=NUMBER), writes=True) as seen:
        assert seen.stores.items.get("prefs", "tone").value == "bob"
    both = memory.of(user="ada", phone=NUMBER, phone_verified=True)
    with pytest.raises(IdentityConflict), visit(both, writes=True):
        pass
    by_phone = MemoryConfiguration(use_user_id=False)
    with visit(both, writes=True, default=by_phone) as seen:
        assert seen.stores.items.get("prefs", "tone").value == NUMBER


@pytest.mark.parametrize(
    ("configuration", "left"),
    [
        (MemoryConfiguration(), BOTH),
        (MemoryConfiguration(use_phone_number=False), Identity.of(user="ada")),
        (MemoryConfiguration(use_user_id=False), Identity(phone=parse_phone(NUMBER), phone_verified=True)),
        (MemoryConfiguration(use_user_id=False, use_phone_number=False), None),
        (OFF, None),
    ],
)
def test_only_those_names_are_left_that_the_configuration_allows(
    configuration: MemoryConfiguration, left: Identity | None
) -> None:
    assert allowed(BOTH, configuration) == left


def test_a_person_is_required_as_the_configuration_lets_them_be_known(memory: Memory) -> None:
    person = memory.of(user="ada", phone=NUMBER)
    assert require_allowed(person, MemoryConfiguration()) is person
    assert require_allowed(person, MemoryConfiguration(use_user_id=False)).identity == Identity.of(phone=NUMBER)
    with pytest.raises(MemoryDisabled):
        require_allowed(person, OFF)
