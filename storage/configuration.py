"""Configuration: what an organization, or one of its flows, lets memory do (seed 004). Data in the database.

A level keeps only the members that somebody set. The flow's stand over the organization's, those over the program's
default. The application reads it by the exact name and lists nobody; how it is edited says `storage.configuring`.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import reduce
from typing import Any, Final

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from storage.canonical import loads
from storage.database import Database
from storage.dialect import is_postgresql
from storage.errors import DatabaseError, InvalidInput
from storage.json_types import Json
from storage.names import check_name
from storage.pointer import kind, pointer, shown
from storage.transaction import NeedsTransaction

RETENTION_LIMIT: Final = 36_500
"""Days that anything can be kept before it is purged: a hundred years."""

_OWN: Final = ""
"""Stands in the database where a flow would: the level is the organization's own. No flow has this name."""


class MemoryConfiguration(BaseModel):
    """What memory may do, and which members of it somebody set. Written in camelCase or snake_case, kept in camelCase.

    Equal when all members are, whether they were set or are the defaults.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, alias_generator=to_camel, populate_by_name=True
    )  # strict: the text "false" would be true

    enabled: bool = Field(default=True, description="Whether there is any memory: when false, nothing is kept or read.")
    use_phone_number: bool = Field(default=True, description="Whether a phone number may name a person.")
    use_user_id: bool = Field(default=True, description="Whether a user id may name a person.")
    auto_store: bool = Field(default=False, description="Whether conversations are kept without being asked to.")
    retention_days: int = Field(
        default=365,
        ge=1,
        le=RETENTION_LIMIT,
        description="Days that conversations and chunks are kept; never items or the document.",
    )
    extract_entities: bool = Field(default=False, description="Whether people, places and things are learnt.")
    extract_preferences: bool = Field(default=False, description="Whether likes and dislikes are learnt.")

    @classmethod
    def of(cls, value: "MemoryConfiguration | Mapping[str, Any] | None") -> "MemoryConfiguration":
        """Return the configuration that `value` describes; with nothing set for None.

        Raises InvalidInput for another kind of value, an unknown member, a member spelt in both ways, and a value of
        the wrong type or out of bounds: the texts "true" and "30" are no values.
        """
        if isinstance(value, MemoryConfiguration):
            return value
        if value is None:
            return cls()
        if not isinstance(value, Mapping):
            raise InvalidInput(f"a memory configuration is an object, not {kind(value)}")
        names = [to_camel(name) for name in cls.model_fields]
        unknown = [name for name in value if name not in names and name not in cls.model_fields]
        if unknown:
            raise InvalidInput(f"there is no member {shown(str(unknown[0]))}; there are {', '.join(names)}")
        for name in cls.model_fields:
            if to_camel(name) != name and {name, to_camel(name)} <= value.keys():
                raise InvalidInput(f"{name} and {to_camel(name)} are one member: give it once")
        try:
            return cls.model_validate(dict(value))
        except ValidationError as invalid:
            # No input in it, beyond the name of a member.
            faults = invalid.errors(include_url=False, include_context=False, include_input=False)
            places = [pointer(fault["loc"]) for fault in faults]
            said = "; ".join(f"{fault['msg']} at {shown(place)}" for fault, place in zip(faults, places, strict=True))
            raise InvalidInput(f"this is no memory configuration: {said}", pointer=places[0]) from None

    def over(self, base: "MemoryConfiguration") -> "MemoryConfiguration":
        """Return `base` with the members that are set here in the place of its own; both's count as set."""
        return base.model_copy(update=self.model_dump(exclude_unset=True))

    def as_json(self) -> dict[str, Json]:
        """Return the members that are set, in camelCase."""
        return self.model_dump(by_alias=True, exclude_unset=True)


DEFAULT: Final = MemoryConfiguration()
"""What holds where nobody set anything."""


def configuration_levels(
    connection: sa.Connection, organization: str, flow: str | None = None
) -> tuple[MemoryConfiguration, ...]:
    """Return what is stored for the organization and then for the flow, those of the two that are there.

    Reads on an open connection, in whatever transaction it is in, and needs nobody to be bound. Raises InvalidName.
    """
    return tuple(_levels(connection, *level_of(organization, flow)).values())


def effective(levels: Iterable[MemoryConfiguration], default: MemoryConfiguration = DEFAULT) -> MemoryConfiguration:
    """Return what holds: what a later level sets over the earlier ones, those over `default`."""
    return reduce(lambda base, level: level.over(base), levels, default)


def read_configuration(database: Database, organization: str, flow: str | None = None) -> MemoryConfiguration:
    """Return what is stored for the flow alone, or without one for the organization alone; nothing set if nothing is.

    Raises InvalidName.
    """
    level = level_of(organization, flow)
    with database.connection() as connection:
        return _levels(connection, *level).get(level[1], DEFAULT)


def effective_configuration(
    database: Database, organization: str, flow: str | None = None, default: MemoryConfiguration = DEFAULT
) -> MemoryConfiguration:
    """Return what holds in the flow, or without one in the organization. Raises InvalidName."""
    level = level_of(organization, flow)
    with suppress(NeedsTransaction), database.single_handle() as handle:
        rows = handle.call(_CALL, *level) if database.on_postgresql else handle.execute(_QUERY, level).fetchall()
        return effective(_by_flow(rows).values(), default)
    with database.connection() as connection:
        return effective(_levels(connection, *level).values(), default)


Level = tuple[str, str]
"""An organization, and one of its flows or _OWN."""


def level_of(organization: str, flow: str | None) -> Level:
    """Return where a configuration is stored. Raises InvalidName."""
    check_name(organization, "organization id")
    return organization, _OWN if flow is None else check_name(flow, "flow")


def _levels(connection: sa.Connection, organization: str, flow: str) -> dict[str, MemoryConfiguration]:
    """Return what is stored for the organization and the flow, in this order, by the flow's name."""
    wanted = _BY_FUNCTION if is_postgresql(connection) else _FROM_TABLE
    return _by_flow(connection.execute(wanted, {"organization": organization, "in_flow": flow}).all())


def _by_flow(rows: Iterable[Sequence[Any]]) -> dict[str, MemoryConfiguration]:
    found = {flow: known_members(loads(settings)) for flow, settings in rows}
    return {flow: found[flow] for flow in sorted(found)}


_CALL: Final = "SELECT flow, settings FROM usermemory.configuration($1, $2)"

_QUERY: Final = "SELECT flow, settings FROM configurations WHERE organization_id = ? AND flow IN ('', ?)"


_BY_FUNCTION: Final = sa.text("SELECT flow, settings FROM usermemory.configuration(:organization, :in_flow)")

_FROM_TABLE: Final = sa.text(
    "SELECT flow, settings FROM configurations WHERE organization_id = :organization AND flow IN ('', :in_flow)"
)


def known_members(stored: dict[str, Json]) -> MemoryConfiguration:
    """Return the members of a stored configuration that this program knows: a newer one may have set others."""
    names = {to_camel(name) for name in MemoryConfiguration.model_fields}
    try:
        return MemoryConfiguration.model_validate({name: stored[name] for name in names & stored.keys()})
    except ValidationError:
        raise DatabaseError("a stored configuration has values that this program does not know") from None
