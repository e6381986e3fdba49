"""Configurations: what organizations and flows let memory do, as Python calls them."""

from collections.abc import Mapping
from typing import Any

from storage.configuration import (
    DEFAULT,
    MemoryConfiguration,
    effective_configuration,
    read_configuration,
    reset_configuration,
    set_configuration,
)
from storage.database import Database
from storage.identity import DEFAULT_ORGANIZATION


class Configurations:
    """The stored levels: an organization's own, and those of its flows. Editing them is an operator's act."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, organization: str = DEFAULT_ORGANIZATION, *, flow: str | None = None) -> MemoryConfiguration:
        """Return what is stored for exactly this level; its `as_json` has only the members that were set."""
        return read_configuration(self._database, organization, flow)

    def effective(
        self,
        organization: str = DEFAULT_ORGANIZATION,
        *,
        flow: str | None = None,
        default: MemoryConfiguration = DEFAULT,
    ) -> MemoryConfiguration:
        """Return what holds: the flow over the organization over `default`."""
        return effective_configuration(self._database, organization, flow, default)

    def set(
        self,
        changes: MemoryConfiguration | Mapping[str, Any],
        organization: str = DEFAULT_ORGANIZATION,
        *,
        flow: str | None = None,
    ) -> MemoryConfiguration:
        """Set members of one level and return what is stored there now; on PostgreSQL with the worker's URL."""
        return set_configuration(self._database, organization, flow, changes)

    def reset(self, organization: str = DEFAULT_ORGANIZATION, *, flow: str | None = None) -> None:
        """Forget one level; raises NotFound when nothing was set there."""
        reset_configuration(self._database, organization, flow)
