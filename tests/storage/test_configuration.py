import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import ValidationError

from storage.configuration import (
    RETENTION_LIMIT,
    MemoryConfiguration,
    configuration_levels,
    effective,
    effective_configuration,
    read_configuration,
)
from storage.database import Database
from storage.dialect import begin_to_read, end_reading
from storage.errors import (
    DatabaseError,
    DatabaseUnavailable,
    InvalidInput,
    InvalidName,
    NotFound,
    UnsafeRole,
    UserMemoryError,
)
from storage.tables import configurations
from tests.clock import Clock
from tests.configuring import reset_configuration, set_configuration
from tests.contents import Contents

DEFAULTS = {
    "enabled": True,
    "usePhoneNumber": True,
    "useUserId": True,
    "autoStore": False,
    "retentionDays": 365,
    "extractEntities": False,
    "extractPreferences": False,
}

BAD_NAMES = ["", "\0", "\ud800", "a\nb", " a", "x" * 257]


def members(configuration: MemoryConfiguration) -> dict[str, Any]:
    """Return all members, set or not."""
    return configuration.model_dump(by_alias=True)


class TestMemoryConfiguration:
    """The value, without a database."""

    def test_nothing_set_is_what_seed_004_says(self) -> None:
        for nothing in (MemoryConfiguration(), MemoryConfiguration.of(None), MemoryConfiguration.of({})):
            assert members(nothing) == DEFAULTS
            assert nothing.as_json() == {}

    @pytest.mark.parametrize(
        "given",
        [
            {"usePhoneNumber": False, "retentionDays": 90},
            {"use_phone_number": False, "retention_days": 90},
            {"usePhoneNumber": False, "retention_days": 90},
        ],
    )
    def test_it_reads_either_spelling_and_writes_camel_case(self, given: dict[str, Any]) -> None:
        configuration = MemoryConfiguration.of(given)
        assert configuration.as_json() == {"usePhoneNumber": False, "retentionDays": 90}
        assert members(configuration) == DEFAULTS | {"usePhoneNumber": False, "retentionDays": 90}
        assert MemoryConfiguration.of(configuration) is configuration
        assert MemoryConfiguration.of(configuration.as_json()).model_fields_set == configuration.model_fields_set

    def test_a_member_set_to_its_default_is_set(self) -> None:
        assert MemoryConfiguration.of({"enabled": True}).as_json() == {"enabled": True}

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"enabled": "false"}, 'Input should be a valid boolean at "/enabled"'),
            ({"enabled": 0}, 'Input should be a valid boolean at "/enabled"'),
            ({"enabled": None}, 'Input should be a valid boolean at "/enabled"'),
            ({"retentionDays": "30"}, 'Input should be a valid integer at "/retentionDays"'),
            ({"retentionDays": 30.0}, 'Input should be a valid integer at "/retentionDays"'),
            ({"retentionDays": True}, 'Input should be a valid integer at "/retentionDays"'),
            ({"retentionDays": 0}, 'Input should be greater than or equal to 1 at "/retentionDays"'),
            ({"retention_days": RETENTION_LIMIT + 1}, 'less than or equal to 36500 at "/retention_days"'),
            ({"autostore": True}, 'there is no member "autostore"; there are enabled, usePhoneNumber,'),
            ({"memory": {"enabled": False}}, 'there is no member "memory"; there are enabled,'),
            ({7: True}, 'there is no member "7"'),
            ({"auto_store": True, "autoStore": True}, "auto_store and autoStore are one member"),
            (["enabled"], "an object, not an array"),
            ("enabled", "an object, not a string"),
            (False, "an object, not a boolean"),
        ],
    )
    def test_what_is_no_configuration_is_refused(self, given: Any, said: str) -> None:
        with pytest.raises(InvalidInput) as refused:
            MemoryConfiguration.of(given)
        assert said in str(refused.value)

    def test_a_refusal_names_every_fault_and_repeats_no_value(self) -> None:
        with pytest.raises(InvalidInput) as refused:
            MemoryConfiguration.of({"enabled": "secret", "retentionDays": "hidden"})
        assert refused.value.details == {"pointer": "/enabled"}
        assert str(refused.value).count("Input should be") == 2
        assert "secret" not in str(refused.value)
        assert "hidden" not in str(refused.value)

    def test_the_bounds_of_retention_are_allowed(self) -> None:
        for days in (1, RETENTION_LIMIT):
            assert MemoryConfiguration.of({"retentionDays": days}).retention_days == days

    def test_what_is_set_stands_over_the_base(self) -> None:
        base = MemoryConfiguration(enabled=False, retention_days=30)
        above = MemoryConfiguration(retention_days=365, auto_store=True)
        assert above.over(base).as_json() == {"enabled": False, "retentionDays": 365, "autoStore": True}
        assert base.over(above).as_json() == {"enabled": False, "retentionDays": 30, "autoStore": True}
        assert base.as_json() == {"enabled": False, "retentionDays": 30}
        assert MemoryConfiguration().over(base).as_json() == base.as_json()

    def test_later_levels_stand_over_earlier_ones_and_all_over_the_default(self) -> None:
        default = MemoryConfiguration(extract_entities=True, retention_days=10, auto_store=True)
        levels = (MemoryConfiguration(retention_days=20, enabled=False), MemoryConfiguration(retention_days=30))
        assert effective(levels, default).as_json() == {
            "enabled": False,
            "autoStore": True,
            "retentionDays": 30,
            "extractEntities": True,
        }
        assert effective((), default) is default
        assert effective(()).as_json() == {}

    def test_it_cannot_be_changed(self) -> None:
        with pytest.raises(ValidationError):
            MemoryConfiguration().enabled = False  # type: ignore[misc]

    def test_every_member_is_described(self) -> None:
        assert all(field.description for field in MemoryConfiguration.model_fields.values())


def test_nothing_is_configured_at_first(database: Database) -> None:
    assert read_configuration(database, "acme").as_json() == {}
    assert read_configuration(database, "acme", "support").as_json() == {}
    assert members(effective_configuration(database, "acme", "support")) == DEFAULTS
    with database.engine.connect() as connection:
        assert configuration_levels(connection, "acme", "support") == ()


def test_a_flow_stands_over_its_organization_and_that_over_the_default(
    database: Database, operators_database: Database
) -> None:
    set_configuration(operators_database, "acme", None, {"autoStore": True, "retentionDays": 90})
    set_configuration(operators_database, "acme", "support", {"retention_days": 7, "enabled": True})
    default = MemoryConfiguration(enabled=False, extract_entities=True)
    assert effective_configuration(database, "acme", "support", default).as_json() == {
        "enabled": True,
        "autoStore": True,
        "retentionDays": 7,
        "extractEntities": True,
    }
    assert effective_configuration(database, "acme", None, default).retention_days == 90
    assert effective_configuration(database, "acme", "sales", default).retention_days == 90
    assert effective_configuration(database, "other", "support", default) == default


def test_each_level_is_read_alone(database: Database, operators_database: Database) -> None:
    set_configuration(operators_database, "acme", None, {"autoStore": True})
    set_configuration(operators_database, "acme", "support", {"enabled": False})
    for each in (database, operators_database):
        assert read_configuration(each, "acme").as_json() == {"autoStore": True}
        assert read_configuration(each, "acme", "support").as_json() == {"enabled": False}
        assert read_configuration(each, "acme", "sales").as_json() == {}
        assert read_configuration(each, "Acme").as_json() == {}


def test_a_flow_may_be_configured_where_its_organization_is_not(
    database: Database, operators_database: Database
) -> None:
    set_configuration(operators_database, "acme", "support", {"enabled": False})
    assert read_configuration(database, "acme").as_json() == {}
    assert effective_configuration(database, "acme", "support").enabled is False
    assert effective_configuration(database, "acme").enabled is True


def test_levels_are_read_in_a_transaction_that_is_bound_to_nobody(
    database: Database, operators_database: Database
) -> None:
    set_configuration(operators_database, "acme", "a flow", {"retentionDays": 7})
    set_configuration(operators_database, "acme", None, {"retentionDays": 90})
    with database.engine.connect() as connection:
        begin_to_read(connection)
        levels = configuration_levels(connection, "acme", "a flow")
        assert [level.retention_days for level in levels] == [90, 7]
        assert [level.retention_days for level in configuration_levels(connection, "acme", None)] == [90]
        connection.rollback()
        end_reading(connection.connection.driver_connection)


def test_setting_leaves_what_was_set_before(database: Database, operators_database: Database) -> None:
    assert set_configuration(operators_database, "acme", None, {"enabled": False}).as_json() == {"enabled": False}
    changes = MemoryConfiguration(retention_days=30)
    stored = set_configuration(operators_database, "acme", None, changes)
    assert stored.as_json() == {"enabled": False, "retentionDays": 30}
    again = set_configuration(operators_database, "acme", None, {"enabled": True})
    assert again.as_json() == {"enabled": True, "retentionDays": 30}
    assert read_configuration(database, "acme").as_json() == again.as_json()


def test_a_level_is_kept_as_canonical_json_with_its_time(
    database: Database, database_url: str, worker_url: str, clock: Clock, contents: Callable[[], Contents]
) -> None:
    with Database.open(worker_url if database.on_postgresql else database_url, clock=clock) as operators:
        set_configuration(operators, "acme", None, {"retention_days": 30, "enabled": False})
        later = clock.move(60)
        set_configuration(operators, "acme", None, {"autoStore": True})
    kept = '{"autoStore":true,"enabled":false,"retentionDays":30}'
    assert contents()["configurations"] == [("acme", "", kept, later)]


def test_two_who_set_different_members_keep_both(operators_database: Database) -> None:
    changes: list[dict[str, Any]] = [
        {"enabled": False},
        {"usePhoneNumber": False},
        {"useUserId": False},
        {"autoStore": True},
        {"retentionDays": 30},
        {"extractEntities": True},
        {"extractPreferences": True},
    ]
    everything = {name: value for change in changes for name, value in change.items()}
    for flow in ("one", "two", "three", None):
        together = threading.Barrier(len(changes))
        refusals: list[UserMemoryError] = []

        def run(
            change: dict[str, Any],
            flow: str | None = flow,
            together: threading.Barrier = together,
            refusals: list[UserMemoryError] = refusals,
        ) -> None:
            together.wait()
            try:
                set_configuration(operators_database, "acme", flow, change)
            except UserMemoryError as refusal:
                refusals.append(refusal)

        threads = [threading.Thread(target=run, args=(change,)) for change in changes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert refusals == []
        assert read_configuration(operators_database, "acme", flow).as_json() == everything


def test_what_was_reset_is_no_longer_configured(database: Database, operators_database: Database) -> None:
    set_configuration(operators_database, "acme", None, {"retentionDays": 90})
    set_configuration(operators_database, "acme", "support", {"retentionDays": 7})
    reset_configuration(operators_database, "acme", "support")
    assert effective_configuration(database, "acme", "support").retention_days == 90
    reset_configuration(operators_database, "acme")
    assert effective_configuration(database, "acme", "support").retention_days == 365
    for flow in (None, "support"):
        with pytest.raises(NotFound, match="nothing is configured"):
            reset_configuration(operators_database, "acme", flow)


def test_a_refused_change_leaves_the_level_as_it_was(
    operators_database: Database, contents: Callable[[], Contents]
) -> None:
    set_configuration(operators_database, "acme", None, {"enabled": False})
    before = contents()
    for bad in ({"enabled": "true"}, {"retentionDays": 0}, {"unknown": 1}, ["enabled"]):
        with pytest.raises(InvalidInput):
            set_configuration(operators_database, "acme", None, bad)  # type: ignore[arg-type]
    assert contents() == before


@pytest.mark.parametrize("bad", BAD_NAMES)
def test_a_bad_name_is_no_organization_and_no_flow(
    database: Database, contents: Callable[[], Contents], bad: str
) -> None:
    before = contents()
    for organization, flow in ((bad, None), ("acme", bad)):
        with pytest.raises(InvalidName):
            set_configuration(database, organization, flow, {"enabled": False})
        with pytest.raises(InvalidName):
            reset_configuration(database, organization, flow)
        with pytest.raises(InvalidName):
            read_configuration(database, organization, flow)
        with pytest.raises(InvalidName):
            effective_configuration(database, organization, flow)
    assert contents() == before


@pytest.mark.parametrize("backend", ["postgresql"])
def test_the_applications_url_edits_nothing(
    database: Database, operators_database: Database, contents: Callable[[], Contents]
) -> None:
    set_configuration(operators_database, "acme", None, {"enabled": False})
    before = contents()
    with pytest.raises(UnsafeRole, match="operators use the worker's URL"):
        set_configuration(database, "acme", None, {"enabled": True})
    with pytest.raises(UnsafeRole, match="operators use the worker's URL"):
        reset_configuration(database, "acme")
    assert contents() == before


def store(administrator: sa.Engine, settings: dict[str, Any]) -> None:
    """Keep settings as another program would."""
    row = {"organization_id": "acme", "flow": "", "settings": json.dumps(settings), "updated_at": Clock().now}
    with administrator.begin() as connection:
        connection.execute(sa.insert(configurations).values(row))


def test_what_a_newer_program_has_set_is_passed_over_and_stays(
    database: Database, operators_database: Database, administrator: sa.Engine, contents: Callable[[], Contents]
) -> None:
    store(administrator, {"enabled": False, "language": "de", "auto_store": True})
    assert read_configuration(database, "acme").as_json() == {"enabled": False}
    assert effective_configuration(database, "acme", "support").enabled is False
    set_configuration(operators_database, "acme", None, {"enabled": True})
    assert read_configuration(database, "acme").as_json() == {"enabled": True}
    [(_, _, settings, _)] = contents()["configurations"]
    assert json.loads(settings) == {"enabled": True, "language": "de", "auto_store": True}


def test_a_value_that_only_a_newer_program_knows_is_not_guessed_at(
    database: Database, administrator: sa.Engine
) -> None:
    store(administrator, {"enabled": "on weekdays"})
    with pytest.raises(DatabaseError) as refused:
        effective_configuration(database, "acme")
    assert "weekdays" not in str(refused.value)


def test_a_closed_database_is_asked_nothing(database_url: str) -> None:
    with Database.open(database_url) as closed:
        pass
    with pytest.raises(DatabaseUnavailable):
        effective_configuration(closed, "acme")
