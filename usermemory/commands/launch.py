"""A launch: the command by which a client starts this server for one person, from whatever folder the client is in."""

import os.path
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from storage.errors import InvalidInput
from storage.identity import DEFAULT_ORGANIZATION, Identity

DATABASE_VARIABLE = "USERMEMORY_DATABASE"

_SECRETS = ("password", "sslpassword", "oauth_client_secret")
"""What libpq takes as parameters of the URL that nobody but the server may see."""

_HIDDEN = "HIDDEN"


@dataclass(frozen=True)
class Launch:
    """A program, its arguments, and what stands in its environment: a database URL, where that holds a password."""

    program: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def holds_password(self) -> bool:
        """Whether there is something in the environment that must not be shown."""
        return bool(self.environment)

    def to_show(self) -> "Launch":
        """Return the same launch without the password: no screen, no pipe and no command line is to have it."""
        hidden = {name: _without_password(sa.make_url(url)) for name, url in self.environment.items()}
        return replace(self, environment=hidden)


def launch(program: Sequence[str], identity: Identity, database: sa.URL | None) -> Launch:
    """Return how `program` (with its first arguments) is started for `identity`, on `database` where one is named."""
    command, *arguments = program
    for name, value in (*identity.names, ("organization", identity.organization)):
        if (name, value) != ("organization", DEFAULT_ORGANIZATION):
            arguments += [f"--{name}", value]
    if database is None:
        return Launch(command, tuple(arguments))
    url = database.render_as_string(hide_password=False)
    if _holds_password(database):
        return Launch(command, tuple(arguments), {DATABASE_VARIABLE: url})
    return Launch(command, (*arguments, "--database", url))


def lasting_database(url: str) -> sa.URL:
    """Return `url` with an absolute path where it names a file.

    Raises InvalidInput where it cannot be read, and for a database in memory, which every start would forget.
    """
    try:
        parsed = sa.make_url(url.replace("postgres://", "postgresql://", 1) if url.startswith("postgres://") else url)
    except ArgumentError:
        parsed = None
    kind = "" if parsed is None else parsed.drivername.partition("+")[0]
    if parsed is None or kind not in ("sqlite", "postgresql"):
        raise InvalidInput("the database URL cannot be read: use sqlite:///FILE or postgresql://...")
    if kind == "postgresql":
        return parsed
    if parsed.database in (None, "", ":memory:") or parsed.database.startswith("file:"):
        raise InvalidInput("a client needs a database that is there at the next start: use sqlite:///FILE")
    return parsed.set(database=os.path.abspath(parsed.database))


def _holds_password(url: sa.URL) -> bool:
    return url.password is not None or any(name in url.query for name in _SECRETS)


def _without_password(url: sa.URL) -> str:
    given = {name: _HIDDEN for name in _SECRETS if name in url.query}
    return url.update_query_dict(given).render_as_string(hide_password=True)
