"""Visits: one transaction of a run, which asks what is allowed, finds the person and gives their stores."""

from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from uuid import UUID

from sqlalchemy import Connection

from memory_tools.access import Principal
from memory_tools.memory import Memory, UserMemory
from storage.configuration import MemoryConfiguration, configuration_levels, effective
from storage.directory import meeting, searching
from storage.errors import MemoryDisabled
from storage.identity import Identity
from storage.stores import Stores


@dataclass(frozen=True, slots=True)
class Visit:
    """What a run may do in one transaction."""

    configuration: MemoryConfiguration
    """What the organization, the flow and the run allow."""

    allowed: bool
    """Whether memory is on and may know the person by what they are known by here."""

    owner: UUID | None
    """The person; None where nobody has met them yet, or nothing is allowed."""

    stores: Stores
    """Their stores; where there is no owner everything is empty, and nothing can be written."""


@contextmanager
def visit(
    person: UserMemory,
    *,
    writes: bool,
    flow: str | None = None,
    default: MemoryConfiguration | None = None,
    run: MemoryConfiguration | None = None,
    narrowing: Iterable[MemoryConfiguration] = (),
) -> Generator[Visit]:
    """Open one transaction in which a run reads, or writes and makes the person on first contact.

    What the database says about the flow wins over what it says about the organization, and that over `default`, the
    host's own; `run`, what the host said of this run alone, wins over all of them. `narrowing` is what others said of
    it, for whom the host does not vouch: it may take away, never give, nor put another person in the place of this one.
    Of the person's names only those are used that the configuration allows.
    """
    database = person.memory.database
    configuration = default or MemoryConfiguration()
    identity: Identity | None = None
    owner: UUID | None = None

    def search(connection: Connection) -> UUID | None:
        nonlocal configuration, identity, owner
        levels = configuration_levels(connection, person.identity.organization, flow)
        granted = effective(levels if run is None else (*levels, run), configuration)
        configuration = reduce(_narrowed, narrowing, granted)
        identity = _still(allowed(person.identity, granted), allowed(person.identity, configuration))
        if identity is not None:
            owner = (meeting if writes else searching)(database, identity)(connection)
        return owner

    with (database.begin if writes else database.read)(search) as stores:
        yield Visit(configuration, identity is not None, owner, stores)


def allowed(identity: Identity, configuration: MemoryConfiguration) -> Identity | None:
    """Return the identity with the names that the configuration allows; None where memory is off or none is left."""
    user = identity.user if configuration.use_user_id else None
    phone = identity.phone if configuration.use_phone_number else None
    if not configuration.enabled or (user is None and phone is None):
        return None
    verified = identity.phone_verified and phone is not None
    return Identity(organization=identity.organization, user=user, phone=phone, phone_verified=verified)


def known_person(memory: Memory, principal: Principal, identity: Identity) -> UserMemory:
    """Return the memory of the person that `principal` asks about: their own, as found already, or somebody's named."""
    own = identity is principal.identity
    return memory.known(identity, principal.owner if own else None)


def require_allowed(person: UserMemory, configuration: MemoryConfiguration) -> UserMemory:
    """Return the person as the configuration lets them be known; raises MemoryDisabled where it does not."""
    identity = allowed(person.identity, configuration)
    if identity is None:
        raise MemoryDisabled
    return person if identity == person.identity else UserMemory(person.memory, identity)


def _narrowed(configuration: MemoryConfiguration, by: MemoryConfiguration) -> MemoryConfiguration:
    """Return the configuration with what `by` sets where that allows less: no for yes, fewer days for more."""
    asked = by.model_dump(exclude_unset=True)
    return configuration.model_copy(update={name: min(getattr(configuration, name), asked[name]) for name in asked})


def _still(granted: Identity | None, narrowed: Identity | None) -> Identity | None:
    """Return what is left of an identity; None where the user id was taken away and the number would take its place.

    Alone it opens the memory of whoever has that number, which may be another person.
    """
    replaced = granted is not None and granted.user is not None and narrowed is not None and narrowed.user is None
    return None if replaced else narrowed
