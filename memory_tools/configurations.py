"""Configurations: what organizations and flows let memory do, as Python calls them."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from storage.configuration import (
    DEFAULT,
    MemoryConfiguration,
    effective_configuration,
    read_configuration,
)
from storage.configuring import ConfigurationEdits, edit_configurations
from storage.database import Database
from storage.identity import DEFAULT_ORGANIZATION


class Configurations:
    """The stored levels: an organization's own, and those of its flows. Editing them is an operator's act."""

    def __init__(self, database: Database, edits: ConfigurationEdits | None = None) -> None:
        """With `edits` what is written is a part of a transaction that is open already."""
        self._database = database
        self._edits = edits

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
        """Set members of one level, leave its others as they are, and return what is stored there now.

        On PostgreSQL it needs the worker's URL, and raises UnsafeRole with another.
        """
        with self._editing() as edits:
            return edits.set(organization, flow, changes)

    def reset(self, organization: str = DEFAULT_ORGANIZATION, *, flow: str | None = None) -> None:
        """Forget one level; raises NotFound when nothing was set there."""
        with self._editing() as edits:
            edits.reset(organization, flow)

    def _editing(self) -> AbstractContextManager[ConfigurationEdits]:
        return edit_configurations(self._database) if self._edits is None else nullcontext(self._edits)
