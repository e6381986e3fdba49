"""Events: what the outbox holds for whoever is told of changes, as operators see it."""

from datetime import datetime

from storage import outbox
from storage.database import Database
from storage.json_types import Json
from usermemory.commands.answers import moment


def waiting_events(database: Database) -> tuple[dict[str, Json], list[str]]:
    """Return how many events wait, and since when, as members of an answer and as lines; nothing where none are told.

    Those that wait for long say that whoever is told of changes does not hear them.
    """
    if not outbox.is_enabled(database):
        return {}, []
    count, since = outbox.waiting(database), outbox.waiting_since(database)
    members: dict[str, Json] = {"waiting": count, "since": None if since is None else since.isoformat()}
    return {"events": members}, [events_line(count, since)]


def events_line(count: int, since: datetime | None) -> str:
    """Return the line that says how many events nobody was told of, and since when the oldest waits."""
    said = f"{count:,} {'event' if count == 1 else 'events'} not published yet"
    return f"{said}." if since is None else f"{said}, the oldest of {moment(since)}."
