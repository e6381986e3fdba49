"""Known: what is known about one person, read in one transaction."""

from dataclasses import dataclass
from typing import Final

from memory_tools.excerpt import Member
from memory_tools.said import RECALLED, Said
from memory_tools.visible import visible, visible_value
from storage.cursors import MESSAGES
from storage.document import RENDERED, strip_rendered
from storage.errors import NotFound
from storage.json_types import Document, Json
from storage.stores import Stores

SAID_MESSAGES = 20
"""Messages of earlier conversations that are looked at."""

FIRST: Final = ("safety_notes", "summary", "profile", "triggers_and_goals", "parts")
"""What is shown first, and in this order. The other members of the document follow by name."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known about one person, at one moment."""

    version: int
    document: Document
    """As it is stored: without `version` and `last_updated_by`."""

    profile: str | None = None
    """The one text of seed 002."""

    said: tuple[Said, ...] = ()
    """Messages of earlier conversations that are not in the document yet, oldest first."""

    def __bool__(self) -> bool:
        """Tell whether there is anything to show."""
        return bool(self.members()) or any(visible(said.text).strip() for said in self.said)

    def members(self) -> list[Member]:
        """Return what there is to show beside what was said, in its order. An empty member says nothing."""
        document = visible_value(self.document)
        given: list[Member] = [("profile", visible(self.profile or ""))]
        given += [(name, document[name]) for name in document if name not in RENDERED]
        given.sort(key=lambda member: (FIRST.index(member[0]) if member[0] in FIRST else len(FIRST), member[0]))
        return [(name, value) for name, value in given if not _is_empty(value)]


def read_known(stores: Stores, *, except_conversation: str | None = None, messages: int = SAID_MESSAGES) -> Known:
    """Return what is known, with the newest `messages` that are not in the document yet.

    Messages of tools and of `except_conversation`, and those that only repeat memory, are passed over.
    """
    snapshot = stores.snapshots.current()
    try:
        profile = stores.profile.get().text
    except NotFound:
        profile = None
    newest = stores.conversations.latest(
        stores.cursors.seen(MESSAGES), limit=messages, roles=("user", "assistant"), besides=except_conversation
    )
    said = tuple(Said.of(message) for message in newest if not message.metadata.get(RECALLED))
    return Known(snapshot.version, strip_rendered(snapshot.document), profile, said)


def _is_empty(value: Json) -> bool:
    return value is None or (isinstance(value, str) and not value.strip()) or value in ([], {})
