"""Configuring: what operators set, each change in a transaction of its own."""

from collections.abc import Mapping
from typing import Any

from storage.configuration import MemoryConfiguration
from storage.configuring import edit_configurations
from storage.database import Database


def set_configuration(
    database: Database, organization: str, flow: str | None, changes: MemoryConfiguration | Mapping[str, Any]
) -> MemoryConfiguration:
    with edit_configurations(database) as edits:
        return edits.set(organization, flow, changes)


def reset_configuration(database: Database, organization: str, flow: str | None = None) -> None:
    with edit_configurations(database) as edits:
        edits.reset(organization, flow)
