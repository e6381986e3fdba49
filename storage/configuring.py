"""Configuring: what operators set for an organization and its flows. On PostgreSQL it needs the worker's URL."""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from storage.canonical import canonical, loads
from storage.configuration import Level, MemoryConfiguration, known_members, level_of
from storage.database import Database
from storage.dialect import insert_if_new
from storage.errors import Conflict, NotFound
from storage.idempotency import Answered, configure_once
from storage.json_types import Json
from storage.tables import configurations
from storage.transaction import Clock
from storage.work.unbound import unbound


class ConfigurationEdits:
    """What can be done to configurations in one open transaction."""

    def __init__(self, connection: sa.Connection, clock: Clock) -> None:
        self._connection = connection
        self._clock = clock

    def once(self, organization: str, key: str, request: Json, act: Callable[[], Json]) -> Answered:
        """Answer a request under an idempotency key of the organization; see `storage.idempotency.answer_once`."""
        return configure_once(self._connection, organization, key, request, self._clock(), act)

    def set(
        self, organization: str, flow: str | None, changes: MemoryConfiguration | Mapping[str, Any]
    ) -> MemoryConfiguration:
        """Set members of one level, leave its others as they are, and return what is stored there now.

        Two who set different members at once keep both. Raises InvalidName and InvalidInput.
        """
        level = level_of(organization, flow)
        return known_members(self._merge(level, MemoryConfiguration.of(changes).as_json()))

    def reset(self, organization: str, flow: str | None = None) -> None:
        """Forget what was set for the level: what stands below it holds again.

        Raises NotFound when nothing was set there, and InvalidName.
        """
        here = _at(level_of(organization, flow))
        if self._connection.execute(sa.delete(configurations).where(*here)).rowcount == 0:
            raise NotFound("nothing is configured there")

    def _merge(self, level: Level, changed: dict[str, Json]) -> dict[str, Json]:
        """Write `changed` over what is stored, and return the members that are stored then.

        As JSON: what a newer program has set, and this one does not know, stays.
        """
        organization, flow = level
        now = self._clock()
        row = {"organization_id": organization, "flow": flow, "settings": canonical(changed), "updated_at": now}
        here = sa.select(configurations.c.settings).where(*_at(level)).with_for_update()
        for _ in range(2):  # a second time when somebody resets it between the two statements
            if insert_if_new(self._connection.execute, configurations, row):
                return changed
            settings = self._connection.execute(here).scalar_one_or_none()
            if settings is not None:
                merged: dict[str, Json] = loads(settings) | changed
                values = {"settings": canonical(merged), "updated_at": now}
                self._connection.execute(sa.update(configurations).where(*_at(level)).values(values))
                return merged
        raise Conflict("somebody resets this configuration again and again")


@contextmanager
def edit_configurations(database: Database) -> Generator[ConfigurationEdits]:
    """Open a transaction that writes configurations; it commits when the block ends without an error.

    An operator's act: raises UnsafeRole with the application's URL, as soon as anything is done.
    """
    with unbound(database) as connection:
        yield ConfigurationEdits(connection, database.clock)


def _at(level: Level) -> tuple[sa.ColumnElement[bool], ...]:
    organization, flow = level
    return configurations.c.organization_id == organization, configurations.c.flow == flow
