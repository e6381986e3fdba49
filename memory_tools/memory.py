"""Memory: an open database; UserMemory: one person's memory, bound to whom it belongs."""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from copy import copy
from typing import Self, TypeVar
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import Connection

from memory_tools.configurations import Configurations
from memory_tools.kinds import (
    ConversationMemories,
    Conversations,
    DocumentVersions,
    Items,
    PendingVersions,
    ProfileText,
)
from memory_tools.threads import Threads
from storage.database import Database
from storage.directory import find, meeting, require_one_person, resolve, searching
from storage.errors import Erased, InvalidInput, UntrustedSource
from storage.identity import Identity, Unnamed
from storage.last_seen import LastSeen
from storage.pointer import kind
from storage.policy import DocumentPolicy
from storage.provenance import Actor, Provenance
from storage.settings import DatabaseSettings
from storage.stores import Stores
from storage.transaction import Clock, NeedsTransaction, utc_now

Answer = TypeVar("Answer")


class Memory:
    """An open database. Thread-safe; close it when done."""

    def __init__(self, database: Database, default_region: str | None = None, through: str = "python") -> None:
        self.database = database
        self.default_region = default_region
        """The country of phone numbers without a country code."""

        self.threads = Threads(database.connections)
        """Where async doors do what blocks."""

        self.by_user = Provenance(Actor.USER, through)
        self.by_operator = Provenance(Actor.OPERATOR, through)

    @classmethod
    def open(
        cls,
        url: str,
        *,
        schema: type[BaseModel] | None = None,
        policy: DocumentPolicy | None = None,
        settings: DatabaseSettings | None = None,
        default_region: str | None = None,
        through: str = "python",
        clock: Clock = utc_now,
    ) -> Self:
        """Open `sqlite:///file`, `sqlite://` (in memory) or `postgresql://...`.

        `schema` is the pydantic model of the documents (seed 001's by default), `default_region` the country
        (ISO 3166) of phone numbers without a country code, `through` the door that changes are said to come through
        where nobody says otherwise. SQLite migrates itself; PostgreSQL is migrated by
        `usermemory migrate`. Raises InvalidInput, NotMigrated, UnsafeRole and DatabaseUnavailable.
        """
        if schema is not None:
            policy = DocumentPolicy(schema=schema)
        return cls(Database.open(url, settings, policy=policy, clock=clock), default_region, through)

    def of(
        self,
        *,
        user: str | None = None,
        phone: str | None = None,
        organization: str = "default",
        phone_verified: bool = False,
    ) -> "UserMemory":
        """Return the memory of one person, known by a user id, a phone number, or both.

        A phone number given alone opens its owner's memory: the caller vouches for it. Beside a user id it counts
        only with `phone_verified`. Nothing is read or made yet. Raises NoIdentity and InvalidIdentity.
        """
        return UserMemory(
            self,
            Identity.of(
                organization=organization,
                user=user,
                phone=phone,
                phone_verified=phone_verified,
                default_region=self.default_region,
            ),
        )

    def of_owner(self, owner: UUID, organization: str) -> "UserMemory":
        """Return the memory of a stored person, whom a job knows by the owner's id and by no name.

        Nothing is read yet. Later, NotFound is raised where there is no such owner, and Erased where there was one.
        """
        person = UserMemory(self, Unnamed(organization=organization))
        person._owner = owner
        return person

    def known(self, identity: Identity, owner: UUID | None) -> "UserMemory":
        """Return the memory of whom `identity` names, which has just been found to be `owner`, if that is known."""
        person = UserMemory(self, identity)
        person._owner = owner
        return person

    @property
    def configurations(self) -> Configurations:
        """What organizations and flows let memory do."""
        return Configurations(self.database)

    def close(self) -> None:
        """Close every connection."""
        self.threads.close()
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class UserMemory:
    """The memory of one person. Reading what was never written is empty and makes nobody."""

    def __init__(self, memory: Memory, identity: Identity) -> None:
        self.memory = memory
        self.identity = identity
        self.provenance = memory.by_user
        """Who changes the document where a call does not say otherwise."""

        self._owner: UUID | None = None
        self._linked = False
        self._last_seen = LastSeen()

    def acting(self, provenance: Provenance) -> "UserMemory":
        """Return the memory of the same person, in the hands of somebody else."""
        other = copy(self)
        other.provenance = provenance
        return other

    def require_trust(self) -> None:
        """Raise UntrustedSource where the guard would hold a change: what cannot be held has to be refused."""
        if self.provenance.trust < self.memory.database.policy.guard.hold_below:
            raise UntrustedSource

    @property
    def key(self) -> tuple[str, str, str]:
        """What is the same in all that is asked about this person under one name, or by the owner's id."""
        return self.identity.key if self.identity.names else (self.identity.organization, "owner", str(self._owner))

    @property
    def items(self) -> Items:
        """Small values under namespace and key."""
        return Items(self)

    @property
    def document(self) -> DocumentVersions:
        """The evolving document and its versions."""
        return DocumentVersions(self)

    @property
    def pending(self) -> PendingVersions:
        """Changes that wait for somebody's word."""
        return PendingVersions(self)

    @property
    def profile(self) -> ProfileText:
        """The one text."""
        return ProfileText(self)

    @property
    def conversations(self) -> Conversations:
        """Transcripts."""
        return Conversations(self)

    @property
    def conversation_memories(self) -> ConversationMemories:
        """What is worth remembering of each conversation."""
        return ConversationMemories(self)

    @property
    def configurations(self) -> Configurations:
        """What organizations and flows let memory do."""
        return self.memory.configurations

    def note_activity(self) -> None:
        """Note that the person is active now, in a way that memory does not see: the next daily job is for them, too.

        Messages and items are noted by themselves. Of a person nobody has met nothing is noted.
        """
        self.change(lambda stores: stores.activity.note())

    @contextmanager
    def begin(self) -> Generator[Stores]:
        """Open one transaction to read and write; a person met for the first time is made in it."""
        if self._owner is not None and not self._to_be_linked:
            with self.memory.database.begin(self._owner) as stores:
                yield stores
            return
        meet = meeting(self.memory.database, self.identity)
        met: UUID | None = None

        def search(connection: Connection) -> UUID | None:
            nonlocal met
            met = meet(connection)
            return met

        with self.memory.database.begin(search) as stores:
            if self._owner is not None and self._owner not in stores.owners:
                raise Erased  # who was known a moment ago is gone, and must not come back by what is to be written
            yield stores
        self._owner = met  # not before it was committed
        self._linked = True

    def read(self) -> AbstractContextManager[Stores]:
        """Open one transaction that only reads; of a person nobody has met, everything is empty."""
        return self.memory.database.read(self._owner or searching(self.memory.database, self.identity))

    def ask(self, question: Callable[[Stores], Answer]) -> Answer:
        """Read in one statement where one is enough, else in a transaction."""
        owner = self._known()
        if owner is not None:
            try:
                with self.memory.database.single(owner) as stores:
                    return question(stores)
            except NeedsTransaction:
                pass
        with self.read() as stores:
            return question(stores)

    def do(self, act: Callable[[Stores], Answer]) -> Answer:
        """Write in one statement where one is enough, else (and after a lost race) in a transaction."""
        owner = self._made()
        try:
            with self.memory.database.single(owner, self._last_seen) as stores:
                return act(stores)
        except NeedsTransaction:
            with self.memory.database.begin(owner) as stores:
                return act(stores)

    def change(self, act: Callable[[Stores], Answer]) -> Answer:
        """Write to what is there already: a person nobody has met stays unmet, and everything is NotFound."""
        if self._known() is not None:
            return self.do(act)
        with self.memory.database.nobody() as stores:
            return act(stores)

    def _known(self) -> UUID | None:
        if self._owner is None:
            found = find(self.memory.database, self.identity)
            self._owner = None if found is None else require_one_person(found)
        return self._owner

    @property
    def _to_be_linked(self) -> bool:
        """Whether the next write may join a verified phone number and a user id."""
        return self.identity.phone_verified and self.identity.user is not None and not self._linked

    def _made(self) -> UUID:
        if self._owner is None or self._to_be_linked:
            self._owner = require_one_person(resolve(self.memory.database, self.identity))
            self._linked = True
        return self._owner


def opened(memory: Memory | UserMemory) -> Memory:
    """Return the open memory that a person's belongs to, or that was given. Raises InvalidInput for anything else."""
    if not isinstance(memory, Memory | UserMemory):
        raise InvalidInput(f"give an open memory, such as Memory.open('sqlite:///memory.db'), not {kind(memory)}")
    return memory.memory if isinstance(memory, UserMemory) else memory
