"""Nobody: what the hot statements answer for a person who does not exist."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from storage.errors import NotFound
from storage.hot import ChainLink, Head, NewVersion, StoredItem


class NobodyHot:
    """The variant for a person who does not exist: nothing is there, and nothing can be written."""

    def handle(self, connection: Any) -> Any:
        """Nothing is run."""
        return None

    def read_head(self, connection: Any, person: UUID) -> Head | None:
        """There is no document."""
        return None

    def lock_head(self, connection: Any, person: UUID) -> Head | None:
        """There is no document."""
        return None

    def read_chain(self, connection: Any, person: UUID, version: int) -> Sequence[ChainLink]:
        """There are no versions."""
        return []

    def save_version(self, connection: Any, person: UUID, new: NewVersion) -> bool:
        """Refuse."""
        raise NotFound("there is no such owner")

    def read_item(self, connection: Any, person: UUID, namespace: str, key: str) -> StoredItem | None:
        """There are no items."""
        return None

    def set_item(
        self,
        connection: Any,
        person: UUID,
        namespace: str,
        key: str,
        value: str,
        expected: int | None,
        moment: datetime,
    ) -> tuple[int, datetime] | None:
        """Refuse."""
        raise NotFound("there is no such owner")
